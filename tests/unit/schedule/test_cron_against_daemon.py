"""The engine and the daemon's loop, played minute by minute, agree on every tick.

A seeded sample; `python -m tests.long.schedules` is the whole.
"""

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobsup.model import ScheduleSpec
from tests.support.cronlines import COMMON, made_up, near_change
from tests.support.cronloop import CronLine, changes, daemon
from tests.support.schedules import ODD_ZONES, all_zones, check_against, refusal, schedule

SEED = 20_260_214
AROUND = timedelta(hours=27)


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_every_common_expression_agrees_around_the_changes_of_an_odd_zone(zone: str) -> None:
    rng = random.Random(f"{SEED} {zone}")
    found = [change for year in (2006, 2011, 2015, 2018, 2024) for change in changes(zone, year)]
    for change in rng.sample(found, min(2, len(found))):
        for text in (*rng.sample(COMMON, 4), near_change(rng)):
            start, end = change - AROUND, change + AROUND
            made = schedule(cron=text, timezone=zone)
            check_against(made, list(daemon(text, zone, start, end)), start, end, f"{text} in {zone} at {change}")


def test_a_sample_of_all_zones_and_of_a_century_agrees_around_their_changes() -> None:
    rng = random.Random(SEED)
    zones, compared = all_zones(), 0
    while compared < 60:
        zone = rng.choice(zones)
        for change in changes(zone, rng.randint(2000, 2099))[:3]:
            text = near_change(rng)
            start, end = change - AROUND, change + AROUND
            made = schedule(cron=text, timezone=zone)
            check_against(made, list(daemon(text, zone, start, end)), start, end, f"{text} in {zone} at {change}")
            compared += 1


def test_made_up_expressions_agree_over_weeks_far_from_any_change() -> None:
    rng = random.Random(SEED + 1)
    for _ in range(20):
        text = made_up(rng)
        problem = refusal(ScheduleSpec(cron=text))
        if problem:
            assert "never fires" in problem
            continue
        made = schedule(cron=text)
        start = datetime(rng.randint(2000, 2099), rng.randint(1, 12), rng.randint(1, 28), tzinfo=UTC)
        end = start + timedelta(days=rng.choice((3, 9, 20)))
        check_against(made, list(daemon(text, "UTC", start, end)), start, end, f"{text} at {start}")


def test_what_is_said_never_to_fire_has_no_day_in_28_years() -> None:
    rng = random.Random(SEED + 2)
    refused = 0
    while refused < 3:
        text = f"0 0 {rng.choice(('30', '31', '30,31', '31-31/2'))} {rng.choice(('2', 'feb', '4', '2,4', '9'))} *"
        problem = refusal(ScheduleSpec(cron=text))
        if problem:
            assert "never fires" in problem
            refused += 1
            line, day = CronLine(text), datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time
            assert not any(line.matches(day + timedelta(days=n)) for n in range(28 * 366))
