"""From a schedule as written to one that can be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from jobsup.errors import ScheduleError
from jobsup.model import Dst, NamedCalendar, ScheduleSpec
from jobsup.schedule.almanac import WallPattern
from jobsup.schedule.base import DAY_SECONDS, Schedule, floor_second
from jobsup.schedule.fields import uses_hash
from jobsup.schedule.wall import FIXED, WILDCARD, ClockRule, WallSchedule
from jobsup.schedule.zones import Zone, load, zone

SCHEDULES_REMEMBERED_MAX = 16_384
UPCOMING_MAX = 100_000
KINDS = ("cron", "every", "calendar", "on_calendar", "at")
PRESENT = datetime(2020, 1, 1, tzinfo=UTC)
"""Zones had other rules before; what has not fired since then will not."""


def compile(spec: ScheduleSpec, *, name: str = "") -> Schedule | None:  # noqa: A001 - the verb there is for it
    """Return the schedule of a spec, None for a manual one; equal specs share one.

    `name` is the job's, and matters only to `H`. ScheduleError says what is off, which token, and what to do.
    """
    return _compiled(spec, name if uses_name(spec) else "")


def uses_name(spec: ScheduleSpec) -> bool:
    """Tell whether the ticks of a spec depend on whose they are: `H` in a cron expression."""
    return any(part.cron is not None and uses_hash(part.cron) for part in (spec, *spec.also))


def upcoming(spec: ScheduleSpec, after: datetime, n: int, *, name: str = "") -> list[datetime]:
    """Return the next `n` ticks strictly after an instant; fewer when there are no more."""
    schedule = compile(spec, name=name)
    ticks: list[datetime] = []
    tick = schedule.next_after(after) if schedule else None
    while schedule and tick is not None and len(ticks) < min(n, UPCOMING_MAX):
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return ticks


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one spec becomes: the ticks that run, and those that its calendar drops."""

    kept: Schedule
    dropped: Schedule | None = None


@lru_cache(maxsize=SCHEDULES_REMEMBERED_MAX)
def _compiled(spec: ScheduleSpec, seed: str) -> Schedule | None:
    if not spec.also:
        made = _part(spec, seed)
        return None if made is None else _whole([made], spec)
    parts = [_part(each, seed) for each in (replace(spec, also=()), *spec.also)]
    if any(each.also for each in spec.also) or None in parts:
        raise ScheduleError("each of several schedules must be one of its own: give it one of " + ", ".join(KINDS))
    return _whole([part for part in parts if part is not None], spec)


def _whole(parts: list[Compiled], spec: ScheduleSpec) -> Schedule:
    """Put the parts together: what runs, and around it what the calendar dropped."""
    kept = _union([part.kept for part in parts])
    dropped = [part.dropped for part in parts if part.dropped is not None]
    if not dropped:
        return kept
    from jobsup.schedule.calendars import CalendarSchedule

    return CalendarSchedule(kept, _union(dropped), zone(spec.timezone))


def _union(schedules: list[Schedule]) -> Schedule:
    if len(schedules) == 1:
        return schedules[0]
    from jobsup.schedule.union import UnionSchedule

    return UnionSchedule(schedules)


def _part(spec: ScheduleSpec, seed: str) -> Compiled | None:
    """Take the one kind that is set; the zone is checked even where the kind does not need it."""
    load(spec.timezone)
    _refuse_several_kinds(spec)
    if spec.cron is not None:
        return _cron(spec.cron, spec, seed)
    if spec.every is not None:
        return _every(spec.every, spec)
    if spec.calendar is not None:
        from jobsup.schedule.intervals import parse_calendar

        pattern = parse_calendar(spec.calendar, spec.use_calendar)
        return _on_wall(spec, pattern, zone(spec.timezone, DAY_SECONDS), FIXED[spec.dst])
    if spec.on_calendar is not None:
        return _on_calendar(spec.on_calendar, spec)
    return None if spec.at is None else _at(spec.at, spec)


def _refuse_several_kinds(spec: ScheduleSpec) -> None:
    given = [kind for kind in KINDS if getattr(spec, kind) is not None]
    if len(given) > 1:
        raise ScheduleError(f"{' and '.join(given)} are both given; a schedule has one of {', '.join(KINDS)}")
    if spec.anchor is not None and spec.every is None:
        raise ScheduleError("anchor is given without every; take it out, or write every")


def _cron(text: str, spec: ScheduleSpec, seed: str) -> Compiled:
    from jobsup.schedule.cron import parse_cron

    expression = parse_cron(text, name=seed)
    if expression is None:
        from jobsup.schedule.once import RebootSchedule

        if spec.use_calendar is not None:
            raise ScheduleError("@reboot runs when jobsup starts, whatever the day; take use_calendar out")
        return Compiled(RebootSchedule())
    rule = WILDCARD if expression.is_wildcard else FIXED[spec.dst]
    return _on_wall(spec, expression.almanac(), zone(spec.timezone), rule, expression.warnings)


def _on_calendar(text: str, spec: ScheduleSpec) -> Compiled:
    """With the default rule mean what systemd means: no run for a time in a gap, one for a repeated time."""
    from jobsup.schedule.on_calendar import parse_on_calendar

    event = parse_on_calendar(text)
    rule = ClockRule(fills_gaps=False, repeats=False) if spec.dst is Dst.CRON else FIXED[spec.dst]
    return _on_wall(spec, event.almanac, zone(event.timezone or spec.timezone, DAY_SECONDS), rule)


def _every(every: timedelta, spec: ScheduleSpec) -> Compiled:
    from jobsup.schedule.every import EverySchedule

    base = EverySchedule(every, spec.anchor)
    if spec.use_calendar is None:
        return Compiled(base)
    from jobsup.schedule.calendars import instants_with_calendar

    kept, dropped = instants_with_calendar(base, zone(spec.timezone), spec.use_calendar, spec.calendar_rule)
    if kept.next_after(PRESENT) is None:
        raise _never(spec.use_calendar)
    return Compiled(kept, dropped)


def _at(at: datetime, spec: ScheduleSpec) -> Compiled:
    from jobsup.schedule.once import AtSchedule

    if spec.use_calendar is None:
        return Compiled(AtSchedule(at))
    from jobsup.schedule.calendars import move_instant

    moved = move_instant(at, zone(spec.timezone), spec.use_calendar, spec.calendar_rule)
    note = f'moved from {at.isoformat()}: calendar "{spec.use_calendar.name}"' if moved != at else None
    return Compiled(AtSchedule(moved, note))


def _on_wall(  # a wall schedule's parts
    spec: ScheduleSpec, pattern: WallPattern, where: Zone, rule: ClockRule, warnings: tuple[str, ...] = ()
) -> Compiled:
    """Lay a pattern on its zone, under its calendar; refuse what never fires."""
    plain = _firing(WallSchedule(pattern, where, rule, warnings))
    if spec.use_calendar is None:
        return Compiled(plain)
    from jobsup.schedule.calendars import with_calendar

    kept, dropped = with_calendar(pattern, where, rule, warnings, spec.use_calendar, spec.calendar_rule)
    start = floor_second(PRESENT)
    if pattern.next(start) is not None and kept.pattern.next(start) is None:
        raise _never(spec.use_calendar)
    return Compiled(_firing(kept), dropped)


def _never(calendar: NamedCalendar) -> ScheduleError:
    return ScheduleError(
        f'it never fires: calendar "{calendar.name}" leaves out every day it would run on;'
        " choose another calendar, or another calendar_rule"
    )


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
