"""What is to come: expected runs by the minute, collisions and pools, held to a plain second-by-second reckoning."""

import random
import time
from datetime import timedelta

import pytest

from jobsup.model import CalendarRule, NamedCalendar
from jobsup.schedule.forecast import DAYS_MAX, Forecast, Item, forecast
from tests.support.schedules import forward, instant, schedule

START = instant("2026-05-04T00:00Z")
MINUTE = timedelta(minutes=1)


def reckoned(items: list[Item], minutes: int) -> tuple[list[float], list[int]]:
    """Count the seconds of every run in every minute, one by one."""
    running, starts = [0.0] * minutes, [0] * minutes
    for _, made, usual, _ in items:
        for tick in forward(made, START - usual - MINUTE, START + minutes * MINUTE):
            first = int((tick - START).total_seconds())
            if first >= 0:
                starts[first // 60] += 1
            for second in range(first, first + int(usual.total_seconds())):
                if 0 <= second < minutes * 60:
                    running[second // 60] += 1 / 60
    return running, starts


def test_every_minute_has_the_runs_that_a_plain_count_finds() -> None:
    rng = random.Random(4)
    for _ in range(6):
        items: list[Item] = [
            (
                str(n),
                schedule(cron=f"{rng.randrange(60)} {rng.randrange(60)} */{rng.randint(1, 12)} * * *"),
                timedelta(seconds=rng.choice((0, 1, 45, 60, 61, 3600, 7000))),
                None,
            )
            for n in range(12)
        ]
        seen = forecast(items, START + timedelta(seconds=30), 1)
        running, starts = reckoned(items, 1440)
        assert seen.start == START
        assert list(seen.running) == pytest.approx(running)
        assert list(seen.starts) == pytest.approx(starts)
        assert seen.peak == pytest.approx(max(running))


def test_a_dense_schedule_is_a_steady_load() -> None:
    items: list[Item] = [("tick", schedule(every=timedelta(seconds=1)), timedelta(seconds=0.5), None)] * 3
    seen = forecast(items, START, 7)
    assert seen.minutes == 7 * 1440
    assert set(seen.starts) == {180.0}
    assert min(seen.running) == pytest.approx(1.5) == max(seen.running)
    assert seen.collisions == ()


def test_minutes_in_which_many_runs_start_are_named_the_worst_first() -> None:
    midnight, noon = schedule(cron="0 0 * * *"), schedule(cron="0 12 4 5 *")
    items: list[Item] = [(f"n{n}", midnight, MINUTE, None) for n in range(5)]
    items += [(f"m{n}", noon, MINUTE, None) for n in range(9)] + [("alone", schedule(cron="7 7 * * *"), MINUTE, None)]
    seen = forecast(items, START, 2)
    assert [(each.at, each.starts) for each in seen.collisions] == [
        (START + timedelta(hours=12), 9),
        (START, 5),
        (START + timedelta(days=1), 5),
    ]


def test_a_pool_that_is_asked_for_too_much_says_when() -> None:
    made = schedule(cron="0 3 * * *")
    items: list[Item] = [(f"j{n}", made, timedelta(minutes=10), "db") for n in range(3)]
    items += [("free", made, timedelta(hours=5), None), ("other", made, timedelta(hours=5), "unlimited")]
    (over,) = forecast(items, START, 1, pools={"db": 2, "idle": 1}).overloads
    assert (over.pool, over.places, over.peak) == ("db", 2, pytest.approx(3))
    assert (over.start, over.end) == (START + timedelta(hours=3), START + timedelta(hours=3, minutes=10))
    assert forecast(items, START, 1, pools={"db": 3}).overloads == ()


def test_ticks_that_were_moved_are_in_it_with_their_story() -> None:
    spring = schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    weekends = NamedCalendar("weekends", weekdays=("SAT", "SUN"))
    moved = schedule(cron="0 8 29 3 *", use_calendar=weekends, calendar_rule=CalendarRule.NEXT_BUSINESS_DAY)
    items: list[Item] = [("clock", spring, MINUTE, None), ("days", moved, MINUTE, None)]
    seen = forecast(items, instant("2026-03-27T00:00Z"), 5)
    assert [(each.job, each.note.split(":")[0]) for each in seen.notes] == [
        ("clock", "moved from 02"),
        ("days", "moved from 2026-03-29"),
    ]
    assert forecast(items, instant("2026-06-01T00:00Z"), 5).notes == ()


def test_ten_thousand_jobs_are_foreseen_quickly() -> None:
    rng = random.Random(6)
    kinds = ("{m} * * * *", "{m} {h} * * *", "*/5 * * * *", "{m} {h} * * 1-5", "* * * * * *")
    items: list[Item] = [
        (
            str(n),
            schedule(cron=kinds[n % 5].format(m=rng.randrange(60), h=rng.randrange(24)), timezone="Europe/Berlin"),
            timedelta(seconds=rng.uniform(0, 900)),
            rng.choice((None, "db")),
        )
        for n in range(10_000)
    ]
    began = time.process_time()
    seen = forecast(items, START, 7, pools={"db": 10})
    took = time.process_time() - began
    wanted = sum(made.count_between(START, START + timedelta(days=7)) for _, made, _, _ in items)
    assert sum(seen.starts) == pytest.approx(wanted, rel=0.001)
    assert took < 5


@pytest.mark.parametrize("days", [-1, 0, 10**9])
def test_a_forecast_is_bounded(days: int) -> None:
    seen: Forecast = forecast([("a", schedule(cron="@daily"), MINUTE, None)], START, days)
    assert seen.minutes == (DAYS_MAX * 1440 if days > 0 else 0)
    assert seen.peak in (0, 1)
