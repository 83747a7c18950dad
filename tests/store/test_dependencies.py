"""Jobs that start when others end: which ends count, once each, and in the transaction of the end itself."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    DependsMode,
    DependsWhen,
    JobSpec,
    Overlap,
    Reason,
    RunResult,
    SetSpec,
    Source,
    Status,
)
from jobsup.store import attempts, backfills, dispatches, jobs
from jobsup.store.engine import Database
from jobsup.store.models import JobDependency, JobDispatch
from tests.support.clock import FakeClock
from tests.support.store import WORKER_ID, add_dispatch, add_worker, connect, dispatches_of, job_spec


def sync(db: Database, *specs: JobSpec, **kinds: Any) -> None:
    jobs.sync(db, "default", specs, content_hash="", node="", path="", **kinds)


def run(db: Database, name: str, status: Status = Status.COMPLETED, reason: Reason = Reason.NONE) -> int:
    """Let a run of a job end; returns its id."""
    dispatch_id = add_dispatch(db, jobs.get_job(db, name), Status.IN_PROGRESS)
    end(db, dispatch_id, status, reason)
    return dispatch_id


def end(db: Database, dispatch_id: int, status: Status = Status.COMPLETED, reason: Reason = Reason.NONE) -> None:
    result = RunResult(dispatch_id, status, reason, finished_at=db.now(), started_at=db.now())
    with db.directly() as direct:
        assert attempts.end(direct, [result], worker_id=WORKER_ID, node="here", now=db.now())


def started(db: Database, name: str) -> list[tuple[int | None, Status, Reason]]:
    """What dependencies have made of a job: each with its parent."""
    return [
        (row["parent_id"], row["status"], row["reason"])
        for row in dispatches_of(db, jobs.get_job(db, name))
        if row["source"] == Source.DEPENDENCY
    ]


@pytest.mark.parametrize(
    ("when", "status", "starts"),
    [
        (DependsWhen.SUCCESS, Status.COMPLETED, True),
        (DependsWhen.SUCCESS, Status.FAILED, False),
        (DependsWhen.SUCCESS, Status.TIMEOUT, False),
        (DependsWhen.FAILURE, Status.COMPLETED, False),
        (DependsWhen.FAILURE, Status.FAILED, True),
        (DependsWhen.FAILURE, Status.TIMEOUT, True),
        (DependsWhen.FAILURE, Status.CANCELLED, True),
        (DependsWhen.ANY, Status.COMPLETED, True),
        (DependsWhen.ANY, Status.CANCELLED, True),
    ],
)
def test_the_end_that_is_waited_for_starts_the_job(
    db: Database, when: DependsWhen, status: Status, starts: bool
) -> None:
    sync(db, job_spec("load", max_retries=0), job_spec("report", depends_on=("load",), depends_when=when))
    parent = run(db, "load", status, Reason.CANCELLED if status is Status.CANCELLED else Reason.NONE)
    assert started(db, "report") == ([(parent, Status.PENDING, Reason.NONE)] if starts else [])


def test_only_the_last_attempts_end_counts(db: Database) -> None:
    failure = job_spec("cry", depends_on=("load",), depends_when=DependsWhen.FAILURE)
    sync(db, job_spec("load", max_retries=1, retry_backoff=timedelta(0)), failure)
    first = run(db, "load", Status.FAILED, Reason.EXIT_CODE)
    assert started(db, "cry") == []
    add_worker(db)
    with db.write() as connection:
        connection.execute(
            JobDispatch.__table__.update()
            .where(JobDispatch.retry_of == first)
            .values(status=Status.IN_PROGRESS, worker_id=WORKER_ID, claimed_at=db.now())
        )
    end(db, first + 1, Status.FAILED, Reason.EXIT_CODE)
    assert started(db, "cry") == [(first + 1, Status.PENDING, Reason.NONE)]


def test_all_waits_for_each_since_the_last_run_and_then_begins_anew(db: Database) -> None:
    sync(db, job_spec("a"), job_spec("b"), job_spec("both", depends_on=("a", "b"), overlap=Overlap.ALLOW))
    run(db, "a")
    run(db, "a")
    assert started(db, "both") == []
    first = run(db, "b")
    assert [parent for parent, _, _ in started(db, "both")] == [first]
    run(db, "b")
    assert len(started(db, "both")) == 1
    second = run(db, "a")
    assert [parent for parent, _, _ in started(db, "both")] == [first, second]


def test_any_starts_at_each_end(db: Database) -> None:
    either = job_spec("either", depends_on=("a", "b"), depends_mode=DependsMode.ANY, overlap=Overlap.ALLOW)
    sync(db, job_spec("a"), job_spec("b"), either)
    parents = [run(db, "a"), run(db, "b"), run(db, "a")]
    assert [parent for parent, _, _ in started(db, "either")] == parents


def test_two_ends_at_the_same_moment_start_the_job_exactly_once(db: Database) -> None:
    sync(db, job_spec("a"), job_spec("b"), job_spec("both", depends_on=("a", "b")))
    running = [add_dispatch(db, jobs.get_job(db, name), Status.IN_PROGRESS) for name in ("a", "b")]
    start = threading.Barrier(2)

    def finish(dispatch_id: int) -> None:
        own = connect(db)
        start.wait()
        end(own, dispatch_id)
        own.close()

    threads = [threading.Thread(target=finish, args=(dispatch_id,)) for dispatch_id in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(started(db, "both")) == 1


@pytest.mark.parametrize("reason", [Reason.REPLACED, Reason.JOB_REMOVED])
def test_a_run_that_was_given_up_for_another_starts_nothing(db: Database, reason: Reason) -> None:
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",), depends_when=DependsWhen.ANY))
    run(db, "load", Status.CANCELLED, reason)
    assert started(db, "report") == []


def test_a_waiting_run_that_a_person_cancels_is_an_end_too(db: Database) -> None:
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",), depends_when=DependsWhen.ANY))
    parent = add_dispatch(db, jobs.get_job(db, "load"))
    dispatches.cancel(db, parent, "ann")
    assert started(db, "report") == [(parent, Status.PENDING, Reason.NONE)]


def test_what_was_filled_in_afterwards_starts_nothing_and_neither_does_its_retry(db: Database) -> None:
    sync(db, job_spec("load", max_retries=1), job_spec("report", depends_on=("load",), depends_when=DependsWhen.ANY))
    load = jobs.get_job(db, "load")
    [filled] = backfills.create(db, load.job_id, [db.now()], requested_by="ann", max_parallel=1)
    dispatches.cancel(db, filled, "ann")
    retry = dispatches.retry(db, filled, "ann")
    dispatches.cancel(db, retry, "ann")
    assert started(db, "report") == []


def test_a_paused_job_tells_what_it_did_not_start(db: Database) -> None:
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",)))
    jobs.pause(db, ["report"], by="ann@db1", reason="disk full")
    parent = run(db, "load")
    assert started(db, "report") == [(parent, Status.SKIPPED, Reason.PAUSED)]
    assert dispatches_of(db, jobs.get_job(db, "report"))[0]["error_message"] == "by ann@db1: disk full"


def test_a_job_that_still_runs_tells_what_it_did_not_start(db: Database) -> None:
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",)))
    add_dispatch(db, jobs.get_job(db, "report"), Status.IN_PROGRESS)
    parent = run(db, "load")
    assert started(db, "report") == [(parent, Status.SKIPPED, Reason.OVERLAP)]


@pytest.mark.parametrize(
    ("policy", "status"), [(BlackoutPolicy.HOLD, Status.PENDING), (BlackoutPolicy.SKIP, Status.SKIPPED)]
)
def test_a_blackout_is_kept_by_what_follows_too(db: Database, policy: BlackoutPolicy, status: Status) -> None:
    end_at = db.now() + timedelta(hours=2)
    window = BlackoutSpec("inventory", db.now() - timedelta(hours=1), end_at, policy=policy)
    specs = job_spec("load"), job_spec("report", depends_on=("load",))
    sync(db, *specs, shared=SetSpec(blackouts=(window,)))
    run(db, "load")
    [row] = dispatches_of(db, jobs.get_job(db, "report"))
    assert row["status"] == status
    if policy is BlackoutPolicy.HOLD:
        assert row["available_at"] == end_at
        assert "inventory" in row["note"]
    else:
        assert row["reason"] == Reason.BLACKOUT


def test_a_retry_of_a_dependent_run_knows_the_parent_still(db: Database) -> None:
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",), max_retries=1))
    parent = run(db, "load")
    [row] = dispatches_of(db, jobs.get_job(db, "report"))
    dispatches.cancel(db, row["id"], "ann")
    dispatches.retry(db, row["id"], "ann")
    assert [each["parent_id"] for each in dispatches_of(db, jobs.get_job(db, "report"))] == [parent, parent]


def test_a_changed_file_changes_who_waits_for_whom_and_forgets_no_end(db: Database, clock: FakeClock) -> None:
    both = job_spec("both", depends_on=("a", "b"))
    sync(db, job_spec("a"), job_spec("b"), both)
    run(db, "a")
    sync(db, job_spec("a"), job_spec("b"), job_spec("c"), job_spec("both", depends_on=("a", "b"), priority=1))
    run(db, "b")
    assert len(started(db, "both")) == 1
    sync(db, job_spec("a"), job_spec("b"), job_spec("both"))
    with db.read() as connection:
        assert connection.execute(select(func.count()).select_from(JobDependency)).scalar_one() == 0
