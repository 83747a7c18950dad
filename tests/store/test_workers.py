"""Registrations: ids, ends, and silence."""

from __future__ import annotations

import re
import secrets
import select
from datetime import timedelta

import pytest

from jobsup.errors import DatabaseError
from jobsup.model import Status, WorkerFacts, WorkerStatus
from jobsup.store import workers
from jobsup.store.engine import Database
from jobsup.store.notifier import Listener
from tests.support.store import START, FakeClock, add_dispatch, add_job, add_worker, worker_row

FACTS = WorkerFacts(
    node="here",
    boot_id="boot-1",
    pid_namespace="pid:[1]",
    process_id=4711,
    process_started=99,
    heartbeat_interval=timedelta(seconds=2.5),
    concurrency=3,
    queues=("default", "slow"),
)


def draw(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    letters = iter(text)
    monkeypatch.setattr(secrets, "choice", lambda _: next(letters))


def test_a_registered_worker_is_listed_with_all_it_said(db: Database) -> None:
    worker_id = workers.register(db, FACTS, "1.2.3")
    assert re.fullmatch(r"worker-[a-z0-9]{5}", worker_id)
    (row,) = workers.list_workers(db)
    assert (row.worker_id, row.status, row.started_at, row.last_heartbeat) == (
        worker_id,
        WorkerStatus.IDLE,
        START,
        START,
    )
    assert (row.heartbeat_interval, row.queues, row.concurrency) == (timedelta(seconds=2.5), ("default", "slow"), 3)
    assert (row.process_id, row.process_started, row.version) == (4711, 99, "1.2.3")
    assert row.hostname
    assert row.platform.startswith("Linux ")


def test_the_scheduler_hears_of_a_worker_that_has_come(db: Database) -> None:
    listener = Listener(db, "scheduler")
    workers.register(db, FACTS, "1.2.3")
    assert select.select([listener], [], [], 5)[0]
    listener.close()


def test_a_taken_id_is_drawn_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    add_worker(db, "worker-aaaaa")
    draw(monkeypatch, "aaaaabbbbb")
    assert workers.register(db, FACTS, "1") == "worker-bbbbb"
    assert worker_row(db, "worker-aaaaa")["process_id"] != FACTS.process_id


def test_drawing_ids_ends_some_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    add_worker(db, "worker-aaaaa")
    draw(monkeypatch, "aaaaa" * workers.REGISTER_TRIES_MAX)
    with pytest.raises(DatabaseError, match="no free worker id"):
        workers.register(db, FACTS, "1")


def test_a_stopped_worker_is_offline_and_listed_only_on_request(db: Database) -> None:
    worker_id = workers.register(db, FACTS, "1")
    workers.stop(db, worker_id)
    assert workers.list_workers(db) == []
    (row,) = workers.list_workers(db, include_offline=True)
    assert (row.worker_id, row.status) == (worker_id, WorkerStatus.OFFLINE)


def test_a_silent_worker_is_marked_offline_once(db: Database, clock: FakeClock) -> None:
    add_worker(db, "worker-quiet")
    clock.advance(181)
    add_worker(db, "worker-fresh")
    assert workers.mark_stale_offline(db, timedelta(seconds=180)) == ["worker-quiet"]
    assert workers.mark_stale_offline(db, timedelta(seconds=180)) == []
    assert [row.worker_id for row in workers.list_workers(db)] == ["worker-fresh"]


def test_a_silent_worker_that_still_owns_a_run_waits_for_its_rescue(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    clock.advance(timedelta(hours=1))
    assert workers.mark_stale_offline(db, timedelta(seconds=180)) == []


def test_workers_of_the_callers_own_boot_are_left_to_the_process_table(db: Database, clock: FakeClock) -> None:
    add_worker(db, "worker-local", boot_id="this-boot")
    add_worker(db, "worker-other", boot_id="another")
    clock.advance(timedelta(hours=8))
    assert workers.mark_stale_offline(db, timedelta(seconds=180), boot_id="this-boot") == ["worker-other"]
