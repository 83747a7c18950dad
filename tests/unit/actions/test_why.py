"""Why a job ran, waits, was skipped, or will: told by rows, schedule and calendars, for any instant."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobsup.actions import backfill, why
from jobsup.actions.jobs import next_ticks
from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    CalendarRule,
    DependsMode,
    DependsWhen,
    Dst,
    JobSpec,
    NamedCalendar,
    On,
    Overlap,
    PoolSpec,
    Reason,
    RunResult,
    ScheduleSpec,
    SetSpec,
    Status,
)
from jobsup.runtime import procs
from jobsup.scheduler.dispatcher import dispatch_due
from jobsup.scheduler.watch import Watch
from jobsup.store import dispatches, jobs, leases, rounds
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import START, add_dispatch, add_worker, job_spec

HOUR = timedelta(hours=1)
HOURLY = ScheduleSpec(every=HOUR, anchor=START)
BERLIN = "Europe/Berlin"


def sync(db: Database, *specs: JobSpec, **shared: Any) -> None:
    jobs.sync(db, "default", specs, content_hash="", node="", path="", shared=SetSpec(**shared))


def tick(db: Database, *, down_since: datetime | None = None) -> None:
    """Let the scheduler decide on all that is due, on time; or as one that is up only since now."""
    lease = leases.acquire(db, "me", "here", timedelta(seconds=8), is_dead=lambda _: True)
    assert lease is not None
    watch = Watch()
    watch.begin(db.now(), down_since, timedelta(0))
    if down_since is None:
        watch.since = db.now() - HOUR
    dispatch_due(db, lease, watch)


def told(db: Database, name: str = "report", at: datetime | None = None) -> str:
    story = why.about_job(db, name) if at is None else why.about_instant(db, name, at)
    return " ".join(story.sentences)


def window(policy: BlackoutPolicy = BlackoutPolicy.HOLD, start: float = 0, hours: float = 3) -> BlackoutSpec:
    return BlackoutSpec("inventory", START + start * HOUR, START + (start + hours) * HOUR, policy=policy)


def test_a_missed_tick_says_from_when_to_when_nothing_was_up(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY))
    down = clock.now() + timedelta(minutes=30)
    clock.advance(5.5 * 3600)
    tick(db, down_since=down)
    said = told(db, at=START + 2 * HOUR)
    assert "4 ticks, up to" in said
    assert f"no scheduler was up from {down.isoformat().replace('+00:00', 'Z')}" in said
    assert f"until {clock.now().isoformat().replace('+00:00', 'Z')}" in said


def test_a_tick_of_a_pause_says_by_whom_and_why(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY))
    jobs.pause(db, ["report"], by="ann@db1", reason="disk full")
    clock.advance(3600)
    tick(db)
    assert "was skipped: the job was paused (by ann@db1: disk full)" in told(db, at=START + HOUR)


def test_an_overlapping_tick_names_the_run_it_would_have_overlapped(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY))
    running = add_dispatch(db, jobs.get_job(db, "report"), Status.IN_PROGRESS)
    clock.advance(3600)
    tick(db)
    assert f"its runs do not overlap (run {running} was still running)" in told(db, at=START + HOUR)


def test_a_full_queue_says_how_many_waited(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY, overlap=Overlap.QUEUE, queue_limit=2))
    job = jobs.get_job(db, "report")
    for status in (Status.IN_PROGRESS, Status.PENDING, Status.PENDING):
        add_dispatch(db, job, status)
    clock.advance(3600)
    tick(db)
    assert "2 runs were waiting, and queue_limit is 2" in told(db, at=START + HOUR)


def test_a_held_tick_waits_and_later_ones_say_which_runs_for_them(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY), blackouts=(window(start=0.5),))
    clock.advance(3600)
    tick(db)
    held = why.about_instant(db, "report", START + HOUR)
    assert held.outcome == Status.PENDING
    [run] = held.runs
    assert run.available_at == START + 3.5 * HOUR
    assert 'waits for the end of a blackout (held by blackout "inventory" until' in " ".join(held.sentences)
    clock.advance(3600)
    tick(db)
    assert f"run {run.id} starts then for all that the blackout holds" in told(db, at=START + 2 * HOUR)
    assert jobs.get_job(db, "report").next_run == START + 3 * HOUR


def test_a_blackout_that_skips_says_which_and_until_when(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY), blackouts=(window(BlackoutPolicy.SKIP, start=0.5),))
    assert 'skipped by blackout "inventory"' in told(db, at=START + HOUR)
    clock.advance(3600)
    tick(db)
    assert 'a blackout covered it (blackout "inventory" until ' in told(db, at=START + HOUR)


@pytest.mark.parametrize("policy", BlackoutPolicy)
def test_the_next_tick_is_told_with_its_blackout(db: Database, policy: BlackoutPolicy) -> None:
    sync(db, job_spec("report", schedule=HOURLY), blackouts=(window(policy, start=0.5),))
    [first, *_, last] = next_ticks(db, ["report"], after=START, count=5)
    assert 'blackout "inventory"' in first.note
    assert first.starts == (None if policy is BlackoutPolicy.SKIP else START + 3.5 * HOUR)
    assert (last.note, last.starts) == ("", last.at)


def test_a_tick_the_calendar_leaves_out_is_told_before_and_after(db: Database, clock: FakeClock) -> None:
    day_off = NamedCalendar("closed", days=((START + timedelta(days=1)).date().isoformat(),))
    schedule = ScheduleSpec(cron="0 23 * * *", use_calendar=day_off)
    sync(db, job_spec("report", schedule=schedule))
    dropped = (START + timedelta(days=1)).replace(hour=23, minute=0, second=0, microsecond=0)
    before = why.about_instant(db, "report", dropped)
    assert before.outcome == "not_yet"
    assert "What it has then will be skipped: the job's calendar leaves that day out." in before.sentences
    while clock.now() < dropped:
        clock.set(jobs.get_job(db, "report").next_run or dropped)
        tick(db)
    after = why.about_instant(db, "report", dropped)
    assert after.outcome == Status.SKIPPED
    assert "the job's calendar leaves that day out" in " ".join(after.sentences)


def test_a_moved_tick_is_marked_in_next_on_the_run_and_in_its_story(db: Database, clock: FakeClock) -> None:
    gap = datetime(2027, 3, 28, 1, tzinfo=UTC)
    clock.set(gap - HOUR)
    sync(db, job_spec("report", schedule=ScheduleSpec(cron="30 2 * * *", timezone=BERLIN)))
    [to_come] = next_ticks(db, ["report"], after=clock.now(), count=1)
    assert to_come.at == gap
    assert to_come.note.startswith("moved")
    clock.set(gap)
    tick(db)
    story = why.about_instant(db, "report", gap)
    assert story.runs[0].note == to_come.note
    assert f"What is special about it: {to_come.note}." in story.sentences


def test_a_tick_moved_to_a_business_day_says_from_which_day(db: Database) -> None:
    free = NamedCalendar("closed", weekdays=("SAT", "SUN"))
    schedule = ScheduleSpec(cron="0 9 * * SAT", use_calendar=free, calendar_rule=CalendarRule.NEXT_BUSINESS_DAY)
    sync(db, job_spec("report", schedule=schedule))
    [to_come] = next_ticks(db, ["report"], after=START, count=1)
    assert to_come.at.strftime("%a") == "Mon"
    assert 'calendar "closed"' in to_come.note


def test_a_tick_in_a_gap_that_is_skipped_is_foretold(db: Database, clock: FakeClock) -> None:
    gap = datetime(2027, 3, 28, 1, tzinfo=UTC)
    clock.set(gap - 2 * HOUR)
    sync(db, job_spec("report", schedule=ScheduleSpec(cron="30 2 * * *", timezone=BERLIN, dst=Dst.SKIP)))
    assert jobs.get_job(db, "report").next_run == gap
    said = told(db)
    assert 'its local time did not exist that day, and the job says dst = "skip"' in said
    assert "The next tick is 2027-03-29T00:30:00Z: it will run" in said


def test_a_run_that_waits_for_a_pool_names_who_has_its_places(db: Database) -> None:
    sync(db, job_spec("report", pool="tapes"), job_spec("other", pool="tapes"), pools=(PoolSpec("tapes", 1),))
    running = add_dispatch(db, jobs.get_job(db, "other"), Status.IN_PROGRESS)
    add_dispatch(db, jobs.get_job(db, "report"))
    assert f'waits for a place of the pool "tapes": its one place is taken by run {running}' in told(db)


def test_a_run_that_waits_for_workers_says_what_stands_before_it(db: Database) -> None:
    here = {"boot_id": procs.boot_id(), "pid_namespace": procs.pid_namespace()}
    add_worker(db, process_id=os.getpid(), process_started=procs.start_time(os.getpid()), current_job_id=1, **here)
    sync(db, job_spec("report"), job_spec("other"))
    add_dispatch(db, jobs.get_job(db, "other"), available_at=START - HOUR)
    add_dispatch(db, jobs.get_job(db, "report"))
    assert "1 of the 1 that serve it are busy; 1 waiting run stands before it" in told(db)


def test_jitter_is_told_before_and_while_it_is_waited_for(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY, jitter=timedelta(minutes=10)))
    [to_come] = next_ticks(db, ["report"], after=START, count=1)
    assert to_come.at == START + HOUR
    assert to_come.starts is not None
    assert to_come.at < to_come.starts <= to_come.at + timedelta(minutes=10)
    clock.advance(3600)
    tick(db)
    story = why.about_instant(db, "report", START + HOUR)
    assert story.runs[0].available_at == to_come.starts
    assert "waits for its jitter" in " ".join(story.sentences)


def test_dependents_and_their_parents_name_each_other(db: Database) -> None:
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",)))
    assert told(db) == "It has not run yet. It starts when load has completed."
    parent = add_dispatch(db, jobs.get_job(db, "load"))
    dispatches.cancel(db, parent, "ann")
    assert "has not run yet" in told(db)
    sync(db, job_spec("load"), job_spec("report", depends_on=("load",), depends_when=DependsWhen.ANY))
    second = add_dispatch(db, jobs.get_job(db, "load"))
    dispatches.cancel(db, second, "ann")
    assert f"was started by the end of run {second}" in told(db)
    assert "of report." in told(db, "load")


def test_a_job_that_waits_for_several_says_which_have_ended(db: Database) -> None:
    specs = [job_spec("a"), job_spec("b"), job_spec("report", depends_on=("a", "b"), depends_when=DependsWhen.ANY)]
    sync(db, *specs)
    ended = add_dispatch(db, jobs.get_job(db, "a"))
    dispatches.cancel(db, ended, "ann")
    said = told(db)
    assert "when a and b have ended" in said
    assert f"Of a run {ended} has ended so; it waits for the others." in said
    either = job_spec("report", depends_on=("a", "b"), depends_mode=DependsMode.ANY)
    sync(db, specs[0], specs[1], either)
    assert "when a or b has completed" in told(db)


def test_a_missed_tick_that_was_filled_in_names_that_run(db: Database, clock: FakeClock) -> None:
    sync(db, job_spec("report", schedule=HOURLY))
    clock.advance(3.5 * 3600)
    tick(db, down_since=START)
    found = backfill.survey(db, "report", START, None, limit=10)
    ids = backfill.fill(db, found, by="ann@db1", max_parallel=1)
    said = told(db, at=START + HOUR)
    assert f"filled in afterwards, as run {ids[found.ticks.index(START + HOUR)]}, which is PENDING" in said
    assert "was filled in for the tick of" in " ".join(why.about_run(db, ids[0]).sentences)


def test_an_instant_that_is_no_tick_says_which_are_around_it(db: Database) -> None:
    sync(db, job_spec("report", schedule=HOURLY))
    story = why.about_instant(db, "report", START + timedelta(minutes=90))
    assert story.outcome == "not_due"
    assert "By its schedule of today it is not due then." in story.sentences
    assert Reason.MISSED not in story.outcome


def test_a_tick_far_ahead_says_what_will_become_of_it(db: Database) -> None:
    sync(db, job_spec("report", schedule=HOURLY), blackouts=(window(start=9.5, hours=1),))
    assert "It will run." in told(db, at=START + 5 * HOUR)
    held = told(db, at=START + 10 * HOUR)
    assert "It will run, from " in held
    assert 'held by blackout "inventory"' in held


def test_a_tick_on_each_host_is_told_host_by_host(db: Database, clock: FakeClock) -> None:
    add_worker(db, "worker-1", node="db1")
    add_worker(db, "worker-2", node="db2")
    sync(db, job_spec("report", schedule=HOURLY, on=On.EACH))
    clock.advance(3600)
    tick(db)
    claimed = rounds.exchange(db, rounds.Worker("worker-2", "db2"), rounds.Round(claim=1)).claims
    result = RunResult(claimed[0].dispatch_id, Status.FAILED, Reason.EXIT_CODE, db.now(), db.now(), exit_code=3)
    rounds.exchange(db, rounds.Worker("worker-2", "db2"), rounds.Round(results=[result]))
    for said in (told(db), told(db, at=START + HOUR)):
        assert "was due on 2 hosts, in a run for each." in said
        assert "On db1 run 1 waits for a worker: no worker is running." in said
        assert "On db2 run 2 failed after 0.0 s on worker-2 at db2: exit code 3." in said
        assert "On db2 run 3 (attempt 2) waits for its retry delay" in said
    assert why.about_job(db, "report").outcome == Status.PENDING
    assert "Run 2 is the tick of" in " ".join(why.about_run(db, claimed[0].dispatch_id).sentences)


def test_a_run_that_passed_its_deadline_names_the_timeout_once(db: Database) -> None:
    sync(db, job_spec("report"))
    job = jobs.get_job(db, "report")
    add_dispatch(db, job, Status.TIMEOUT, error_message="ran longer than its timeout of 2s")
    assert "it ran longer than its timeout of 2s" in told(db)
    assert told(db).count("longer than its timeout") == 1
