"""Rescue: whose runs are closed, when, and that a living owner's never are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobsup.model import Reason, Status, WorkerStatus
from jobsup.store import attempts, rescue
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from tests.support.clock import FakeClock
from tests.support.store import (
    WORKER_ID,
    add_chunk,
    add_dispatch,
    add_job,
    add_worker,
    dispatch_row,
    dispatches_of,
    log_row,
    worker_row,
)

MINUTE = timedelta(minutes=1)


def find_lost(db: Database, alive: bool = True, **host: str) -> list[str]:
    here = {"node": "here", "boot_id": "boot-1", "pid_namespace": "pid:[1]", **host}
    found = rescue.find_lost(db, **here, is_alive=lambda _pid, _started: alive)
    return [*found.dead, *found.silent]


def test_on_this_host_the_process_table_decides_not_the_heartbeat(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    clock.advance(3600)
    assert find_lost(db, alive=True) == [], "a laptop that slept loses nothing"
    assert find_lost(db, alive=False) == [WORKER_ID]


@pytest.mark.parametrize("host", [{"node": "other"}, {"boot_id": "boot-2"}, {"pid_namespace": "pid:[2]"}])
def test_elsewhere_four_missed_heartbeats_decide(db: Database, clock: FakeClock, host: dict[str, str]) -> None:
    add_worker(db, heartbeat_interval=5.0)
    clock.advance(20)
    assert find_lost(db, alive=False, **host) == []
    clock.advance(1)
    assert find_lost(db, alive=False, **host) == [WORKER_ID]


def test_a_worker_is_found_again_when_who_closed_it_died_on_the_way(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_worker(db)
    runs = [add_dispatch(db, add_job(db), Status.IN_PROGRESS) for _ in range(3)]

    class DiedError(Exception):
        pass

    end, ends = attempts.end, []

    def die(*arguments: Any, **options: Any) -> Any:
        ends.append(end(*arguments, **options))
        if len(ends) == 2:
            raise DiedError
        return ends[-1]

    monkeypatch.setattr(rescue, "RESCUE_BATCH_SIZE", 2)
    with monkeypatch.context() as patch:
        patch.setattr(attempts, "end", die)
        with pytest.raises(DiedError):
            rescue.close_lost(db, [WORKER_ID])
    assert [dispatch_row(db, run)["status"] for run in runs] == [Status.TIMEOUT, Status.TIMEOUT, Status.IN_PROGRESS]
    assert find_lost(db, alive=False) == [WORKER_ID], "an OFFLINE worker would be looked at by nobody"
    (ended,) = rescue.close_lost(db, [WORKER_ID])
    assert ended.dispatch_id == runs[-1]
    assert worker_row(db)["status"] == WorkerStatus.OFFLINE


def test_a_lost_worker_loses_its_runs_with_a_retry_at_once_and_its_output_kept(db: Database) -> None:
    add_worker(db)
    job, other = add_job(db), add_job(db)
    lost = add_dispatch(db, job, Status.IN_PROGRESS)
    kept = add_dispatch(db, other, Status.IN_PROGRESS, worker_id="worker-other")
    add_chunk(db, lost, 0, b"so far")
    (ended,) = rescue.close_lost(db, [WORKER_ID])
    row = dispatch_row(db, lost)
    assert (row["status"], row["reason"]) == (Status.TIMEOUT, Reason.WORKER_LOST)
    assert WORKER_ID in row["error_message"]
    assert (log_row(db, lost) or {})["log_output"] == b"so far"
    retry = dispatch_row(db, ended.retry_id or 0)
    assert (retry["status"], retry["retry_count"], retry["available_at"]) == (Status.PENDING, 1, db.now())
    assert worker_row(db)["status"] == WorkerStatus.OFFLINE
    assert dispatch_row(db, kept)["status"] == Status.IN_PROGRESS


def test_closing_twice_changes_nothing(db: Database) -> None:
    add_worker(db)
    job = add_job(db)
    add_dispatch(db, job, Status.IN_PROGRESS)
    assert len(rescue.close_lost(db, [WORKER_ID])) == 1
    before = dispatches_of(db, job)
    assert rescue.close_lost(db, [WORKER_ID]) == []
    assert dispatches_of(db, job) == before


def test_a_job_that_kills_its_worker_each_time_ends_after_its_maximum(db: Database, clock: FakeClock) -> None:
    job = add_job(db, max_retries=3)
    add_dispatch(db, job, Status.IN_PROGRESS)
    add_worker(db)
    for _ in range(10):
        rescue.close_lost(db, [WORKER_ID])
        clock.advance(7200)
        _claim_again(db, job)
    rows = dispatches_of(db, job)
    assert [row["retry_count"] for row in rows] == [0, 1, 2, 3]
    assert {(row["status"], row["reason"]) for row in rows} == {(Status.TIMEOUT, Reason.WORKER_LOST)}


def _claim_again(db: Database, job: JobFacts) -> None:
    from sqlalchemy import update

    from jobsup.store.models import JobDispatch

    with db.write() as connection:
        connection.execute(
            update(JobDispatch)
            .where(JobDispatch.job_id == job.job_id, JobDispatch.status == Status.PENDING)
            .values(status=Status.IN_PROGRESS, worker_id=WORKER_ID, claimed_at=db.now())
        )


def test_a_job_that_may_not_be_repeated_is_not(db: Database) -> None:
    add_worker(db)
    job = add_job(db, retry_on_lost=False)
    add_dispatch(db, job, Status.IN_PROGRESS)
    (ended,) = rescue.close_lost(db, [WORKER_ID])
    assert ended.retry_id is None


def test_a_long_run_of_a_living_owner_is_left_alone_until_deadline_grace_and_margin(
    db: Database, clock: FakeClock
) -> None:
    add_worker(db)
    job = add_job(db, timeout=timedelta(seconds=100), kill_grace=timedelta(seconds=10))
    add_dispatch(db, job, Status.IN_PROGRESS, deadline_at=clock.now() + timedelta(seconds=100))
    clock.advance(100 + 10 + 60)
    assert rescue.close_overdue(db, MINUTE) == []
    assert rescue.close_ownerless(db, MINUTE) == [], "it has an owner"
    clock.advance(1)
    (ended,) = rescue.close_overdue(db, MINUTE)
    row = dispatch_row(db, ended.dispatch_id)
    assert (row["status"], row["reason"]) == (Status.TIMEOUT, Reason.DEADLINE)


def test_a_run_without_deadline_is_never_overdue(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    add_dispatch(db, add_job(db, timeout=None), Status.IN_PROGRESS, deadline_at=None)
    clock.advance(10**7)
    assert rescue.close_overdue(db, MINUTE) == []


@pytest.mark.parametrize("owner", ["unknown", "offline"])
def test_a_run_without_owner_is_closed_after_the_threshold(db: Database, clock: FakeClock, owner: str) -> None:
    if owner == "offline":
        add_worker(db, status=WorkerStatus.OFFLINE)
    job = add_job(db)
    dispatch_id = add_dispatch(db, job, Status.IN_PROGRESS)
    clock.advance(600)
    assert rescue.close_ownerless(db, timedelta(seconds=600)) == []
    clock.advance(1)
    assert [ended.dispatch_id for ended in rescue.close_ownerless(db, timedelta(seconds=600))] == [dispatch_id]
    assert dispatch_row(db, dispatch_id)["reason"] == Reason.NO_OWNER
