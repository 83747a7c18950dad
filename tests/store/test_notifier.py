"""Wake-ups: who hears them, and what never makes a sender wait or fail."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobsup.errors import DatabaseError
from jobsup.store.engine import Database
from jobsup.store.news import Offer
from jobsup.store.notifier import Listener, offer, wake
from jobsup.store.wake_sockets import SOCKET_PATH_BYTES_MAX, SPARE_OFFERS
from tests.support.store import create_database, opening

ANY = Offer("default")


def sockets(database: Database) -> list[str]:
    return sorted(path.name for path in Path(f"{database.path}-wake").iterdir())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_listener_of_a_kind_is_woken_and_no_other(db: Database) -> None:
    first, second, scheduler = Listener(db, "worker"), Listener(db, "worker"), Listener(db, "scheduler")
    wake(db, "worker")
    assert {first, second} <= set(select.select([first, second, scheduler], [], [], 5)[0])
    assert (first.drain(), second.drain(), scheduler.drain()) == (True, True, False)
    assert select.select([first, second, scheduler], [], [], 0)[0] == []
    for listener in (first, second, scheduler):
        listener.close()


def test_many_wake_ups_are_taken_at_once_and_never_block_the_sender(db: Database) -> None:
    listener = Listener(db, "worker")
    for _ in range(1000):
        wake(db, "worker")
    assert listener.drain()
    assert not listener.drain()
    listener.close()


def test_no_news_wakes_nobody(db: Database) -> None:
    listener = Listener(db, "worker")
    wake(db, "worker", 0)
    assert not listener.drain()
    listener.close()


@pytest.mark.only("sqlite", "its wake-ups go through sockets beside the file")
def test_waking_with_nobody_there_does_nothing(db: Database) -> None:
    wake(db, "worker")
    assert not Path(f"{db.path}-wake").exists()


@pytest.mark.only("sqlite", "its wake-ups go through sockets beside the file")
def test_closing_removes_the_socket(db: Database) -> None:
    listener = Listener(db, "follower")
    assert [name.split(".")[:2] for name in sockets(db)] == [["follower", str(os.getpid())]]
    listener.close()
    listener.close()
    assert sockets(db) == []


@pytest.mark.only("sqlite", "its wake-ups go through sockets beside the file")
def test_the_folder_belongs_to_its_owner_alone(db: Database) -> None:
    Listener(db, "worker").close()
    assert Path(f"{db.path}-wake").stat().st_mode & 0o777 == 0o700


@pytest.mark.only("sqlite", "its wake-ups go through sockets beside the file")
def test_a_killed_process_leaves_a_socket_that_the_next_wake_up_removes(db: Database) -> None:
    program = (
        "import sys, time; from jobsup.store.engine import Database; from jobsup.store.notifier import Listener;"
        "listener = Listener(Database(sys.argv[1]), 'worker'); print('ready', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(db.url)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    listener = Listener(db, "worker")
    assert len(sockets(db)) == 2
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    wake(db, "worker")
    assert len(sockets(db)) == 1
    assert listener.drain()
    child.stdin.close()
    child.stdout.close()
    listener.close()


@pytest.mark.only("sqlite", "its wake-ups go through sockets beside the file")
def test_a_forked_copy_does_not_take_the_socket_away(db: Database) -> None:
    listener = Listener(db, "worker")
    child = os.fork()
    if child == 0:
        listener.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    wake(db, "worker")
    assert listener.drain()
    listener.close()


def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    database = create_database(folder / "jobsup.db")
    assert len(f"{database.path}-wake/worker.1.00000000") > SOCKET_PATH_BYTES_MAX
    descriptors = open_descriptors()
    listener = Listener(database, "worker")
    wake(database, "worker")
    assert listener.drain()
    listener.close()
    assert open_descriptors() == descriptors
    assert sockets(database) == []
    database.close()


def test_a_wake_up_crosses_processes_within_milliseconds(db: Database) -> None:
    listener = Listener(db, "worker")
    program = (
        "import sys, time; from jobsup.store.engine import Database; from jobsup.store.notifier import wake;"
        f"database = {opening(db)}; wake(database, 'scheduler'); sys.stdin.readline();"
        "wake(database, 'worker'); print(time.monotonic())"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    assert select.select([listener], [], [], 20)[0]
    woken_at = time.monotonic()
    output, _ = child.communicate(timeout=10)
    assert woken_at - float(output) < 0.5
    listener.close()


def test_a_kind_that_does_not_exist_is_a_mistake_of_the_caller(db: Database) -> None:
    with pytest.raises(ValueError, match="'wroker'"):
        wake(db, "wroker")


@pytest.mark.only("sqlite", "its wake-ups go through sockets beside the file")
def test_a_folder_that_cannot_be_made_is_told_in_one_line(db: Database) -> None:
    Path(f"{db.path}-wake").write_text("in the way")
    with pytest.raises(DatabaseError, match=r"jobsup\.db-wake: cannot listen for wake-ups"):
        Listener(db, "worker")


@pytest.mark.only("sqlite", "on a server everybody hears of work")
def test_work_is_offered_to_one_more_than_can_have_it_and_not_to_all(db: Database) -> None:
    listeners = [Listener(db, "worker") for _ in range(5)]
    offer(db, ANY, 1)
    assert sum(listener.drain() for listener in listeners) == 1 + SPARE_OFFERS
    offer(db, ANY, 50)
    assert sum(listener.drain() for listener in listeners) == 5
    for listener in listeners:
        listener.close()


@pytest.mark.only("sqlite", "on a server everybody hears of work")
def test_an_offer_that_is_declined_goes_to_others_and_comes_back_only_when_it_is_welcome(db: Database) -> None:
    full, ready = Listener(db, "worker"), Listener(db, "worker")
    offer(db, ANY, 1)
    assert full.drain()
    assert ready.drain()
    assert full.decline()
    assert ready.drain(), "it was passed on"
    offer(db, ANY, 9)
    assert (full.drain(), ready.drain()) == (False, True)
    wake(db, "worker")
    assert (full.drain(), ready.drain()) == (True, True), "news is for the full ones too"
    assert not full.decline(), "news cannot be declined"
    full.welcome()
    offer(db, ANY, 9)
    assert (full.drain(), ready.drain()) == (True, True)
    full.close()
    ready.close()
    assert sockets(db) == []


@pytest.mark.only("sqlite", "on a server everybody hears of work")
def test_one_that_serves_some_queues_hears_of_every_offer(db: Database) -> None:
    choosy, *others = Listener(db, "worker", is_choosy=True), *(Listener(db, "worker") for _ in range(8))
    for _ in range(3):
        offer(db, ANY, 1)
        assert choosy.drain()
    for listener in (choosy, *others):
        listener.close()


def test_an_offer_in_a_transaction_is_told_at_its_end(db: Database) -> None:
    listener = Listener(db, "worker")
    with db.write():
        offer(db, ANY, 1)
        assert not listener.drain()
    assert select.select([listener], [], [], 5)[0]
    assert listener.drain()
    listener.close()
