"""What a schedule does that its author may not expect, found by looking at real clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from jobsup.schedule.base import Schedule, floor_second, to_datetime
from jobsup.schedule.zones import Segment

if TYPE_CHECKING:
    from jobsup.schedule.wall import WallSchedule

SAMPLE_YEARS = range(2030, 2035)
"""Years the tz database knows by rule only: what happens in each of them happens every year."""
TICKS_SAMPLED = 50
TIME_SAMPLED = timedelta(days=8)


def yearly_gap(schedule: WallSchedule) -> tuple[str, ...]:
    """Warn of fixed times that a clock change takes away in every year."""
    if schedule.rule.repeats and not schedule.rule.fills_gaps:
        return ()
    found = [_gap_of(schedule, year) for year in SAMPLE_YEARS]
    gaps = [segment for segment in found if segment is not None]
    if len(gaps) < len(found):
        return ()
    day = to_datetime(gaps[0].local_start)
    lost = to_datetime(schedule.missed_times(gaps[0])[0])
    fate = f"it runs at {day:%H:%M} instead" if schedule.rule.fills_gaps else "it does not run then"
    return (
        f"a clock change in {schedule.zone.key} takes a time of it away every year ({lost:%H:%M} in {day:%B}): {fate}",
    )


def shortest_interval(schedule: Schedule, after: datetime) -> timedelta | None:
    """Return the shortest time between ticks that follow each other, of the next few and of about a week.

    None: there are not two.
    """
    ticks: list[datetime] = []
    tick = schedule.next_after(after)
    while tick is not None and len(ticks) < TICKS_SAMPLED and (len(ticks) < 2 or tick < after + TIME_SAMPLED):
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return min((second - first for first, second in pairwise(ticks)), default=None)


def _gap_of(schedule: WallSchedule, year: int) -> Segment | None:
    segments = schedule.zone.between(_second(year), _second(year + 1))
    return next((segment for segment in segments if schedule.misses(segment)), None)


def _second(year: int) -> int:
    return floor_second(datetime(year, 1, 1, tzinfo=UTC))
