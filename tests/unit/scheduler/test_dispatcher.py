"""The pass over all that is due, and the instant it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from jobsup import events
from jobsup.model import CatchUp, DueJob, Lease, Overlap, Reason, ScheduleSpec, Status, TickPlan
from jobsup.scheduler import planner
from jobsup.scheduler.dispatcher import BROKEN_RETRY, DISPATCH_CHUNK_SIZE, FIRST_CHUNK_SIZE, dispatch_due
from jobsup.scheduler.watch import Watch
from jobsup.store import jobs, leases, ticks
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import add_job, dispatches_of, job_row

EVERY_SECOND = ScheduleSpec(cron="* * * * * *")


@pytest.fixture
def lease(db: Database) -> Lease:
    found = leases.acquire(db, "me", "here", timedelta(days=1))
    assert found is not None
    return found


def test_what_a_clock_skipped_since_the_loop_last_looked_was_missed(
    db: Database, clock: FakeClock, lease: Lease
) -> None:
    job = add_job(db, schedule=EVERY_SECOND, next_run=clock.now(), catch_up=CatchUp.NONE, overlap=Overlap.ALLOW)
    begin = clock.now()
    watch = Watch()
    watch.begin(begin, None, timedelta(0))
    clock.advance(535)
    assert dispatch_due(db, lease, watch).skipped == 535
    skipped, last = dispatches_of(db, job)
    assert (skipped["reason"], skipped["skipped_count"]) == (Reason.MISSED, 535)
    assert f"no scheduler was up from {begin.isoformat()[:19]}" in skipped["error_message"]
    assert last["status"] == Status.PENDING, "the tick of this very second is on time"


def test_what_the_loop_is_a_little_late_for_is_on_time(db: Database, clock: FakeClock, lease: Lease) -> None:
    add_job(db, schedule=EVERY_SECOND, next_run=clock.now(), catch_up=CatchUp.NONE, overlap=Overlap.ALLOW)
    watch = Watch()
    watch.begin(clock.now(), None, timedelta(0))
    clock.advance(9)
    assert dispatch_due(db, lease, watch).dispatched == 10


def test_of_many_that_are_due_few_come_first_and_all_are_dispatched_once(
    db: Database, clock: FakeClock, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 7 * FIRST_CHUNK_SIZE
    for _ in range(count):
        add_job(db, schedule=EVERY_SECOND, next_run=clock.now())
    sizes: list[int] = []
    dispatch = ticks.dispatch

    def note(database: Database, term: Lease, plans: Sequence[TickPlan]) -> ticks.Dispatched:
        sizes.append(len(plans))
        return dispatch(database, term, plans)

    monkeypatch.setattr(ticks, "dispatch", note)
    watch = Watch()
    watch.begin(clock.now(), None, timedelta(0))
    done = dispatch_due(db, lease, watch)
    assert (done.dispatched, done.is_whole) == (count, True)
    assert sizes == [FIRST_CHUNK_SIZE, 4 * FIRST_CHUNK_SIZE, 2 * FIRST_CHUNK_SIZE]
    assert max(sizes) <= DISPATCH_CHUNK_SIZE


def test_jobs_that_come_due_alike_are_planned_once_and_others_for_themselves(
    db: Database, clock: FakeClock, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly, shared, own = ScheduleSpec(cron="0 * * * *"), ("a", "b", "c"), ("paused", "jitter-1", "jitter-2", "hashed")
    for name in shared:
        add_job(db, name, schedule=hourly, next_run=clock.now())
    add_job(db, "paused", schedule=hourly, next_run=clock.now(), row={"paused_at": clock.now()})
    for name in ("jitter-1", "jitter-2"):
        add_job(db, name, schedule=hourly, next_run=clock.now(), jitter=timedelta(hours=1))
    add_job(db, "hashed", schedule=ScheduleSpec(cron="H * * * *"), next_run=clock.now())
    planned: list[str] = []
    plan = planner.plan

    def note(job: DueJob, *arguments: Any, **options: Any) -> TickPlan:
        planned.append(job.name)
        return plan(job, *arguments, **options)

    monkeypatch.setattr(planner, "plan", note)
    watch = Watch()
    watch.begin(clock.now(), None, timedelta(0))
    dispatch_due(db, lease, watch)
    assert sorted(planned) == sorted(["a", *own])
    rows = {name: dispatches_of(db, jobs.get_job(db, name)) for name in (*shared, *own)}
    assert [[row["status"] for row in rows[name]] for name in shared] == [[Status.PENDING]] * 3
    assert [(row["status"], row["reason"]) for row in rows["paused"]] == [(Status.SKIPPED, Reason.PAUSED)]
    assert rows["jitter-1"][0]["available_at"] != rows["jitter-2"][0]["available_at"]


def test_each_job_whose_ticks_cannot_be_computed_is_named(db: Database, clock: FakeClock, lease: Lease) -> None:
    names = ("a", "b")
    for name in names:
        add_job(db, name, schedule=ScheduleSpec(cron="0 0 * * *", timezone="Gone/Away"), next_run=clock.now())
    good = add_job(db, "good", schedule=EVERY_SECOND, next_run=clock.now())
    told: list[str] = []
    end = events.subscribe(lambda name, fields: told.append(fields["job"]) if name == "dispatch.broken" else None)
    watch = Watch()
    watch.begin(clock.now(), None, timedelta(0))
    dispatch_due(db, lease, watch)
    end()
    assert sorted(told) == ["a", "b"]
    assert len(dispatches_of(db, good)) == 1
    assert [job_row(db, name)["next_run"] for name in names] == [clock.now() + BROKEN_RETRY] * 2
