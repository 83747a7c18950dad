"""What becomes of ticks: on time, late, missed, paused, in a gap, and too many."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobsup.model import (
    CalendarSpec,
    CatchUp,
    Dst,
    DueJob,
    JobKind,
    JobSpec,
    NamedCalendar,
    Reason,
    ScheduleSpec,
    Skip,
    TickPlan,
    TickRules,
)
from jobsup.schedule import compile as compile_schedule
from jobsup.scheduler.planner import plan

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
EVERY_MINUTE = ScheduleSpec(every=timedelta(minutes=1))
EVERY_SECOND = ScheduleSpec(every=timedelta(seconds=1))


def after(seconds: float, since: datetime = NOON) -> datetime:
    return since + timedelta(seconds=seconds)


def decide(
    schedule: ScheduleSpec = EVERY_MINUTE,
    *,
    next_run: datetime = NOON,
    now: datetime,
    watched_since: datetime = NOON - timedelta(days=1),
    **overrides: Any,
) -> TickPlan:
    policies = ("catch_up", "catch_up_limit", "misfire_grace", "jitter", "name", "overlap")
    said = {key: overrides.pop(key) for key in policies if key in overrides}
    spec = JobSpec(**{"name": "job", "kind": JobKind.COMMAND, "schedule": schedule, **said})
    watch = {key: overrides.pop(key) for key in ("down_since",) if key in overrides}
    job = DueJob(1, spec.name, TickRules.of(spec), next_run, **overrides)
    return plan(job, compile_schedule(schedule), now=now, watched_since=watched_since, **watch)


def counts(decided: TickPlan) -> dict[Reason, int]:
    found: dict[Reason, int] = {}
    for skip in decided.skips:
        found[skip.reason] = found.get(skip.reason, 0) + skip.count
    return found


@pytest.mark.parametrize("catch_up", CatchUp)
@pytest.mark.parametrize("late_seconds", [0, 0.3, 3])
def test_a_tick_that_a_watching_scheduler_is_late_for_runs_whatever_the_catch_up(
    catch_up: CatchUp, late_seconds: float
) -> None:
    decided = decide(now=after(late_seconds), catch_up=catch_up)
    assert decided == TickPlan(1, NOON, after(60), runs=(NOON,))


def test_all_ticks_of_a_short_stall_run_because_the_scheduler_was_there() -> None:
    decided = decide(EVERY_SECOND, now=after(3.5), catch_up=CatchUp.NONE)
    assert decided.runs == (NOON, after(1), after(2), after(3))
    assert not decided.skips
    assert decided.next_run == after(4)


def test_a_tick_at_the_very_begin_of_the_watch_is_on_time_and_the_one_before_it_missed() -> None:
    decided = decide(now=after(61), watched_since=after(60), catch_up=CatchUp.NONE)
    assert decided.runs == (after(60),)
    assert decided.skips == (Skip(NOON, NOON, 1, Reason.MISSED, text="no scheduler was up until 2030-01-01T12:01:00Z"),)


THREE_DAYS = 3 * 24 * 3600


@pytest.mark.parametrize(
    ("catch_up", "runs", "skipped"),
    [
        (CatchUp.NONE, 0, {Reason.MISSED: THREE_DAYS}),
        (CatchUp.LATEST, 1, {Reason.MISSED: THREE_DAYS - 1}),
        (CatchUp.ALL, 100, {Reason.CATCH_UP_LIMIT: THREE_DAYS - 100}),
    ],
)
def test_three_days_down_with_a_tick_a_second_are_counted_exactly(
    catch_up: CatchUp, runs: int, skipped: dict[Reason, int]
) -> None:
    up_at = after(THREE_DAYS - 0.5)
    decided = decide(EVERY_SECOND, now=up_at, watched_since=up_at, catch_up=catch_up)
    assert len(decided.runs) == runs
    assert decided.runs == tuple(after(THREE_DAYS - runs + n) for n in range(runs))
    assert counts(decided) == skipped
    assert decided.next_run == after(THREE_DAYS)


def test_catch_up_all_runs_every_missed_tick_within_its_limit() -> None:
    decided = decide(now=after(301), watched_since=after(301), catch_up=CatchUp.ALL)
    assert decided.runs == tuple(after(60 * n) for n in range(6))
    assert not decided.skips


def test_skipped_ranges_name_their_first_and_last_tick() -> None:
    decided = decide(now=after(301), watched_since=after(301), catch_up=CatchUp.LATEST)
    assert decided.runs == (after(300),)
    [skip] = decided.skips
    assert (skip.first, skip.last, skip.count, skip.reason) == (NOON, after(240), 5, Reason.MISSED)


def test_five_years_of_a_tick_a_second_are_planned_in_no_time() -> None:
    now = NOON + timedelta(days=5 * 365)
    begin = time.perf_counter()
    decided = decide(ScheduleSpec(cron="* * * * * *"), now=now, watched_since=now, catch_up=CatchUp.ALL)
    assert time.perf_counter() - begin < 0.5
    assert len(decided.runs) + sum(counts(decided).values()) == 5 * 365 * 86_400 + 1


@pytest.mark.parametrize(
    ("catch_up", "runs", "skipped"),
    [
        (CatchUp.NONE, [], {Reason.MISSED: 6}),
        (CatchUp.LATEST, [300], {Reason.MISSED: 5}),
        (CatchUp.ALL, [240, 300], {Reason.MISFIRE_GRACE: 4}),
    ],
)
def test_misfire_grace_bounds_how_late_a_missed_tick_may_run(
    catch_up: CatchUp, runs: list[int], skipped: dict[Reason, int]
) -> None:
    decided = decide(now=after(301), watched_since=after(301), catch_up=catch_up, misfire_grace=timedelta(seconds=90))
    assert decided.runs == tuple(map(after, runs))
    assert counts(decided) == skipped


def test_the_latest_missed_tick_does_not_run_past_its_misfire_grace() -> None:
    decided = decide(now=after(330), watched_since=after(330), misfire_grace=timedelta(seconds=20))
    assert decided.runs == ()
    assert counts(decided) == {Reason.MISSED: 5, Reason.MISFIRE_GRACE: 1}


def test_misfire_grace_holds_for_a_late_loop_too() -> None:
    decided = decide(EVERY_SECOND, now=after(3.5), misfire_grace=timedelta(seconds=2))
    assert decided.runs == (after(2), after(3))
    assert decided.skips == (Skip(NOON, after(1), 2, Reason.MISFIRE_GRACE),)


def test_nothing_of_a_paused_job_starts() -> None:
    decided = decide(now=after(121), paused_at=after(60))
    assert decided.runs == ()
    assert decided.skips == (Skip(NOON, after(120), 3, Reason.PAUSED),)
    assert decided.next_run == after(180)


def test_skipped_ticks_keep_who_paused_the_job_and_why() -> None:
    [skip] = decide(now=after(1), paused_at=after(-60), paused_by="ann@db1", paused_reason="disk full").skips
    assert skip.text == "by ann@db1: disk full"


def test_a_pause_that_is_over_has_skipped_its_own_ticks_only() -> None:
    decided = decide(
        now=after(301), watched_since=after(301), catch_up=CatchUp.ALL, paused_at=after(100), paused_until=after(240)
    )
    assert decided.runs == (NOON, after(60), after(240), after(300))
    assert decided.skips == (Skip(after(120), after(180), 2, Reason.PAUSED),)


def test_the_latest_missed_tick_is_looked_for_on_both_sides_of_a_pause() -> None:
    decided = decide(now=after(239), watched_since=after(239), paused_at=after(100), paused_until=after(238))
    assert decided.runs == (after(60),)
    assert counts(decided) == {Reason.MISSED: 1, Reason.PAUSED: 2}


def test_an_instant_runs_once_and_never_again() -> None:
    decided = decide(ScheduleSpec(at=NOON), now=after(1))
    assert decided == TickPlan(1, NOON, None, runs=(NOON,))


def test_a_clock_set_back_before_the_tick_plans_nothing() -> None:
    assert decide(now=after(-3600)) == TickPlan(1, NOON, NOON)


def test_a_job_that_has_become_manual_is_due_no_more() -> None:
    assert decide(ScheduleSpec(), now=after(1)) == TickPlan(1, NOON, None)


NEW_YORK = "America/New_York"
GAP_END = datetime(2030, 3, 10, 7, tzinfo=UTC)  # 02:00 -> 03:00 local


def test_a_tick_in_a_gap_is_told_as_skipped_at_the_gap_when_dst_says_skip() -> None:
    schedule = ScheduleSpec(cron="30 2 * * *", timezone=NEW_YORK, dst=Dst.SKIP)
    day_before = datetime(2030, 3, 9, 7, 30, tzinfo=UTC)
    decided = decide(schedule, next_run=day_before, now=after(1, day_before), watched_since=day_before)
    assert decided.runs == (day_before,)
    assert decided.next_run == GAP_END

    decided = decide(schedule, next_run=GAP_END, now=after(0.1, GAP_END), watched_since=day_before)
    assert decided.runs == ()
    assert decided.skips == (Skip(GAP_END, GAP_END, 1, Reason.DST_GAP),)
    assert decided.next_run == datetime(2030, 3, 11, 6, 30, tzinfo=UTC)


def test_a_gap_whose_end_is_a_tick_itself_runs_it_instead_of_telling_a_skip() -> None:
    schedule = ScheduleSpec(cron="0,30 2,3 * * *", timezone=NEW_YORK, dst=Dst.SKIP)
    decided = decide(schedule, next_run=GAP_END, now=after(1, GAP_END), watched_since=GAP_END)
    assert decided.runs == (GAP_END,)
    assert not decided.skips


def test_ticks_that_a_calendar_left_out_are_told_at_the_end_of_their_day() -> None:
    weekends = NamedCalendar("weekends", weekdays=("SAT", "SUN"))
    schedule = ScheduleSpec(cron="0 * * * *", use_calendar=weekends)
    friday = datetime(2030, 3, 15, 23, tzinfo=UTC)
    last = {day: datetime(2030, 3, day, 23, tzinfo=UTC) for day in (16, 17)}
    decided = decide(schedule, next_run=friday, now=after(1, friday), watched_since=friday)
    assert (decided.runs, decided.skips, decided.next_run) == ((friday,), (), last[16])

    decided = decide(schedule, next_run=last[16], now=after(1, last[16]), watched_since=friday)
    assert decided.runs == ()
    assert decided.skips == (Skip(after(3600, friday), last[16], 24, Reason.CALENDAR),)
    assert decided.next_run == last[17]

    decided = decide(schedule, next_run=last[17], now=after(1, last[17]), watched_since=friday)
    assert counts(decided) == {Reason.CALENDAR: 24}
    assert decided.next_run == datetime(2030, 3, 18, tzinfo=UTC)


def test_by_default_a_tick_in_a_gap_runs_right_after_it() -> None:
    schedule = ScheduleSpec(cron="30 2 * * *", timezone=NEW_YORK)
    decided = decide(schedule, next_run=GAP_END, now=after(0.1, GAP_END), watched_since=GAP_END)
    assert decided.runs == (GAP_END,)


@pytest.mark.parametrize(
    "schedule",
    [
        ScheduleSpec(cron="*/7 * * * *", timezone=NEW_YORK),
        ScheduleSpec(cron="30 1,2 * * *", timezone=NEW_YORK),
        ScheduleSpec(every=timedelta(minutes=17)),
        ScheduleSpec(calendar=CalendarSpec(days=1, at="02:30:00"), timezone=NEW_YORK),
        ScheduleSpec(on_calendar="*-*-* 02:30:00", timezone=NEW_YORK),
    ],
)
@pytest.mark.parametrize("catch_up", CatchUp)
def test_every_tick_of_a_week_over_a_clock_change_is_run_or_counted_once(
    schedule: ScheduleSpec, catch_up: CatchUp
) -> None:
    compiled = compile_schedule(schedule)
    assert compiled is not None
    begin = datetime(2030, 3, 7, tzinfo=UTC)
    first = compiled.next_after(begin)
    assert first is not None
    now = begin + timedelta(days=7)
    decided = decide(
        schedule, next_run=first, now=now, watched_since=after(-86_400, now), catch_up=catch_up, catch_up_limit=3
    )
    told = sum(skip.count for skip in decided.skips if skip.reason is not Reason.DST_GAP)
    assert len(decided.runs) + told == compiled.count_between(begin, now)
    assert len(set(decided.runs)) == len(decided.runs)
    assert decided.next_run == compiled.next_after(now)
