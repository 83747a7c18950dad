"""When the ticks that run start: jitter, blackouts that hold, blackouts that skip, and the marks they leave."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    CatchUp,
    DueJob,
    JobKind,
    JobSpec,
    Reason,
    ScheduleSpec,
    Skip,
    TickPlan,
    TickRules,
)
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.jitter import jitter_of
from jobsup.scheduler.planner import plan

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVERY_MINUTE = ScheduleSpec(every=timedelta(minutes=1), anchor=NOON)
EVERY_SECOND = ScheduleSpec(every=timedelta(seconds=1), anchor=NOON)
NIGHTLY = ScheduleSpec(cron="0 22 * * *")


def after(seconds: float, since: datetime = NOON) -> datetime:
    return since + timedelta(seconds=seconds)


def window(first: datetime, last: datetime, policy: BlackoutPolicy = BlackoutPolicy.HOLD) -> BlackoutSpec:
    return BlackoutSpec("inventory", first, last, policy=policy)


def decide(
    *blackouts: BlackoutSpec,
    schedule: ScheduleSpec = EVERY_MINUTE,
    next_run: datetime = NOON,
    now: datetime,
    watched_since: datetime = NOON - 24 * HOUR,
    **spec: Any,
) -> TickPlan:
    rules = TickRules.of(JobSpec("job", JobKind.COMMAND, schedule=schedule, **spec))
    job = DueJob(1, "job", rules, next_run, blackouts)
    return plan(job, compile_schedule(schedule), now=now, watched_since=watched_since)


def told(decided: TickPlan) -> list[tuple[datetime, datetime, int, Reason]]:
    return [(skip.first, skip.last, skip.count, skip.reason) for skip in decided.skips]


def test_a_tick_in_a_window_that_holds_starts_at_its_end() -> None:
    decided = decide(window(after(-60), after(600)), now=after(0.1))
    assert decided.runs == (NOON,)
    assert decided.starts == {NOON: after(600)}
    assert decided.held == {NOON}
    assert decided.notes == {NOON: 'held by blackout "inventory" until 2030-01-01T12:10:00Z'}
    assert decided.next_run == after(60)


def test_a_tick_at_the_very_end_of_a_window_is_free_and_one_at_its_begin_is_not() -> None:
    assert decide(window(after(-60), NOON), now=after(0.1)).starts == {}
    assert decide(window(NOON, after(60)), now=after(0.1)).starts == {NOON: after(60)}


def test_several_held_ticks_become_one_run_and_the_others_say_so() -> None:
    decided = decide(window(after(-60), after(600)), now=after(3.5), schedule=EVERY_SECOND)
    assert decided.runs == (NOON,)
    assert told(decided) == [(after(1), after(3), 3, Reason.BLACKOUT)]
    assert decided.skips[0].text is not None
    assert "the tick of 2030-01-01T12:00:00Z runs for all it held" in decided.skips[0].text


def test_windows_that_touch_hold_until_the_last_ends() -> None:
    decided = decide(window(after(-60), after(60)), window(after(60), after(120)), now=after(0.1))
    assert decided.starts == {NOON: after(120)}


def test_ticks_in_a_window_that_skips_are_told_as_a_range() -> None:
    blackout = window(after(60), after(180), BlackoutPolicy.SKIP)
    decided = decide(blackout, now=after(241))
    assert decided.runs == (NOON, after(180), after(240))
    [skip] = decided.skips
    assert skip == Skip(
        after(60), after(120), 2, Reason.BLACKOUT, text='blackout "inventory" until 2030-01-01T12:03:00Z'
    )


def test_missed_ticks_of_a_window_that_skips_are_neither_missed_nor_caught_up() -> None:
    blackout = window(after(120), after(400), BlackoutPolicy.SKIP)
    decided = decide(blackout, now=after(301), watched_since=after(301), catch_up=CatchUp.LATEST)
    assert decided.runs == (), "what is caught up would start within the window"
    assert sum(count for _, _, count, reason in told(decided) if reason is Reason.BLACKOUT) == 5
    assert sum(skip.count for skip in decided.skips) == 6


def test_the_latest_missed_tick_waits_for_the_end_of_a_window_that_holds_now() -> None:
    decided = decide(window(after(290), after(900)), now=after(301), watched_since=after(301))
    assert decided.runs == (after(300),)
    assert decided.starts == {after(300): after(900)}
    assert [skip.reason for skip in decided.skips] == [Reason.MISSED]


def test_a_tick_missed_in_a_window_that_is_over_starts_at_once() -> None:
    decided = decide(window(after(-60), after(200)), now=after(121 + 100), watched_since=after(220))
    assert decided.runs == (after(180),)
    assert decided.starts == {}


def test_nightly_windows_over_days_of_down_time_are_counted_exactly() -> None:
    nights = BlackoutSpec("night", schedule=NIGHTLY, duration=8 * HOUR, policy=BlackoutPolicy.SKIP)
    now = NOON + 72 * HOUR
    schedule = ScheduleSpec(every=HOUR, anchor=NOON)
    decided = decide(nights, schedule=schedule, now=now, watched_since=now, catch_up=CatchUp.NONE)
    counts = dict.fromkeys((Reason.BLACKOUT, Reason.MISSED), 0)
    for skip in decided.skips:
        counts[skip.reason] += skip.count
    assert counts == {Reason.BLACKOUT: 3 * 8, Reason.MISSED: 73 - 3 * 8 - 1}
    assert decided.runs == (now,), "the tick of the first moment of the watch is on time"


def test_five_years_of_seconds_under_nightly_windows_are_planned_in_no_time() -> None:
    nights = BlackoutSpec("night", schedule=NIGHTLY, duration=8 * HOUR, policy=BlackoutPolicy.SKIP)
    hold = BlackoutSpec("noon", schedule=ScheduleSpec(cron="0 12 * * *"), duration=HOUR)
    now = NOON + timedelta(days=5 * 365)
    begin = time.perf_counter()
    decided = decide(nights, hold, schedule=EVERY_SECOND, now=now, watched_since=now, catch_up=CatchUp.ALL)
    assert time.perf_counter() - begin < 1.5
    assert len(decided.runs) + sum(skip.count for skip in decided.skips) == 5 * 365 * 86_400 + 1


def test_jitter_delays_the_start_and_not_the_tick() -> None:
    decided = decide(now=after(0.1), jitter=timedelta(minutes=30))
    delay = jitter_of("job", NOON, timedelta(minutes=30))
    assert decided.runs == (NOON,)
    assert decided.starts == {NOON: NOON + delay}
    assert timedelta(0) < delay <= timedelta(minutes=30)
    assert decided == decide(now=after(0.4), jitter=timedelta(minutes=30)), "the same for one tick, whoever asks"


def test_jitter_that_is_over_already_delays_nothing() -> None:
    decided = decide(now=after(3600), watched_since=after(3600), jitter=timedelta(seconds=30), schedule=NIGHTLY)
    assert decided.starts == {}


def test_a_start_that_jitter_moves_into_a_window_is_held_by_it() -> None:
    delay = jitter_of("job", NOON, timedelta(minutes=30))
    decided = decide(window(NOON + delay, NOON + HOUR), now=after(0.1), jitter=timedelta(minutes=30))
    assert decided.starts == {NOON: NOON + HOUR}


@pytest.mark.parametrize("policy", BlackoutPolicy)
@pytest.mark.parametrize("catch_up", CatchUp)
def test_every_tick_is_run_or_counted_once_whatever_the_windows(policy: BlackoutPolicy, catch_up: CatchUp) -> None:
    windows = [
        BlackoutSpec(f"w{minute}", after(60 * minute), after(60 * minute + length), policy=policy)
        for minute, length in ((3, 100), (4, 10), (10, 400), (28, 90))
    ]
    now = after(1800)
    decided = decide(
        *windows, now=now, watched_since=after(900), catch_up=catch_up, catch_up_limit=4, schedule=EVERY_SECOND
    )
    assert len(set(decided.runs)) == len(decided.runs)
    assert len(decided.runs) + sum(skip.count for skip in decided.skips) == 1801
    assert all(start > now for start in decided.starts.values())


def test_a_tick_that_a_clock_change_moved_carries_the_mark() -> None:
    gap = datetime(2030, 3, 10, 7, tzinfo=UTC)
    schedule = ScheduleSpec(cron="30 2 * * *", timezone="America/New_York")
    decided = decide(schedule=schedule, next_run=gap, now=after(0.1, gap))
    assert decided.notes[gap].startswith("moved")
    held = decide(window(gap, gap + HOUR), schedule=schedule, next_run=gap, now=after(0.1, gap))
    assert held.notes[gap].startswith("moved")
    assert "; held by" in held.notes[gap]


def test_a_plan_names_the_rules_its_next_tick_rests_on() -> None:
    local = ScheduleSpec(cron="30 2 * * *", timezone="America/New_York")
    rules = decide(schedule=local, now=after(0.1), next_run=NOON).zone_fingerprint
    assert rules is not None
    assert rules.startswith("America/New_York@2030=")
    assert decide(now=after(0.1)).zone_fingerprint is None
