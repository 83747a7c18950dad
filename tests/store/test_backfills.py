"""Ticks of a time gone by: one run each, a few at a time, none twice, behind what comes up now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.actions import backfill
from jobsup.actions import jobs as job_actions
from jobsup.errors import ConflictError, NotFoundError, UsageError
from jobsup.model import Lease, Overlap, Reason, RunResult, ScheduleSpec, Source, Status, TickPlan
from jobsup.store import backfills, jobs, leases, notifier, slots, ticks
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.rounds import Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import START, WORKER_ID, add_dispatch, add_job, add_worker, dispatch_row, dispatches_of

HOURLY = ScheduleSpec(every=timedelta(hours=1), anchor=START - timedelta(days=30))
HOUR = timedelta(hours=1)
ME = Worker(WORKER_ID, "here")


def hourly(db: Database, **overrides: object) -> JobFacts:
    return add_job(db, "report", schedule=HOURLY, next_run=START + HOUR, **overrides)


def survey(db: Database, hours: float, *, limit: int = 1000) -> backfill.Range:
    return backfill.survey(db, "report", START - hours * HOUR, None, limit=limit)


def claim(db: Database, limit: int = 9) -> list[int]:
    return [each.dispatch_id for each in exchange(db, ME, Round(claim=limit)).claims]


def finish(db: Database, dispatch_id: int, status: Status = Status.COMPLETED) -> None:
    exchange(db, ME, Round(results=[RunResult(dispatch_id, status, Reason.NONE, finished_at=db.now())]))


def test_every_tick_of_the_time_gets_its_run_with_its_instant(db: Database) -> None:
    job = hourly(db)
    found = survey(db, 3)
    assert found.ticks == tuple(START - number * HOUR for number in (3, 2, 1, 0))
    assert (found.done, found.left) == (0, 0)
    ids = backfill.fill(db, found, by="ann@db1", max_parallel=1)
    rows = dispatches_of(db, job)
    assert [row["id"] for row in rows] == ids
    assert [row["scheduled_for"] for row in rows] == list(found.ticks)
    assert {(row["source"], row["status"], row["requested_by"]) for row in rows} == {
        (Source.BACKFILL, Status.PENDING, "ann@db1")
    }


def test_ticks_that_have_run_are_left_out_and_those_that_were_skipped_are_not(db: Database) -> None:
    job = hourly(db)
    add_dispatch(db, job, Status.FAILED, scheduled_for=START - 3 * HOUR)
    add_dispatch(db, job, Status.COMPLETED, scheduled_for=START - 2 * HOUR)
    add_dispatch(db, job, Status.SKIPPED, scheduled_for=START - HOUR, skipped_until=START - HOUR, skipped_count=1)
    add_dispatch(db, job, Status.PENDING, scheduled_for=START)
    found = survey(db, 4)
    assert found.ticks == (START - 4 * HOUR, START - HOUR)
    assert found.done == 3


def test_no_tick_is_filled_in_twice_unless_it_was_cancelled(db: Database) -> None:
    job = hourly(db)
    found = survey(db, 2)
    first = backfill.fill(db, found, by="ann", max_parallel=1)
    assert backfill.fill(db, found, by="bob", max_parallel=2) == [], "the index refuses what a race would double"
    assert (survey(db, 2).ticks, survey(db, 2).done) == ((), 3)
    assert backfill.cancel(db, "report", "ann") == 3
    assert dispatch_row(db, first[0])["reason"] == Reason.CANCELLED
    assert len(backfill.fill(db, survey(db, 2), by="ann", max_parallel=1)) == 3
    assert len(dispatches_of(db, job)) == 6


def test_the_limit_takes_the_oldest_and_says_how_many_more_there_are(db: Database) -> None:
    hourly(db)
    found = survey(db, 600, limit=10)
    assert (len(found.ticks), found.left) == (10, 591)
    backfill.fill(db, found, by="ann", max_parallel=1)
    after = survey(db, 600, limit=10)
    assert (after.ticks[0], after.done, after.left) == (found.ticks[-1] + HOUR, 10, 581)


def test_no_more_run_at_a_time_than_were_asked_for(db: Database) -> None:
    hourly(db)
    add_worker(db)
    ids = backfill.fill(db, survey(db, 7), by="ann", max_parallel=3)
    running = claim(db)
    assert running == ids[:3]
    finish(db, running[1])
    assert len(claim(db)) == 1


def test_one_at_a_time_runs_beside_no_tick_and_keeps_none_waiting_for_long(db: Database, clock: FakeClock) -> None:
    job = hourly(db)
    add_worker(db)
    ids = backfill.fill(db, survey(db, 5), by="ann", max_parallel=1)
    assert claim(db) == ids[:1]
    clock.advance(3600)
    tick = dispatch_tick(db, job)
    assert dispatch_row(db, tick)["status"] == Status.PENDING, "what is filled in keeps no tick out"
    assert claim(db) == []
    finish(db, ids[0])
    assert claim(db) == [tick], "it stands before all that was filled in earlier"


def dispatch_tick(db: Database, job: JobFacts) -> int:
    lease = leases.acquire(db, "me", "here", timedelta(seconds=8), is_dead=lambda _: True)
    assert isinstance(lease, Lease)
    at = START + HOUR
    assert ticks.dispatch(db, lease, [TickPlan(job.job_id, at, at + HOUR, (at,))]).count == 1
    found = slots.at_instant(db, job.job_id, at)
    assert found is not None
    return found


def test_jobs_that_may_overlap_are_filled_in_as_many_at_a_time_as_was_asked_for_too(db: Database) -> None:
    hourly(db, overlap=Overlap.ALLOW)
    add_worker(db)
    backfill.fill(db, survey(db, 5), by="ann", max_parallel=1)
    assert len(claim(db)) == 1


def test_a_pause_holds_what_was_filled_in_and_its_end_wakes_workers(db: Database) -> None:
    hourly(db)
    add_worker(db)
    [waiting] = backfill.fill(db, survey(db, 0), by="ann", max_parallel=1)
    job_actions.pause(db, ["report"], by="ann")
    assert claim(db) == []
    listener = notifier.Listener(db, "worker")
    job_actions.resume(db, ["report"])
    assert listener.drain()
    listener.close()
    assert claim(db) == [waiting]


def test_what_is_not_past_or_has_no_ticks_is_refused(db: Database) -> None:
    hourly(db)
    add_job(db, "by-hand")
    with pytest.raises(UsageError, match="has not come yet"):
        backfill.survey(db, "report", START, START + HOUR, limit=1)
    with pytest.raises(UsageError, match="fills in the past"):
        backfill.survey(db, "report", START + HOUR, None, limit=1)
    with pytest.raises(ConflictError, match="has no schedule"):
        backfill.survey(db, "by-hand", START - HOUR, None, limit=1)
    with pytest.raises(NotFoundError, match='did you mean "report"'):
        backfill.survey(db, "reprot", START - HOUR, None, limit=1)


def test_a_tick_that_the_scheduler_has_yet_to_decide_on_is_left_to_it(db: Database) -> None:
    add_job(db, "report", schedule=HOURLY, next_run=START - HOUR)
    assert survey(db, 3).ticks == (START - 3 * HOUR, START - 2 * HOUR)


def test_a_year_of_seconds_is_bounded(db: Database) -> None:
    add_job(db, "report", schedule=ScheduleSpec(cron="* * * * * *"), next_run=START + HOUR)
    found = survey(db, 24 * 365, limit=100)
    assert (len(found.ticks), found.left) == (100, 365 * 86_400 + 1 - 100)


def test_how_many_wait_and_run_is_told(db: Database) -> None:
    job = hourly(db)
    add_worker(db)
    backfill.fill(db, survey(db, 4), by="ann", max_parallel=2)
    claim(db)
    assert backfills.waiting(db, job.job_id) == backfills.Waiting(pending=3, running=2)
    assert jobs.get_job(db, "report").next_run == START + HOUR
