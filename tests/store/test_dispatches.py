"""What people do to single runs: run now, cancel, retry."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import Overlap, Reason, Source, Status
from jobsup.store import dispatches
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import add_dispatch, add_job, dispatch_row


def run(db: Database, name: str, **options: bool) -> dispatches.Created:
    return dispatches.create_manual(db, name, params={"n": 1}, requested_by="ann@desk", **options)


def test_run_now_waits_for_a_worker_and_says_who_asked(db: Database) -> None:
    add_job(db, "a", priority=2, queue="q")
    created = run(db, "a")
    row = dispatch_row(db, created.dispatch_id)
    assert (row["status"], row["source"], row["requested_by"]) == (Status.PENDING, Source.MANUAL, "ann@desk")
    assert (row["params"], row["priority"], row["queue"], row["scheduled_for"]) == ({"n": 1}, 2, "q", None)


def test_run_now_of_a_running_job_that_skips_overlap_leaves_a_skipped_row(db: Database) -> None:
    job = add_job(db, "a")
    earlier = add_dispatch(db, job, Status.IN_PROGRESS)
    created = run(db, "a")
    assert (created.status, created.reason) == (Status.SKIPPED, Reason.OVERLAP)
    assert created.message == f"run {earlier} was still running"
    assert dispatch_row(db, created.dispatch_id)["status"] == Status.SKIPPED


def test_run_now_replaces_the_running_one_where_the_job_says_so(db: Database) -> None:
    earlier = add_dispatch(db, add_job(db, "a", overlap=Overlap.REPLACE), Status.IN_PROGRESS)
    assert run(db, "a").status is Status.PENDING
    assert dispatch_row(db, earlier)["cancel_reason"] == Reason.REPLACED


def test_an_unknown_and_a_removed_job_are_not_found(db: Database) -> None:
    add_job(db, "old", row={"retired_at": db.now(), "is_active": False})
    with pytest.raises(NotFoundError, match=r"no job 'new'"):
        run(db, "new")
    with pytest.raises(NotFoundError, match="was removed on"):
        run(db, "old")


def test_a_paused_job_runs_only_when_forced_and_again_when_the_pause_is_over(db: Database, clock: FakeClock) -> None:
    pause = {
        "paused_at": db.now(),
        "paused_by": "bob",
        "paused_reason": "disk swap",
        "paused_until": db.now() + timedelta(hours=1),
    }
    add_job(db, "a", overlap=Overlap.ALLOW, row=pause)
    with pytest.raises(ConflictError, match=r"paused by bob \(disk swap\).*jobsup resume a"):
        run(db, "a")
    assert run(db, "a", force=True).status is Status.PENDING
    clock.advance(3600)
    assert run(db, "a").status is Status.PENDING


def test_cancelling_ends_a_waiting_run_and_asks_for_the_end_of_a_running_one(db: Database) -> None:
    waiting = add_dispatch(db, add_job(db))
    running = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    assert dispatches.cancel(db, waiting, "ann") is Status.CANCELLED
    assert dispatches.cancel(db, running, "ann") is Status.IN_PROGRESS
    row = dispatch_row(db, running)
    assert (row["cancel_requested_by"], row["cancel_reason"]) == ("ann", Reason.CANCELLED)
    with pytest.raises(ConflictError, match="has ended already: CANCELLED"):
        dispatches.cancel(db, waiting, "ann")
    with pytest.raises(NotFoundError):
        dispatches.cancel(db, 999, "ann")


def test_a_retry_that_waits_for_its_time_starts_when_a_person_wants_it_to(db: Database, clock: FakeClock) -> None:
    """Or who has mended the cause in the night would wait for an hour's backoff, or be told of a conflict."""
    job = add_job(db)
    failed = add_dispatch(db, job, Status.FAILED, completed_at=db.now())
    hour = clock.now() + timedelta(hours=1)
    shape = {"source": Source.RETRY, "retry_of": failed, "retry_count": 1, "available_at": hour}
    waiting = add_dispatch(db, job, Status.PENDING, **shape)
    before = dispatch_row(db, waiting)
    assert dispatches.retry(db, failed, "ann") == waiting
    row = dispatch_row(db, waiting)
    assert (row["available_at"], row["requested_by"], row["retry_count"]) == (clock.now(), "ann", 1)
    assert row["claim_rank"] == before["claim_rank"] - 3_600_000
    with pytest.raises(ConflictError, match=f"as run {waiting}"):
        dispatches.retry(db, failed, "bob")
    with pytest.raises(ConflictError, match="has not ended"):
        dispatches.retry(db, waiting, "bob")


def test_a_waiting_retry_is_brought_forward_by_its_own_number_too(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    failed = add_dispatch(db, job, Status.FAILED, completed_at=db.now())
    shape = {"source": Source.RETRY, "retry_of": failed, "available_at": clock.now() + timedelta(hours=1)}
    waiting = add_dispatch(db, job, Status.PENDING, **shape)
    assert dispatches.retry(db, waiting, "ann") == waiting
    assert dispatch_row(db, waiting)["available_at"] == clock.now()
    later = add_dispatch(db, add_job(db), Status.PENDING, available_at=clock.now() + timedelta(hours=1))
    with pytest.raises(ConflictError, match="has not ended"):
        dispatches.retry(db, later, "ann")


def test_a_person_retries_an_ended_run_once_with_its_parameters(db: Database) -> None:
    job = add_job(db)
    failed = add_dispatch(db, job, Status.FAILED, params={"x": 2}, retry_count=3)
    new = dispatches.retry(db, failed, "ann")
    row = dispatch_row(db, new)
    assert (row["retry_of"], row["retry_count"], row["params"]) == (failed, 0, {"x": 2})
    assert dispatches.latest_attempt(db, failed) == (new, Status.PENDING)
    with pytest.raises(ConflictError, match=f"as run {new}"):
        dispatches.retry(db, failed, "ann")
    with pytest.raises(ConflictError, match="has not ended"):
        dispatches.retry(db, new, "ann")
