"""What holds for every schedule: order, purity, bounds, speed, words, and APScheduler's protocol."""

import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from jobsup.errors import ScheduleError
from jobsup.model import CalendarSpec, Dst, ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule import describe
from tests.support.cronlines import COMMON, made_up
from tests.support.schedules import ODD_ZONES, counted, forward, instant, schedule

instants = st.integers(-2_208_988_800, 7_258_118_400).map(lambda second: datetime.fromtimestamp(second, UTC))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(COMMON), st.sampled_from(ODD_ZONES), st.sampled_from(Dst), instants)
def test_next_and_last_hold_each_other(text: str, zone: str, dst: Dst, after: datetime) -> None:
    made = schedule(cron=text, timezone=zone, dst=dst)
    tick = made.next_after(after)
    assert tick is not None
    assert tick > after
    assert made.last_before(tick) == tick
    before = made.last_before(tick - timedelta(microseconds=1))
    assert before is None or before <= after
    assert made.count_between(after, tick) == 1
    assert made.next_after(tick - timedelta(microseconds=1)) == tick


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(COMMON[:16]), st.sampled_from(ODD_ZONES), st.sampled_from(Dst), instants)
def test_counting_agrees_with_visiting(text: str, zone: str, dst: Dst, start: datetime) -> None:
    made = schedule(cron=text, timezone=zone, dst=dst)
    end = start + timedelta(days=3)
    assert counted(made, start, end) == len(forward(made, start, end))


def test_croniter_and_cronsim_agree_where_they_are_right() -> None:
    rng = random.Random(11)
    compared = 0
    while compared < 250:
        text = made_up(rng, degenerate=False)
        start = datetime(rng.randint(2000, 2060), rng.randint(1, 12), rng.randint(1, 28), 5, 7, tzinfo=UTC)
        try:
            made = schedule(cron=text)
        except ScheduleError:
            continue
        ours = forward(made, start + timedelta(seconds=1), start + timedelta(days=9000), 6)
        if len(ours) < 6:
            continue
        theirs = CronSim(text, start)
        assert ours == [next(theirs) for _ in ours], text
        if ours[-1].year < start.year + 40:
            other = croniter(text, start, implement_cron_bug=True, max_years_between_matches=50)
            assert ours == [other.get_next(datetime) for _ in ours], text
        compared += 1


@pytest.mark.parametrize(
    "after", ["0001-01-01T00:00Z", "1883-11-18T17:00Z", "9999-12-31T23:59:30Z", "9998-06-01T00:00Z"]
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("text", ["* * * * *", "30 2 * * *", "0 0 29 2 *"])
def test_the_ends_of_time_are_answered_quickly(after: str, zone: str, text: str) -> None:
    began, made, at = time.process_time(), schedule(cron=text, timezone=zone), datetime.fromisoformat(after)
    following, before = made.next_after(at), made.last_before(at)
    assert following is None or following > at
    assert before is None or before <= at
    assert made.count_between(at, at) == 0
    assert time.process_time() - began < 0.5


def test_two_thousand_jobs_find_their_next_instant_within_a_second_of_work() -> None:
    zones = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
    specs = [ScheduleSpec(cron=f"{n % 60} {n // 60 % 24} * * {n % 7}", timezone=zones[n % 4]) for n in range(2_000)]
    now = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    for spec in specs:
        compile_schedule(spec)
    began = time.process_time()
    found = [made.next_after(now) for spec in specs if (made := compile_schedule(spec))]
    assert time.process_time() - began < 1
    assert all(tick is not None and now < tick <= now + timedelta(days=8) for tick in found)


def test_five_years_of_ticks_are_counted_at_once() -> None:
    start, end = instant("2020-01-01T00:00Z"), instant("2025-01-01T00:00Z")
    whole = int((end - start).total_seconds())
    for spec, wanted in (
        (ScheduleSpec(every=timedelta(seconds=1)), whole),
        (ScheduleSpec(cron="* * * * * *", timezone="Europe/Berlin"), whole),
        (ScheduleSpec(cron="*/2 * * * * *"), whole // 2),
    ):
        made = compile_schedule(spec)
        assert made is not None
        made.count_between(start, end)  # the zone's years are looked up once
        began = time.process_time()
        assert made.count_between(start, end) == wanted
        assert time.process_time() - began < 0.05


def test_equal_specs_share_one_schedule() -> None:
    assert schedule(cron="5 4 * * *") is schedule(cron="5 4 * * *")
    spec = ScheduleSpec(cron="5 4 * * *")
    assert compile_schedule(spec, name="a") is compile_schedule(spec, name="b")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ScheduleSpec(cron="* * * * *"), "every minute"),
        (ScheduleSpec(cron="*/5 * * * *"), "every 5 minutes"),
        (ScheduleSpec(cron="0 * * * *"), "at minute 0 of every hour"),
        (ScheduleSpec(cron="*/7 * * * *"), "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        (ScheduleSpec(cron="30 2 * * 1"), "at 02:30 on Monday"),
        (ScheduleSpec(cron="0 9,17 * * 1-5"), "at 09:00 and 17:00 on Monday to Friday"),
        (ScheduleSpec(cron="0 0 1,15 * 5"), "at 00:00 on days 1 and 15 of the month or Friday"),
        (ScheduleSpec(cron="0 0 1-7 * */7"), "at 00:00 on days 1 to 7 of the month if it is Sunday"),
        (ScheduleSpec(cron="0 0 L jan,feb *"), "at 00:00 on the last day of the month in January and February"),
        (ScheduleSpec(cron="0 0 * * 5#3"), "at 00:00 on the third Friday of the month"),
        (ScheduleSpec(cron="*/10 * * * * *"), "every 10 seconds"),
        (ScheduleSpec(cron="15 30 2 * * *"), "at 02:30:15"),
        (ScheduleSpec(cron="*/10 9-17 * * *"), "every 10 minutes of hours 9 to 17"),
        (ScheduleSpec(cron="@daily", timezone="Europe/Berlin"), "at 00:00, Europe/Berlin time"),
        (ScheduleSpec(cron="@reboot"), "when jobsup starts"),
        (ScheduleSpec(every=timedelta(seconds=90)), "every 90 seconds"),
        (ScheduleSpec(every=timedelta(hours=1)), "every hour"),
        (ScheduleSpec(every=timedelta(days=2)), "every 2 days"),
        (ScheduleSpec(every=timedelta(seconds=1.5)), "every 1.5 seconds"),
        (ScheduleSpec(calendar=CalendarSpec(months=2, at="07:30")), "every 2 months at 07:30 from 2000-01-01"),
        (ScheduleSpec(on_calendar="daily"), "on calendar daily"),
        (ScheduleSpec(at=instant("2026-05-04T12:00Z")), "once, at 2026-05-04T12:00:00Z"),
        (ScheduleSpec(), "only when asked"),
    ],
)
def test_a_schedule_is_told_in_words(spec: ScheduleSpec, words: str) -> None:
    assert describe(spec) == words


def test_apscheduler_can_drive_a_schedule() -> None:
    import pickle

    from apscheduler.triggers.base import BaseTrigger
    from apscheduler.triggers.combining import OrTrigger

    from jobsup.schedule.trigger import ScheduleTrigger

    trigger = ScheduleTrigger(ScheduleSpec(cron="30 2 * * *", timezone="Europe/Berlin"))
    assert isinstance(trigger, BaseTrigger)
    now = instant("2024-03-31T00:00Z")
    first = trigger.get_next_fire_time(None, now)
    assert first == instant("2024-03-31T01:00Z")
    assert trigger.get_next_fire_time(first, now) == instant("2024-04-01T00:30Z")
    assert trigger.get_next_fire_time(None, first) == first
    again = pickle.loads(pickle.dumps(trigger))
    assert again.get_next_fire_time(first, now) == instant("2024-04-01T00:30Z")
    either = OrTrigger([trigger, ScheduleTrigger(ScheduleSpec(every=timedelta(hours=12)))])
    assert either.get_next_fire_time(None, now) == now
    with pytest.raises(ScheduleError, match="manual"):
        ScheduleTrigger(ScheduleSpec())


def test_importing_the_package_brings_no_heavy_library() -> None:
    heavy = "('apscheduler', 'oncalendar', 'pydantic', 'sqlalchemy', 'croniter')"
    program = (
        "import sys, jobsup.schedule as s; from jobsup.model import ScheduleSpec;"
        "s.describe(ScheduleSpec(cron='@daily'));"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
