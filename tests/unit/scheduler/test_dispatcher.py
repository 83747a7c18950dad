"""The pass over all that is due, and the instant it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from jobsup.model import CatchUp, Lease, Overlap, Reason, ScheduleSpec, Status, TickPlan
from jobsup.scheduler.dispatcher import DISPATCH_CHUNK_SIZE, FIRST_CHUNK_SIZE, dispatch_due
from jobsup.scheduler.watch import Watch
from jobsup.store import leases, ticks
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import add_job, dispatches_of

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
    count = 5 * FIRST_CHUNK_SIZE
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
    assert sizes == [FIRST_CHUNK_SIZE, 2 * FIRST_CHUNK_SIZE, 2 * FIRST_CHUNK_SIZE]
    assert max(sizes) <= DISPATCH_CHUNK_SIZE
