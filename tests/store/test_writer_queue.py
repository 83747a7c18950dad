"""Waiting for the turn to write on SQLite: never longer than it should be, and never without a word."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobsup.errors import DatabaseUnavailableError
from jobsup.store import writer_queue
from jobsup.store.engine import Database
from tests.support.waiting import PATIENCE, until

HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("has it", flush=True)
sys.stdin.read()
"""


@contextmanager
def turn_taken(path: Path) -> Iterator[int]:
    """Have another process take the turn to write and keep it; the block gets its number."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, f"{path}-queue"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"has it\n"
        try:
            yield holder.pid
        finally:
            holder.kill()


def touch(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS touched (at)")


def test_a_turn_that_does_not_come_is_told_with_the_process_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_queue, "TURN_SECONDS_MAX", 0.2)
    monkeypatch.setattr(writer_queue, "TICK_SECONDS", 0.05)
    signs: list[float] = []
    with closing(Database(f"sqlite:///{tmp_path / 'db'}")) as database:
        database.while_waiting(lambda: signs.append(time.monotonic()))
        touch(database)
        with (
            turn_taken(tmp_path / "db") as holder,
            pytest.raises(
                DatabaseUnavailableError, match=rf"{tmp_path}/db: no turn to write .* process {holder} has it"
            ),
        ):
            touch(database)
        assert signs, "it showed that it is alive meanwhile"
        touch(database)


def test_a_thread_beside_the_main_one_waits_for_its_turn_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_queue, "TURN_SECONDS_MAX", 0.1)
    monkeypatch.setattr(writer_queue, "TICK_SECONDS", 0.05)
    with closing(Database(f"sqlite:///{tmp_path / 'db'}")) as database:
        touch(database)
        with turn_taken(tmp_path / "db"):
            thread = threading.Thread(target=touch, args=[database])
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_writers_who_wait_behind_each_other_for_a_foreign_lock_give_up_together(tmp_path: Path) -> None:
    """Else the last of five would wait five times as long as SQLite's own patience, and look hung."""
    databases = [Database(f"sqlite:///{tmp_path / 'db'}?timeout=2") for _ in range(5)]
    touch(databases[0])
    took: list[float] = []

    def write(database: Database) -> None:
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="locked by another program"):
            touch(database)
        took.append(time.monotonic() - began)

    for database in databases[1:]:
        touch(database)
    foreign = sqlite3.connect(tmp_path / "db", isolation_level=None)
    foreign.execute("BEGIN EXCLUSIVE")
    threads = [threading.Thread(target=write, args=[database]) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    foreign.close()
    assert len(took) == 5
    assert max(took) < 2 * 2, took
    assert min(took) > 1.5, took
    for database in databases:
        touch(database)
        database.close()


def test_the_patience_of_sqlite_is_whole_again_afterwards(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'db'}?timeout=2")) as database:
        touch(database)
        with turn_taken(tmp_path / "db"):
            thread = threading.Thread(target=touch, args=[database])
            thread.start()
            until(lambda: _waits(tmp_path / "db"), PATIENCE, "it to wait for its turn")
            thread.join(0.3)
        thread.join(PATIENCE)
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 2000


def _waits(path: Path) -> bool:
    """Say whether the kernel knows of somebody who waits for the turn."""
    inode = Path(f"{path}-queue").stat().st_ino
    return any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())
