"""Several schedules of one job: one instant of two is one tick, counted exactly, told once."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobsup.errors import ScheduleError
from jobsup.model import CalendarRule, Dst, NamedCalendar, Reason, ScheduleSpec
from jobsup.schedule import Schedule, describe, upcoming
from jobsup.schedule import compile as compile_schedule
from tests.support.schedules import check_against, forward, instant

DAY = timedelta(days=1)
WEEKENDS = NamedCalendar("weekends", weekdays=("SAT", "SUN"))


def together(*specs: ScheduleSpec) -> Schedule:
    made = compile_schedule(several(*specs))
    assert made is not None
    return made


def several(first: ScheduleSpec, *others: ScheduleSpec) -> ScheduleSpec:
    from dataclasses import replace

    return replace(first, also=others)


def alone(spec: ScheduleSpec) -> Schedule:
    made = compile_schedule(spec)
    assert made is not None
    return made


def test_the_ticks_are_those_of_each_and_none_is_double() -> None:
    rng = random.Random(2)
    for _ in range(40):
        zone = rng.choice(("UTC", "Europe/Berlin", "America/St_Johns"))
        specs = [
            ScheduleSpec(cron=f"*/{rng.randint(5, 30)} {rng.randint(0, 3)}-{rng.randint(4, 23)} * * *", timezone=zone),
            ScheduleSpec(every=timedelta(minutes=rng.randint(7, 90))),
            ScheduleSpec(on_calendar="*-*-* 02:30", timezone=zone),
            ScheduleSpec(at=instant("2026-03-29T01:00Z")),
        ]
        chosen = rng.sample(specs, rng.randint(2, 4))
        start, end = instant("2026-03-27T00:00Z"), instant("2026-04-02T00:00Z")
        wanted = sorted({tick for spec in chosen for tick in forward(alone(spec), start, end)})
        check_against(together(*chosen), wanted, start, end, str(chosen))


def test_a_dense_and_a_sparse_schedule_are_counted_quickly_and_exactly() -> None:
    import time

    made = together(ScheduleSpec(cron="*/2 * * * * *"), ScheduleSpec(cron="1 0 3 * * *"))
    start, end = instant("2020-01-01T00:00Z"), instant("2025-01-01T00:00Z")
    began = time.process_time()
    assert made.count_between(start, end) == int((end - start).total_seconds()) // 2 + (end - start).days
    assert time.process_time() - began < 0.3


def test_a_calendar_takes_ticks_from_each_and_tells_them_as_one_range_a_day() -> None:
    from dataclasses import replace

    specs = [
        replace(ScheduleSpec(cron=text), use_calendar=WEEKENDS)
        for text in ("0 8 * * *", "0 8,20 * * *", "30 9 * * 5,6")
    ]
    made = together(*specs)
    told = made.skipped_between(instant("2026-08-01T00:00Z"), instant("2026-08-03T00:00Z"))
    assert [(each.first.hour, each.last.hour, each.count) for each in told] == [(8, 20, 3), (8, 20, 2)]
    assert told[0].first == instant("2026-08-01T08:00Z")
    assert {each.reason for each in told} == {Reason.CALENDAR}
    moved = [replace(spec, calendar_rule=CalendarRule.NEXT_BUSINESS_DAY) for spec in specs]
    monday = forward(together(*moved), instant("2026-08-01T00:00Z"), instant("2026-08-04T00:00Z"))
    assert [f"{tick:%a %H:%M}" for tick in monday] == ["Mon 08:00", "Mon 09:30", "Mon 20:00"]
    assert "2026-08-01" in (together(*moved).note(monday[1]) or "")


def test_a_gap_that_swallows_ticks_of_two_is_told_once() -> None:
    specs = [ScheduleSpec(cron=text, timezone="Europe/Berlin", dst=Dst.SKIP) for text in ("30 2 * * *", "40 2 * * *")]
    told = together(*specs).skipped_between(instant("2026-03-28T12:00Z"), instant("2026-03-30T00:00Z"))
    assert [each.first for each in told] == [instant("2026-03-29T01:00Z")]


def test_a_part_must_be_a_schedule_of_its_own() -> None:
    daily = ScheduleSpec(cron="@daily")
    for wrong in (ScheduleSpec(), several(daily, daily)):
        with pytest.raises(ScheduleError, match="each of several"):
            together(daily, wrong)


def test_a_job_may_run_at_start_and_by_time() -> None:
    spec = several(ScheduleSpec(cron="@reboot"), ScheduleSpec(cron="0 6 * * *"))
    made = compile_schedule(spec)
    assert made is not None
    assert made.is_reboot
    assert upcoming(spec, datetime(2026, 5, 4, 12, tzinfo=UTC), 1) == [instant("2026-05-05T06:00Z")]
    assert describe(spec) == "when jobsup starts; and at 06:00"


def test_hashed_values_are_spread_in_every_part() -> None:
    spec = several(ScheduleSpec(cron="0 6 * * *"), ScheduleSpec(cron="H H * * *"))
    assert upcoming(spec, instant("2026-05-04T06:00Z"), 1, name="a") != upcoming(
        spec, instant("2026-05-04T06:00Z"), 1, name="b"
    )
