"""The pass over all that is due, and the instant it is judged by."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.model import CatchUp, Lease, Overlap, Reason, ScheduleSpec, Status
from jobsup.scheduler.dispatcher import dispatch_due
from jobsup.scheduler.watch import Watch
from jobsup.store import leases
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
