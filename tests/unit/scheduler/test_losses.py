"""Runs whose owner is gone, as a scheduler finds them: by a report, the process table, silence, or a deadline."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jobsup.errors import DatabaseUnavailableError
from jobsup.model import CatchUp, Overlap, Reason, Status
from jobsup.runtime import procs
from jobsup.store import leases, notifier, rescue
from jobsup.store.engine import Database
from tests.support.store import (
    START,
    FakeClock,
    add_dispatch,
    add_job,
    add_worker,
    dispatch_row,
    dispatches_of,
    worker_row,
)
from tests.support.turned import Turned, every_minute, other_leader, scheduler, statuses, told

__all__ = ["scheduler", "told"]


def test_a_reported_death_closes_the_run_at_once_even_on_standby(
    db: Database, scheduler: Callable[..., Turned]
) -> None:
    other_leader(db)
    job = add_job(db, overlap=Overlap.SKIP)
    one = scheduler()
    one.turn()
    worker = add_worker(db, process_id=os.getpid())
    run = add_dispatch(db, job, Status.IN_PROGRESS)
    one.service.handle({"do": "child_gone", "kind": "worker", "facts": {"worker_id": worker}, "exit": "signal 9"})
    one.turn()
    assert (dispatch_row(db, run)["status"], dispatch_row(db, run)["reason"]) == ("TIMEOUT", "worker_lost")
    assert worker_row(db, worker)["status"] == "OFFLINE"
    assert [row["status"] for row in dispatches_of(db, job)] == ["TIMEOUT", "PENDING"]


def test_a_death_reported_while_the_database_is_silent_is_not_forgotten(
    db: Database, scheduler: Callable[..., Turned], monkeypatch: pytest.MonkeyPatch
) -> None:

    job = add_job(db)
    one = scheduler()
    one.turn()
    worker = add_worker(db, process_id=os.getpid())
    run = add_dispatch(db, job, Status.IN_PROGRESS)

    def fail(*_: object, **__: object) -> Any:
        raise DatabaseUnavailableError("locked")

    with monkeypatch.context() as patched:
        patched.setattr(rescue, "close_lost", fail)
        one.service.handle({"do": "child_gone", "kind": "worker", "facts": {"worker_id": worker}})
        one.turn()
    assert dispatch_row(db, run)["status"] == "IN_PROGRESS"
    one.turn(1)
    assert dispatch_row(db, run)["status"] == "TIMEOUT"


def test_at_its_start_a_scheduler_closes_what_dead_workers_of_this_host_left(
    db: Database, scheduler: Callable[..., Turned]
) -> None:
    here = procs.host_identity("here")
    job = add_job(db)
    add_worker(db, node="here", boot_id=here.boot_id, pid_namespace=here.pid_ns, process_id=2**22 - 1)
    run = add_dispatch(db, job, Status.IN_PROGRESS)
    scheduler()
    assert dispatch_row(db, run)["reason"] == Reason.WORKER_LOST


def test_the_death_of_a_worker_alone_on_this_host_is_noticed_without_a_report(
    db: Database, scheduler: Callable[..., Turned]
) -> None:
    here = procs.host_identity("here")
    job = add_job(db)
    one = scheduler()
    one.run_to(START + timedelta(seconds=3))
    with subprocess.Popen(["sleep", "60"]) as process:
        add_worker(
            db,
            node="here",
            boot_id=here.boot_id,
            pid_namespace=here.pid_ns,
            process_id=process.pid,
            process_started=procs.start_time(process.pid),
        )
        run = add_dispatch(db, job, Status.IN_PROGRESS)
        notifier.wake(db, "scheduler")  # as its registration does
        one.turn(1)
        assert dispatch_row(db, run)["status"] == "IN_PROGRESS"
        process.kill()
    one.turn(1)
    assert dispatch_row(db, run)["reason"] == Reason.WORKER_LOST


def test_a_worker_of_another_host_is_lost_after_four_silent_intervals(
    db: Database, scheduler: Callable[..., Turned]
) -> None:
    job = add_job(db)
    worker = add_worker(db, node="there")
    run = add_dispatch(db, job, Status.IN_PROGRESS)
    one = scheduler()
    one.run_to(START + timedelta(seconds=19))
    assert worker_row(db, worker)["status"] == "IDLE"
    one.run_to(START + timedelta(seconds=20.2))
    assert worker_row(db, worker)["status"] == "OFFLINE"
    row = dispatch_row(db, run)
    assert (row["status"], row["reason"]) == ("TIMEOUT", "worker_lost")
    assert "may have gone on beside the next one" in row["error_message"], "nobody knows whether it has ended"


def test_only_a_leader_judges_the_silence_of_other_hosts(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    other_leader(db)
    worker = add_worker(db, node="there", last_heartbeat=START - timedelta(seconds=19))
    one = scheduler()
    one.run_to(START + timedelta(seconds=7.9))
    assert worker_row(db, worker)["status"] == "IDLE"
    one.run_to(START + timedelta(seconds=8.1))
    assert worker_row(db, worker)["status"] == "OFFLINE", "it looks at once when it begins to lead"


def test_after_the_database_was_away_workers_elsewhere_have_a_moment_to_be_heard_of(
    db: Database, scheduler: Callable[..., Turned], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = add_worker(db, node="there", heartbeat_interval=5.0)
    one = scheduler()
    one.turn()

    def fail(*_: object, **__: object) -> Any:
        raise DatabaseUnavailableError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(leases, "renew", fail)
        patched.setattr(leases, "current", fail)
        patched.setattr(rescue, "find_lost", fail)
        for _ in range(60):
            one.turn(0.5)
    one.run_to(START + timedelta(seconds=38))
    assert worker_row(db, worker)["status"] == "IDLE"
    one.run_to(START + timedelta(seconds=44))
    assert worker_row(db, worker)["status"] == "OFFLINE"


def test_ticks_of_a_take_over_from_a_host_that_was_lost_are_late_and_not_missed(
    db: Database, scheduler: Callable[..., Turned]
) -> None:
    other_leader(db)
    job = add_job(db, schedule=every_minute(2), next_run=START + timedelta(seconds=2), catch_up=CatchUp.NONE)
    one = scheduler()
    one.run_to(START + timedelta(seconds=8.1))
    assert statuses(db, job) == [("PENDING", "")]


def test_a_worker_of_this_host_that_lives_is_kept_however_old_its_heartbeat(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    here = procs.host_identity("here")
    worker = add_worker(
        db,
        node="here",
        boot_id=here.boot_id,
        pid_namespace=here.pid_ns,
        process_id=os.getpid(),
        process_started=procs.start_time(os.getpid()),
    )
    clock.advance(timedelta(hours=8))
    one = scheduler()
    one.run_to(clock.now() + timedelta(seconds=90))
    assert worker_row(db, worker)["status"] == "IDLE"


def test_an_overdue_run_of_a_worker_that_does_not_do_its_duty_is_ended(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    add_worker(db, node="there", heartbeat_interval=3600.0)
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS, deadline_at=START + timedelta(seconds=5))
    one = scheduler()
    one.run_to(START + timedelta(seconds=40))
    assert dispatch_row(db, run)["status"] == "IN_PROGRESS"
    one.run_to(START + timedelta(seconds=130))
    assert (dispatch_row(db, run)["status"], dispatch_row(db, run)["reason"]) == ("TIMEOUT", "deadline")
