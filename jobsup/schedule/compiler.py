"""From a schedule as written to one that can be asked."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from jobsup.errors import ScheduleError
from jobsup.model import Dst, ScheduleSpec
from jobsup.schedule.base import DAY_SECONDS, Schedule, floor_second
from jobsup.schedule.fields import uses_hash
from jobsup.schedule.wall import FIXED, WILDCARD, ClockRule, WallSchedule
from jobsup.schedule.zones import load, zone

SCHEDULES_REMEMBERED_MAX = 16_384
UPCOMING_MAX = 100_000
PRESENT = datetime(2020, 1, 1, tzinfo=UTC)
"""Zones had other rules before; what has not fired since then will not."""


def compile(spec: ScheduleSpec, *, name: str = "") -> Schedule | None:  # noqa: A001 - the verb there is for it
    """Return the schedule of a spec, None for a manual one; equal specs share one.

    `name` is the job's, and matters only to `H`. ScheduleError says what is off, which token, and what to do.
    """
    seed = name if spec.cron is not None and uses_hash(spec.cron) else ""
    return _compiled(spec, seed)


def upcoming(spec: ScheduleSpec, after: datetime, n: int, *, name: str = "") -> list[datetime]:
    """Return the next `n` ticks strictly after an instant; fewer when there are no more."""
    schedule = compile(spec, name=name)
    ticks: list[datetime] = []
    tick = schedule.next_after(after) if schedule else None
    while schedule and tick is not None and len(ticks) < min(n, UPCOMING_MAX):
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return ticks


@lru_cache(maxsize=SCHEDULES_REMEMBERED_MAX)
def _compiled(spec: ScheduleSpec, seed: str) -> Schedule | None:
    """Take the one kind that is set; the zone is checked even where the kind does not need it."""
    load(spec.timezone)
    _refuse_several_kinds(spec)
    if spec.cron is not None:
        return _cron(spec.cron, spec, seed)
    if spec.every is not None:
        from jobsup.schedule.every import EverySchedule

        return EverySchedule(spec.every, spec.anchor)
    if spec.calendar is not None:
        from jobsup.schedule.intervals import parse_calendar

        pattern = parse_calendar(spec.calendar)
        return _firing(WallSchedule(pattern, zone(spec.timezone, DAY_SECONDS), FIXED[spec.dst]))
    if spec.on_calendar is not None:
        return _on_calendar(spec.on_calendar, spec)
    if spec.at is not None:
        from jobsup.schedule.once import AtSchedule

        return AtSchedule(spec.at)
    return None


def _refuse_several_kinds(spec: ScheduleSpec) -> None:
    kinds = ("cron", "every", "calendar", "on_calendar", "at")
    given = [kind for kind in kinds if getattr(spec, kind) is not None]
    if len(given) > 1:
        raise ScheduleError(f"{' and '.join(given)} are both given; a schedule has one of {', '.join(kinds)}")
    if spec.anchor is not None and spec.every is None:
        raise ScheduleError("anchor is given without every; take it out, or write every")


def _cron(text: str, spec: ScheduleSpec, seed: str) -> Schedule:
    from jobsup.schedule.cron import parse_cron

    expression = parse_cron(text, name=seed)
    if expression is None:
        from jobsup.schedule.once import RebootSchedule

        return RebootSchedule()
    rule = WILDCARD if expression.is_wildcard else FIXED[spec.dst]
    return _firing(WallSchedule(expression.almanac(), zone(spec.timezone), rule, expression.warnings))


def _on_calendar(text: str, spec: ScheduleSpec) -> Schedule:
    """With the default rule mean what systemd means: no run for a time in a gap, one for a repeated time."""
    from jobsup.schedule.on_calendar import parse_on_calendar

    event = parse_on_calendar(text)
    rule = ClockRule(fills_gaps=False, repeats=False) if spec.dst is Dst.CRON else FIXED[spec.dst]
    return _firing(WallSchedule(event.almanac, zone(event.timezone or spec.timezone, DAY_SECONDS), rule))


def _firing(schedule: WallSchedule) -> WallSchedule:
    """Refuse times that only ever fall into a gap whose times are not caught up."""
    start = floor_second(PRESENT)
    if (
        not schedule.rule.fills_gaps
        and schedule.pattern.next(start) is not None
        and schedule.next_after(PRESENT) is None
    ):
        raise ScheduleError(
            f"it never fires: its times do not exist in {schedule.zone.key}, because the clock jumps over them;"
            ' choose another time, or dst = "cron"'
        )
    return schedule
