"""What a cron expression may say, what it means, and how it is refused."""

import random
import string
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from jobsup.errors import ScheduleError
from jobsup.model import ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule import upcoming
from tests.support.cronlines import made_up
from tests.support.schedules import forward, instant, schedule

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("", "empty"),
        (" \t ", "empty"),
        ("*", "1 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * 32 * *", "day of month"),
        ("* * * 0 *", "month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("60 * * * * *", "second"),
        ("5-70 * * * *", "'70'"),
        ("1-99/100 * * * *", "'99'"),
        (",5 * * * *", "empty item"),
        ("5, * * * *", "empty item"),
        ("5,,6 * * * *", "empty item"),
        ("-5 * * * *", "minute"),
        ("+5 * * * *", "'+5'"),
        ("5- * * * *", "lacks a value"),
        ("1-2-3 * * * *", "'2-3'"),
        ("1.5 * * * *", "'1.5'"),
        ("1e1 * * * *", "'1E1'"),
        ("0x5 * * * *", "'0X5'"),
        ("1_0 * * * *", "'1_0'"),
        ("*/0 * * * *", "step of 0"),
        ("1-5/0 * * * *", "step of 0"),
        ("*/ * * * *", "step"),
        ("*/-1 * * * *", "step"),
        ("*/1.5 * * * *", "step"),
        ("*/2/3 * * * *", "step"),
        ("*/x * * * *", "step"),
        ("* */MON * * *", "step"),
        ("/5 * * * *", "lacks a value"),
        ("5/15 * * * *", "5-59/15"),
        ("* * * JAN/2 *", "JAN-12/2"),
        ("30-10 * * * *", "reversed"),
        ("* * * * FRI-SUN", "5-7"),
        ("* * * * 6-1", "reversed"),
        ("** * * * *", "'**'"),
        ("*5 * * * *", "'*5'"),
        ("5* * * * *", "'5*'"),
        ("*-5 * * * *", "'*'"),
        ("5; * * * *", "'5;'"),
        ("5x * * * *", "'5X'"),
        ("? * * * *", "'?'"),
        ("0 0 ? * 1", "'?'"),
        ("% * * * *", "'%'"),
        ("MON * * * *", "'MON'"),
        ("* * * MON *", "'MON'"),
        ("* * * * JAN", "'JAN'"),
        ("* * * * MONDAY", "'MONDAY'"),
        ("* * * JANUARY *", "'JANUARY'"),
        ("* L * * *", "'L'"),
        ("* * * L *", "'L'"),
        ("* * * * L", "'L'"),
        ("* * L-3 * *", "'L'"),
        ("* * 0W * *", "'0'"),
        ("* * W * *", "lacks a value"),
        ("* * * * 5#6", "1-5"),
        ("* * * * 5#0", "1-5"),
        ("* * * * 5#", "1-5"),
        ("* * * * #2", "lacks a value"),
        ("* * * * 9L", "'9'"),
        ("H(5) * * * *", "range"),
        ("H(9-5) * * * *", "reversed"),
        ("H(0-60) * * * *", "'60'"),
        ("H/0 * * * *", "step of 0"),
        ("H5 * * * *", "'H5'"),
        ("٥ * * * *", "ASCII"),
        ("５ * * * *", "ASCII"),
        ("² * * * *", "ASCII"),
        ("0\u00a00 * * * *", "ASCII"),
        ("0 0 * *\n*", "4 fields"),
        ("0\x000 * * * *", "minute"),
        ("@", "'@'"),
        ("@dayly", "'@dayly'"),
        ("@every 5m", "@every 5m"),
        ("@daily *", "@daily *"),
        ("1" * 2000 + " * * * *", "2008 characters"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 31W 2 *", "never fires"),
        ("0 0 31 feb */2", "never fires"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_field_or_the_token(text: str, token: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        compile_schedule(ScheduleSpec(cron=text))
    assert token in str(caught.value)
    assert str(caught.value).startswith("cron '")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("  5\t 4   * *  *  ", "5 4 * * *"),
        ("005 04 * 01 *", "5 4 * 1 *"),
        ("0 0 * jan,Feb MON-fri", "0 0 * 1,2 1-5"),
        ("0 0 * * 7", "0 0 * * SUN"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 * * 1-7/2", "0 0 * * 0,1,3,5"),
        ("0 0 * * sun-tue", "0 0 * * 0-2"),
        ("7-7 * * * *", "7 * * * *"),
        ("7-7/1 * * * *", "7 * * * *"),
        ("*/60 * * * *", "0 * * * *"),
        ("1-5/30 * * * *", "1 * * * *"),
        ("*/999999999999999999999999 * * * *", "0 * * * *"),
        ("0 0 * * *", "0 0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        (" @midnight\n", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("*,5 0 * * *", "* 0 * * *"),
        ("5,5,5-6 * * * *", "5,6 * * * *"),
    ],
)
def test_two_ways_to_write_it_mean_the_same(left: str, right: str) -> None:
    after = instant("2026-02-27T23:59:59.5Z")
    assert upcoming(ScheduleSpec(cron=left), after, 40) == upcoming(ScheduleSpec(cron=right), after, 40)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 1 * 5", ["01-01", "01-02", "01-09", "01-16", "01-23"]),
        ("0 0 */2 * 5", ["01-09", "01-23", "02-13", "02-27", "03-13"]),
        ("0 0 1-7 * */7", ["01-04", "02-01", "03-01", "04-05", "05-03"]),
        ("0 0 *,5 * 1", ["01-05", "01-12", "01-19", "01-26", "02-02"]),
        ("0 0 31 2 6", ["02-07", "02-14", "02-21", "02-28", "02-06"]),
        ("0 0 L * *", ["01-31", "02-28", "03-31", "04-30", "05-31"]),
        ("0 0 LW * *", ["01-30", "02-27", "03-31", "04-30", "05-29"]),
        ("0 0 1W * *", ["01-01", "02-02", "03-02", "04-01", "05-01"]),
        ("0 0 15W * *", ["01-15", "02-16", "03-16", "04-15", "05-15"]),
        ("0 0 31W * *", ["01-30", "03-31", "05-29", "07-31", "08-31"]),
        ("0 0 15,L * *", ["01-15", "01-31", "02-15", "02-28", "03-15"]),
        ("0 0 * * 5L", ["01-30", "02-27", "03-27", "04-24", "05-29"]),
        ("0 0 * * fri#3", ["01-16", "02-20", "03-20", "04-17", "05-15"]),
        ("0 0 * * 7#5", ["03-29", "05-31", "08-30", "11-29", "01-31"]),
        ("0 0 13 * 5#1", ["01-02", "01-13", "02-06", "02-13", "03-06"]),
    ],
)
def test_days_are_the_ones_a_calendar_shows(text: str, days: list[str]) -> None:
    ticks = upcoming(ScheduleSpec(cron=text), NEW_YEAR - timedelta(seconds=1), 5)
    assert [tick.strftime("%m-%d") for tick in ticks] == days


def test_29_february_is_found_across_the_years_that_leave_it_out() -> None:
    found = [tick.year for tick in upcoming(ScheduleSpec(cron="0 0 29 2 *"), instant("2095-01-01T00:00Z"), 3)]
    assert found == [2096, 2104, 2108]
    early = schedule(cron="0 0 29 2 *").next_after(instant("1896-02-29T00:00Z"))
    assert early == instant("1904-02-29T00:00Z")
    assert schedule(cron="0 0 29 2 *").last_before(instant("2103-12-31T00:00Z")) == instant("2096-02-29T00:00Z")


def test_29_february_on_a_weekday_is_found_across_forty_years() -> None:
    made = schedule(cron="0 12 29 2 */7", timezone="Europe/Berlin")
    leap_years = [year for year in range(2000, 2200) if year % 4 == 0 and year not in (2100, 2200)]
    wanted = [year for year in leap_years if datetime(year, 2, 29, tzinfo=UTC).weekday() == 6]
    assert [tick.year for tick in forward(made, instant("2000-01-01T00:00Z"), instant("2200-01-01T00:00Z"))] == wanted
    assert max(b - a for a, b in pairwise(wanted)) == 40


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(hours=5, minutes=45), timedelta(hours=-11)])
def test_next_is_strictly_after_an_instant_of_any_offset_with_microseconds(offset: timedelta) -> None:
    from datetime import timezone

    tick = instant("2026-05-04T12:00Z")
    made = schedule(cron="0 12 * * *")
    here = timezone(offset)
    microsecond = timedelta(microseconds=1)
    assert made.next_after((tick - microsecond).astimezone(here)) == tick
    assert made.next_after(tick.astimezone(here)) == tick + timedelta(days=1)
    assert made.next_after((tick + microsecond).astimezone(here)) == tick + timedelta(days=1)
    assert made.last_before((tick - microsecond).astimezone(here)) == tick - timedelta(days=1)
    assert made.last_before(tick.astimezone(here)) == tick
    assert made.count_between(tick - microsecond, tick) == 1
    assert made.count_between(tick, tick + microsecond) == 0


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ScheduleError, match="no offset"):
        schedule(cron="* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of it


def test_seconds_lead_a_sixth_field() -> None:
    ticks = upcoming(ScheduleSpec(cron="*/20 59 23 31 12 *"), NEW_YEAR, 4)
    assert [tick.strftime("%d %H:%M:%S") for tick in ticks] == [
        "31 23:59:00",
        "31 23:59:20",
        "31 23:59:40",
        "31 23:59:00",
    ]


def test_h_spreads_jobs_and_stays_with_each() -> None:
    spec = ScheduleSpec(cron="H H(1-4) * * *")
    first = {name: upcoming(spec, NEW_YEAR, 1, name=name)[0] for name in map(str, range(200))}
    assert all(1 <= tick.hour <= 4 for tick in first.values())
    assert len({tick.minute for tick in first.values()}) > 40
    compile_schedule.__globals__["_compiled"].cache_clear()
    assert upcoming(spec, NEW_YEAR, 1, name="7") == [first["7"]]


def test_h_with_a_step_starts_anywhere_and_keeps_the_step() -> None:
    for name in map(str, range(30)):
        ticks = upcoming(ScheduleSpec(cron="H/15 * * * *"), NEW_YEAR, 8, name=name)
        assert {b - a for a, b in pairwise(ticks)} == {timedelta(minutes=15)}
    days = {upcoming(ScheduleSpec(cron="0 0 H 2 *"), NEW_YEAR, 1, name=str(n))[0].day for n in range(99)}
    assert max(days) <= 28
    assert len(days) > 20


def test_reboot_never_fires_by_time() -> None:
    made = schedule(cron="@reboot")
    assert made.is_reboot
    assert made.next_after(NEW_YEAR) is None
    assert made.count_between(NEW_YEAR, NEW_YEAR + timedelta(days=9)) == 0
    assert not schedule(cron="* * * * *").is_reboot


def test_fuzzed_expressions_are_taken_or_refused_within_ten_milliseconds() -> None:
    rng = random.Random(7)
    letters = string.digits + "*/-,LWH#() @\t" + "MONJAN" + "é٣\x00\n"
    slow = []
    for number in range(4000):
        text = made_up(rng)
        for _ in range(rng.randint(0, 4)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(letters) + text[at + rng.randint(0, 2) :]
        if number % 4 == 0:
            text = "".join(rng.choices(letters, k=rng.randint(0, 30)))
        began = time.process_time()
        try:
            made = compile_schedule(ScheduleSpec(cron=text))
            assert made is not None
            tick = made.next_after(NEW_YEAR)
            assert made.is_reboot or (tick is not None and tick > NEW_YEAR), text
        except ScheduleError:
            pass
        took = time.process_time() - began
        if took > 0.01:
            slow.append((took, text))
    assert len(slow) <= 2, slow  # a collection of garbage may fall into one


def test_two_kinds_at_once_are_refused() -> None:
    with pytest.raises(ScheduleError, match="cron and every are both given"):
        compile_schedule(ScheduleSpec(cron="* * * * *", every=timedelta(minutes=1)))


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("", "IANA"),
        ("../etc/passwd", "IANA"),
        ("America", "unknown"),
        ("x" * 500, "IANA"),
        ("Europe/\x00", "unknown"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_near_name(zone: str, hint: str) -> None:
    with pytest.raises(ScheduleError, match="timezone") as caught:
        compile_schedule(ScheduleSpec(cron="* * * * *", timezone=zone))
    assert hint in str(caught.value)
