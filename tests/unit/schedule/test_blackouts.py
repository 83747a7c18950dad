"""Blackout windows and jitter: which ticks wait or do not run, until when, and by how much each is delayed."""

import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from jobsup.model import BlackoutPolicy, BlackoutSpec, JobKind, JobSpec, ScheduleSpec
from jobsup.schedule import Schedule
from jobsup.schedule.blackouts import blackout_at, covers, ends, window_over, windows_between
from jobsup.schedule.held import HeldSchedule
from jobsup.schedule.jitter import jitter_of
from tests.support.schedules import backward, counted, forward, instant, schedule

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NIGHT = BlackoutSpec("night", schedule=ScheduleSpec(cron="0 1 * * *", timezone="Europe/Berlin"), duration=2 * HOUR)
MOVE = BlackoutSpec("move", start=instant("2026-05-04T02:30Z"), end=instant("2026-05-04T06:00Z"))
JOB = JobSpec("db-backup", JobKind.COMMAND, tags=("nightly",), queue="slow")


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-05-03T22:59:59Z", None),
        ("2026-05-03T23:00:00Z", "2026-05-04T01:00Z"),
        ("2026-05-04T00:59:59Z", "2026-05-04T01:00Z"),
        ("2026-05-04T01:00:00Z", None),
        ("2026-05-04T02:29:59.999999Z", None),
        ("2026-05-04T02:30:00Z", "2026-05-04T06:00Z"),
        ("2026-05-04T06:00:00Z", None),
    ],
)
def test_a_window_holds_from_its_start_until_its_end(at: str, until: str | None) -> None:
    window = blackout_at([NIGHT, MOVE], JOB, instant(at))
    assert (window.end if window else None) == (instant(until) if until else None)


def test_windows_without_a_break_between_them_end_with_the_last() -> None:
    next_ = BlackoutSpec("next", start=instant("2026-05-04T06:00Z"), end=instant("2026-05-04T07:00Z"))
    skips = BlackoutSpec(
        "late", start=instant("2026-05-04T06:30Z"), end=instant("2026-05-04T09:00Z"), policy=BlackoutPolicy.SKIP
    )
    window = blackout_at([skips, next_, MOVE], JOB, instant("2026-05-04T03:00Z"))
    assert window is not None
    assert (window.name, window.policy, window.end) == ("move", BlackoutPolicy.HOLD, instant("2026-05-04T09:00Z"))
    both = blackout_at([next_, skips], JOB, instant("2026-05-04T06:45Z"))
    assert both is not None
    assert (both.name, both.policy) == ("late", BlackoutPolicy.SKIP)


@pytest.mark.parametrize(
    ("lists", "is_covered"),
    [
        ({}, True),
        ({"jobs": ("db-*",)}, True),
        ({"jobs": ("DB-*",)}, False),
        ({"jobs": ("web-*", "*-backup")}, True),
        ({"tags": ("hourly",)}, False),
        ({"tags": ("hourly", "nightly")}, True),
        ({"queues": ("slow",)}, True),
        ({"queues": ("fast",)}, False),
        ({"jobs": ("web-*",), "queues": ("slow",)}, True),
    ],
)
def test_a_blackout_covers_the_jobs_that_one_of_its_lists_names(
    lists: dict[str, tuple[str, ...]], is_covered: bool
) -> None:
    blackout = BlackoutSpec("b", start=MOVE.start, end=MOVE.end, **lists)
    assert covers(blackout, JOB) is is_covered
    assert (blackout_at([blackout], JOB, instant("2026-05-04T03:00Z")) is not None) is is_covered


def test_a_window_that_opens_before_the_last_has_closed_never_ends() -> None:
    always = BlackoutSpec("a", schedule=ScheduleSpec(cron="0 * * * *"), duration=HOUR)
    assert not ends(always, instant("2026-05-04T03:00Z"))
    assert ends(NIGHT, instant("2026-05-03T23:30Z"))
    window = blackout_at([always], JOB, instant("2026-05-04T03:00Z"))
    assert window is not None
    assert window.end > instant("2026-05-04T03:00Z")


def test_windows_of_a_time_are_listed() -> None:
    listed = [*windows_between(NIGHT, instant("2026-03-27T00:00Z"), instant("2026-03-30T00:00Z"))]
    assert [window.start for window in listed] == [
        instant(f"2026-03-{day}Z") for day in ("28T00:00", "29T00:00", "29T23:00")
    ]
    assert [each.name for each in windows_between(MOVE, instant("2026-05-01T00:00Z"), instant("2026-06-01T00:00Z"))]


def test_jitter_is_the_same_everywhere_and_another_for_each_job_and_tick() -> None:
    tick, most = instant("2026-05-04T03:00Z"), timedelta(seconds=30)
    mine = jitter_of("backup", tick, most)
    program = (
        "from datetime import *; from jobsup.schedule.jitter import jitter_of;"
        "print(jitter_of('backup', datetime.fromisoformat('2026-05-04T05:00+02:00'), timedelta(seconds=30)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(mine)
    assert len({jitter_of("backup", tick + n * HOUR, most) for n in range(500)}) > 490
    assert len({jitter_of(str(n), tick, most) for n in range(500)}) > 490


def test_jitter_is_spread_evenly_from_nothing_to_its_whole() -> None:
    tick = instant("2026-05-04T03:00Z")
    found = [jitter_of(str(n), tick, timedelta(seconds=10)) for n in range(2000)]
    assert all(timedelta(0) <= each <= timedelta(seconds=10) for each in found)
    for second in range(10):
        share = sum(timedelta(seconds=second) <= each < timedelta(seconds=second + 1) for each in found)
        assert 120 < share < 280
    microsecond = timedelta(microseconds=1)
    assert {jitter_of(str(n), tick, microsecond) for n in range(64)} == {timedelta(0), microsecond}
    assert jitter_of("a", tick, timedelta(0)) == timedelta(0)


def plain_starts(made: Schedule, blackouts: list[BlackoutSpec], start: datetime, end: datetime) -> list[datetime]:
    """Say when runs start, tick by tick."""
    found: set[datetime] = set()
    for tick in forward(made, start - 3 * DAY, end):
        window = window_over(blackouts, tick)
        if window is None:
            found.add(tick)
        elif window.policy is BlackoutPolicy.HOLD:
            found.add(window.end)
    return sorted(each for each in found if start <= each < end)


@pytest.mark.parametrize("policy", list(BlackoutPolicy))
@pytest.mark.parametrize(
    "made",
    [
        schedule(cron="*/7 * * * *"),
        schedule(cron="0 * * * *"),
        schedule(cron="30 22 * * *"),
        schedule(cron="0 6 * * 1"),
        schedule(every=timedelta(seconds=90)),
    ],
)
def test_a_held_schedule_starts_where_its_blackouts_let_it(made: Schedule, policy: BlackoutPolicy) -> None:
    blackouts = [
        BlackoutSpec("night", schedule=ScheduleSpec(cron="0 22 * * *"), duration=timedelta(hours=8), policy=policy),
        BlackoutSpec("touching", schedule=ScheduleSpec(cron="0 6 * * 1"), duration=timedelta(hours=1), policy=policy),
        BlackoutSpec("once", start=instant("2026-05-06T10:07Z"), end=instant("2026-05-06T11:00:30Z"), policy=policy),
    ]
    held = HeldSchedule(made, blackouts)
    start, end = instant("2026-05-03T12:00Z"), instant("2026-05-09T03:00Z")
    wanted = plain_starts(made, blackouts, start, end)
    assert forward(held, start, end) == wanted
    assert backward(held, start, end) == wanted
    assert counted(held, start, end) == len(wanted)
    middle = start + timedelta(hours=53)
    assert counted(held, start, middle) + counted(held, middle, end) == len(wanted)
