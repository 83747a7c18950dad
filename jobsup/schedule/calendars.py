"""Schedules under a named calendar: what runs, and what the calendar took away, a range a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from jobsup.errors import ScheduleError
from jobsup.model import CalendarRule, NamedCalendar, Reason, Skip
from jobsup.schedule.almanac import WallPattern
from jobsup.schedule.base import DAY_SECONDS, MOMENT, SECOND_MAX, Schedule, floor_second, to_datetime
from jobsup.schedule.day_rules import STEPS_MAX, KeptDays, MovedDays
from jobsup.schedule.days import DaySet, calendar_days, days_off
from jobsup.schedule.wall import ClockRule, WallSchedule
from jobsup.schedule.zones import Zone


class CalendarSchedule(Schedule):
    """A schedule of which a calendar took ticks away: `kept` are those that run, `dropped` the others."""

    def __init__(self, kept: Schedule, dropped: Schedule, zone: Zone) -> None:
        self.kept, self.dropped, self.zone = kept, dropped, zone
        self.is_reboot = kept.is_reboot

    def next_after(self, instant: datetime) -> datetime | None:
        return self.kept.next_after(instant)

    def last_before(self, instant: datetime) -> datetime | None:
        return self.kept.last_before(instant)

    def count_between(self, after: datetime, until: datetime) -> int:
        return self.kept.count_between(after, until)

    def note(self, instant: datetime) -> str | None:
        return self.kept.note(instant)

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        return self.kept.may_have_notes(after, until)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.kept.warnings

    def skips(self, after: datetime, until: datetime) -> Iterator[Skip]:
        """Yield them in the order of their ends; those of clock changes are few, and are found first."""
        gaps = list(self.kept.skips(after, until))
        for day in self._dropped_days(after, until):
            while gaps and gaps[0].last <= day.last:
                yield gaps.pop(0)
            yield day
        yield from gaps

    def _dropped_days(self, after: datetime, until: datetime) -> Iterator[Skip]:
        tick = self.dropped.next_after(after)
        while tick is not None:
            start, end = _day_around(self.zone, tick)
            first = self.dropped.next_after(start - MOMENT)
            last = self.dropped.last_before(end - MOMENT)
            if first is None or last is None or last > until:
                return
            yield Skip(first, last, self.dropped.count_between(first - MOMENT, last), Reason.CALENDAR)
            tick = self.dropped.next_after(last)


class MovedSchedule(WallSchedule):
    """A wall schedule whose ticks on days off are moved to business days."""

    def __init__(  # as its base, and the calendar's name
        self, pattern: MovedDays, zone: Zone, rule: ClockRule, warnings: tuple[str, ...], calendar: str
    ) -> None:
        super().__init__(pattern, zone, rule, warnings)
        self.moved, self.calendar = pattern, calendar

    def note(self, instant: datetime) -> str | None:
        """Say what the calendar did, and what the clock did; where both did something, the calendar's comes first."""
        of_clock = super().note(instant)
        second = floor_second(instant)
        if of_clock is None and self._last(second) != second:
            return None
        of_days = self.moved.note(second + self.zone.segment(second).offset)
        if of_days is None:
            return of_clock
        told = f'{of_days}: calendar "{self.calendar}"'
        return told if of_clock is None else f"{told}; {of_clock}"

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        _ = (after, until)
        return True


class KeptInstants(Schedule):
    """The ticks of a schedule of real time whose local day is in a set, or is not."""

    def __init__(self, base: Schedule, zone: Zone, days: DaySet, *, inside: bool) -> None:
        self.base, self.zone, self.days, self.inside = base, zone, days, inside

    def next_after(self, instant: datetime) -> datetime | None:
        tick = self.base.next_after(instant)
        for _ in range(STEPS_MAX):
            if tick is None:
                return None
            segment = self.zone.segment(floor_second(tick))
            day = (floor_second(tick) + segment.offset) // DAY_SECONDS
            kept = self.days.next(day, inside=self.inside)
            if kept == day:
                return tick
            ahead = segment.end if kept is None else min(segment.end, kept * DAY_SECONDS - segment.offset)
            if ahead > SECOND_MAX or (kept is None and segment.end > SECOND_MAX):
                return None
            tick = self.base.next_after(to_datetime(ahead) - MOMENT)
        return None

    def last_before(self, instant: datetime) -> datetime | None:
        tick = self.base.last_before(instant)
        for _ in range(STEPS_MAX):
            if tick is None:
                return None
            segment = self.zone.segment(floor_second(tick))
            day = (floor_second(tick) + segment.offset) // DAY_SECONDS
            kept = self.days.last(day, inside=self.inside)
            if kept == day or kept is None:
                return tick if kept == day else None
            behind = max(segment.start, (kept + 1) * DAY_SECONDS - segment.offset)
            tick = self.base.last_before(to_datetime(behind) - MOMENT)
        return None

    def count_between(self, after: datetime, until: datetime) -> int:
        total = 0
        for segment in self.zone.between(floor_second(after), floor_second(until) + 1):
            start = max(segment.start, floor_second(after)) + segment.offset
            end = min(segment.end, floor_second(until) + 1) + segment.offset
            for first, last in self.days.stretches(start, end, inside=self.inside):
                begin = max(after, to_datetime(first - segment.offset) - MOMENT)
                stop = min(until, to_datetime(last - segment.offset) - MOMENT)
                total += self.base.count_between(begin, stop) if begin < stop else 0
        return total


def with_calendar(  # noqa: PLR0917  # a wall schedule's four parts, and the calendar's two
    pattern: WallPattern,
    zone: Zone,
    clock: ClockRule,
    warnings: tuple[str, ...],
    calendar: NamedCalendar,
    rule: CalendarRule,
) -> tuple[WallSchedule, WallSchedule | None]:
    """Return what runs of a wall schedule under a calendar, and what is dropped; nothing is where ticks move."""
    if rule.moves:
        moved = MovedDays(pattern, days_off(calendar), forward=rule is CalendarRule.NEXT_BUSINESS_DAY)
        return MovedSchedule(moved, zone, clock, warnings, calendar.name), None
    days, inside = calendar_days(calendar), rule is CalendarRule.ONLY
    kept = WallSchedule(KeptDays(pattern, days, inside=inside), zone, clock, warnings)
    return kept, WallSchedule(KeptDays(pattern, days, inside=not inside), zone, clock)


def instants_with_calendar(
    base: Schedule, zone: Zone, calendar: NamedCalendar, rule: CalendarRule
) -> tuple[Schedule, Schedule]:
    """Return what runs of a schedule of real time under a calendar, and what is dropped."""
    if rule.moves:
        raise ScheduleError(
            f"calendar_rule {rule.value} moves times of day, and every has none;"
            " write calendar = { days = 1, ... } or cron, or the rule skip or only"
        )
    days, inside = calendar_days(calendar), rule is CalendarRule.ONLY
    return KeptInstants(base, zone, days, inside=inside), KeptInstants(base, zone, days, inside=not inside)


def move_instant(at: datetime, zone: Zone, calendar: NamedCalendar, rule: CalendarRule) -> datetime:
    """Return the instant that a single one becomes under a calendar; ScheduleError when the calendar drops it."""
    second = floor_second(at)
    local = second + zone.segment(second).offset
    day = local // DAY_SECONDS
    if rule.moves:
        off = days_off(calendar)
        target = off.next(day, inside=False) if rule is CalendarRule.NEXT_BUSINESS_DAY else off.last(day, inside=False)
        if target is None:
            raise ScheduleError(f'it never fires: calendar "{calendar.name}" has no business day')
        return at + timedelta(days=target - day) + _shift(zone, second, (target - day) * DAY_SECONDS)
    if (day in calendar_days(calendar)) != (rule is CalendarRule.ONLY):
        told = "is not a day" if rule is CalendarRule.ONLY else "is a day"
        raise ScheduleError(
            f'it never fires: {to_datetime(local):%Y-%m-%d} {told} of calendar "{calendar.name}";'
            " choose another day, or another calendar_rule"
        )
    return at


def _shift(zone: Zone, second: int, seconds: int) -> timedelta:
    """Return what the wall clock was turned by between an instant and one so many wall seconds later."""
    before = zone.segment(second).offset
    after = zone.segment(second + seconds).offset
    return timedelta(seconds=before - after)


def _day_around(zone: Zone, tick: datetime) -> tuple[datetime, datetime]:
    """Return the stretch of real time of one local day and one offset that holds a tick: [start, end)."""
    second = floor_second(tick)
    segment = zone.segment(second)
    midnight = second - (second + segment.offset) % DAY_SECONDS
    start, end = max(segment.start, midnight), min(segment.end, midnight + DAY_SECONDS)
    return to_datetime(start), to_datetime(min(end, SECOND_MAX))
