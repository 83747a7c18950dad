"""Intervals, calendar intervals, systemd's expressions, one instant: against plain reckoning."""

import random
import shutil
import subprocess
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobsup.errors import ScheduleError
from jobsup.model import CalendarSpec, Dst, ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule import upcoming
from tests.support.schedules import ODD_ZONES, backward, check_against, counted, forward, instant, refusal, schedule

NOW = datetime(2026, 5, 4, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("seconds", [1, 1.5, 7, 90, 3600, 86_400, 90_061.000001])
def test_every_is_anchor_plus_a_whole_number_of_intervals(seconds: float) -> None:
    every, anchor = timedelta(seconds=seconds), datetime(2026, 1, 1, 0, 0, 0, 123, tzinfo=UTC)
    made = schedule(every=every, anchor=anchor, timezone="Europe/Berlin")
    ticks = upcoming(ScheduleSpec(every=every, anchor=anchor), NOW, 5)
    assert all((tick - anchor) % every == timedelta(0) for tick in ticks)
    assert timedelta(0) < ticks[0] - NOW <= every
    assert made.last_before(ticks[3]) == ticks[3]
    assert made.last_before(ticks[3] - timedelta(microseconds=1)) == ticks[2]
    assert made.count_between(ticks[0], ticks[4]) == 4


def test_every_starts_at_its_anchor_and_not_before() -> None:
    anchor = NOW + DAY
    made = schedule(every=timedelta(hours=1), anchor=anchor)
    assert made.next_after(NOW) == anchor
    assert made.last_before(NOW) is None
    assert made.count_between(NOW, anchor) == 1
    assert made.count_between(NOW - DAY, NOW) == 0


def test_every_counts_from_1970_when_it_has_no_anchor() -> None:
    assert schedule(every=timedelta(days=1)).next_after(NOW) == instant("2026-05-05T00:00Z")


@pytest.mark.parametrize("seconds", [0, -1, 0.5])
def test_an_interval_below_a_second_is_refused(seconds: float) -> None:
    with pytest.raises(ScheduleError, match="1 s or longer"):
        compile_schedule(ScheduleSpec(every=timedelta(seconds=seconds)))


def test_at_fires_once() -> None:
    made = schedule(at=datetime(2026, 5, 4, 14, 0, tzinfo=ZoneInfo("Europe/Berlin")))
    tick = instant("2026-05-04T12:00Z")
    assert made.next_after(tick - timedelta(microseconds=1)) == tick
    assert made.next_after(tick) is None
    assert made.last_before(tick) == tick
    assert made.count_between(tick, tick + DAY) == 0
    assert made.count_between(tick - DAY, tick) == 1


def plain_calendar(spec: CalendarSpec, zone: str, end: datetime) -> list[datetime]:
    """Reckon a calendar interval date by date: a gap ends where the wall clock has passed the time."""
    info, first, at = ZoneInfo(zone), date.fromisoformat(spec.start_date), time.fromisoformat(spec.at)
    ticks, day = [], first
    while (moment := _moment(datetime.combine(day, at), info)) < end:
        months = (day.year - first.year) * 12 + day.month - first.month
        due = (
            (day - first).days % (spec.days or spec.weeks * 7) == 0
            if spec.days or spec.weeks
            else day.day == first.day and months % (spec.months or spec.years * 12) == 0
        )
        if due:
            ticks.append(moment)
        day += DAY
    return ticks


def _moment(wall: datetime, info: ZoneInfo) -> datetime:
    found = wall.replace(tzinfo=info).astimezone(UTC)
    if found.astimezone(info).replace(tzinfo=None) == wall:
        return found
    before = found.replace(second=0) - timedelta(
        hours=3
    )  # the wall time does not exist: walk to where the clock jumps over it
    while before.astimezone(info).replace(tzinfo=None) < wall:
        before += timedelta(minutes=1)
    return before


@pytest.mark.parametrize("zone", [zone for zone in ODD_ZONES if zone not in ("Pacific/Apia", "Pacific/Kwajalein")])
def test_calendar_intervals_agree_with_reckoning_date_by_date(zone: str) -> None:
    rng = random.Random(zone)
    for unit, step in (
        ("days", 1),
        ("days", rng.randint(2, 40)),
        ("weeks", 2),
        ("months", rng.randint(1, 7)),
        ("years", 1),
    ):
        start = date(2004, 1, 1) + timedelta(days=rng.randint(0, 400))
        at = rng.choice(("00:00:00", "00:00:30", "01:30:00", "02:00:00", "02:30:00", "23:30:00"))
        spec = CalendarSpec(**{unit: step}, at=at, start_date=start.isoformat())
        end = datetime(2013, 1, 1, tzinfo=UTC)
        wanted = plain_calendar(spec, zone, end)
        made = schedule(calendar=spec, timezone=zone)
        check_against(made, wanted, datetime(2003, 1, 1, tzinfo=UTC), end, f"{spec} in {zone}")


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (CalendarSpec(months=1, start_date="2027-01-31"), ["2027-01-31", "2027-03-31", "2027-05-31"]),
        (CalendarSpec(months=12, start_date="2028-02-29"), ["2028-02-29", "2032-02-29", "2036-02-29"]),
        (CalendarSpec(years=1, start_date="2096-02-29"), ["2096-02-29", "2104-02-29", "2108-02-29"]),
        (CalendarSpec(weeks=2, start_date="2027-01-01"), ["2027-01-01", "2027-01-15", "2027-01-29"]),
        (CalendarSpec(years=200, start_date="2027-01-01"), ["2027-01-01", "2227-01-01", "2427-01-01"]),
    ],
)
def test_a_date_that_does_not_exist_is_left_out(spec: CalendarSpec, wanted: list[str]) -> None:
    ticks = upcoming(ScheduleSpec(calendar=spec), NOW, 3)
    assert [tick.date().isoformat() for tick in ticks] == wanted


def test_a_calendar_day_that_a_zone_left_out_does_not_run() -> None:
    spec = CalendarSpec(days=1, at="07:30", start_date="2011-12-28")
    ticks = upcoming(ScheduleSpec(calendar=spec, timezone="Pacific/Apia"), instant("2011-12-01T00:00Z"), 3)
    info = ZoneInfo("Pacific/Apia")
    assert [tick.astimezone(info).day for tick in ticks] == [28, 29, 31]


def test_a_calendar_time_in_a_gap_may_be_skipped_and_a_repeated_one_run_twice() -> None:
    spec = CalendarSpec(days=1, at="02:30", start_date="2024-01-01")
    skip = schedule(calendar=spec, timezone="Europe/Berlin", dst=Dst.SKIP)
    skipped = skip.skipped_between(instant("2024-03-30T12:00Z"), instant("2024-04-01T00:00Z"))
    assert [each.first for each in skipped] == [instant("2024-03-31T01:00Z")]
    both = schedule(calendar=spec, timezone="Europe/Berlin", dst=Dst.BOTH)
    assert counted(both, instant("2024-10-27T00:00Z"), instant("2024-10-27T12:00Z")) == 2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (CalendarSpec(), "nothing given"),
        (CalendarSpec(days=1, months=1), "days = 1, months = 1"),
        (CalendarSpec(days=-1), "days = -1"),
        (CalendarSpec(days=1, at="24:00"), "'24:00'"),
        (CalendarSpec(days=1, at="7:30 pm"), "7:30 pm"),
        (CalendarSpec(days=1, start_date="2027-02-30"), "'2027-02-30'"),
        (CalendarSpec(days=1, start_date="20270228"), "'20270228'"),
    ],
)
def test_a_calendar_that_cannot_be_is_refused(spec: CalendarSpec, words: str) -> None:
    with pytest.raises(ScheduleError, match="calendar") as caught:
        compile_schedule(ScheduleSpec(calendar=spec))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("daily", ["05-05 00:00:00", "05-06 00:00:00"]),
        ("Mon..Fri 09:00", ["05-05 09:00:00", "05-06 09:00:00"]),
        ("*-*~01 12:00", ["05-31 12:00:00", "06-30 12:00:00"]),
        ("*-*~5/3 12:00", ["05-27 12:00:00", "05-30 12:00:00"]),
        ("*:0/20", ["05-04 12:20:00", "05-04 12:40:00"]),
        ("*:*:5..5/2", ["05-04 12:00:05", "05-04 12:01:05"]),
        ("09:00 Europe/Berlin", ["05-05 07:00:00", "05-06 07:00:00"]),
        ("09:00 utc", ["05-05 09:00:00", "05-06 09:00:00"]),
        ("bi-annually", ["07-01 00:00:00", "01-01 00:00:00"]),
        ("2027-2..3-29", ["03-29 00:00:00"]),
        ("2003-01-01", []),
    ],
)
def test_systemd_expressions_mean_what_systemd_means(text: str, wanted: list[str]) -> None:
    ticks = upcoming(ScheduleSpec(on_calendar=text), NOW, 2)
    assert [tick.strftime("%m-%d %H:%M:%S") for tick in ticks] == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "wrong number"),
        ("*-2-30", "never elapses"),
        ("25:00", "hour"),
        ("*:0/60", "no second value"),
        ("*-*~7/7", "no second value"),
        ("Fri..Mon", "day-of-week"),
        ("@1234567890", "at ="),
        ("1:2:3.5", "whole seconds"),
        ("09:00 Mars/Base", "unknown"),
        ("daily\nweekly", "one expression"),
        ("x" * 5000, "5000 characters"),
    ],
)
def test_a_systemd_expression_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        compile_schedule(ScheduleSpec(on_calendar=text))
    assert words in str(caught.value)


def test_systemd_expressions_drop_a_gap_and_run_a_repeated_time_once() -> None:
    made = schedule(on_calendar="*-*-* 02:30", timezone="Europe/Berlin")
    assert forward(made, instant("2024-03-30T12:00Z"), instant("2024-03-31T12:00Z")) == []
    autumn = (instant("2024-10-26T12:00Z"), instant("2024-10-27T12:00Z"))
    assert forward(made, *autumn) == backward(made, *autumn) == [instant("2024-10-27T00:30Z")]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_a_sample_of_systemd_expressions_agrees_with_systemd_itself() -> None:
    rng = random.Random(5)
    for _ in range(120):
        text = _systemd_expression(rng)
        base = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randint(0, 3_000_000))
        done = subprocess.run(
            ["systemd-analyze", "calendar", f"--base-time={base:%F %T} UTC", "--iterations=3", f"{text} UTC"],
            capture_output=True,
            text=True,
            check=False,
            env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )
        problem = refusal(ScheduleSpec(on_calendar=text))
        if problem:
            assert done.returncode != 0 or "never" in done.stdout, problem
            continue
        ours = [tick.strftime("%F %T") for tick in upcoming(ScheduleSpec(on_calendar=text), base, 3)]
        if done.returncode == 0:  # it refuses a few lists that its manual allows
            lines = [line for line in done.stdout.splitlines() if "Next elapse" in line or "Iter." in line]
            theirs = [line.split(": ", 1)[1].strip()[4:-4] for line in lines if "never" not in line]
            assert ours == theirs, f"{text} after {base}"


def _systemd_expression(rng: random.Random) -> str:
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    first, last = sorted(rng.sample(range(7), 2))
    weekday = rng.choice(("", "", days[first], f"{days[first]}..{days[last]}", f"{days[first]},{days[last]}"))
    day = rng.choice(("*-*-*", f"*-{_part(rng, 1, 12)}-{_part(rng, 1, 31)}", f"*-*~{_part(rng, 1, 9)}"))
    clock = rng.choice(
        ("02:30", f"{_part(rng, 0, 23)}:{_part(rng, 0, 59)}", f"*:{_part(rng, 0, 59)}:{_part(rng, 0, 59)}")
    )
    return f"{weekday} {day} {clock}".strip()


def _part(rng: random.Random, low: int, high: int) -> str:
    first, last = sorted((rng.randint(low, high), rng.randint(low, high)))
    step = rng.randint(1, 6)
    return (
        rng.choice((str(first), "*", f"{first}/{step}", f"{first}..{last}", f"{first}..{last}/{step}"))
        if low == 0
        else (rng.choice((str(first), f"{first}..{last}", f"{first}..{last}/{step}")))
    )


def test_a_manual_schedule_has_no_schedule() -> None:
    assert compile_schedule(ScheduleSpec()) is None
    assert upcoming(ScheduleSpec(), NOW, 3) == []
