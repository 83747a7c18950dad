"""Calendar intervals: every N days, weeks, months, years or business days at a wall time, counted from a start date.

APScheduler has a trigger for this; it steps from the start once for each tick, answers with dates that are past,
and loses the times that a clock change takes away. So the arithmetic is here.
"""

from __future__ import annotations

import re
from datetime import date

from jobsup.errors import ScheduleError
from jobsup.model import CalendarSpec, NamedCalendar
from jobsup.schedule.almanac import EPOCH_DAY, YEAR_MAX, WallPattern
from jobsup.schedule.base import DAY_SECONDS
from jobsup.schedule.fields import shown

UNITS = ("days", "weeks", "months", "years", "business_days")
STEPS_MAX = 10_000
"""More months or years than the calendar holds: a date that exists comes sooner, or never."""
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class DayInterval:
    """Every `step` days from a first day, at one time of day; days count from 1970."""

    def __init__(self, start: int, step: int, time: int) -> None:
        self._start, self._step, self._time = start, step, time

    def next(self, local: int) -> int | None:
        day = -((self._time - local) // DAY_SECONDS)
        return self._tick(max(0, -((self._start - day) // self._step)))

    def last(self, local: int) -> int | None:
        day = (local - self._time) // DAY_SECONDS
        return None if day < self._start else self._tick((day - self._start) // self._step)

    def count(self, start: int, end: int) -> int:
        return max(0, self._until(end) - self._until(start))

    def _until(self, local: int) -> int:
        """Count the ticks before a local second."""
        day = (local - 1 - self._time) // DAY_SECONDS
        return max(0, (day - self._start) // self._step + 1)

    def _tick(self, number: int) -> int:
        return (self._start + number * self._step) * DAY_SECONDS + self._time


class MonthInterval:
    """Every `step` months from a first date, at one time of day; a month without that day is left out."""

    def __init__(self, start: date, step: int, time: int) -> None:
        self._first, self._day = start.year * 12 + start.month - 1, start.day
        self._step, self._time = step, time

    def next(self, local: int) -> int | None:
        number = max(0, (_month_of(local) - self._first) // self._step)
        for _ in range(STEPS_MAX):
            if self._month(number) // 12 > YEAR_MAX:
                return None
            tick = self._tick(number)
            if tick is not None and tick >= local:
                return tick
            number += 1
        return None

    def last(self, local: int) -> int | None:
        number = (_month_of(local) - self._first) // self._step
        while number >= 0:
            tick = self._tick(number)
            if tick is not None and tick <= local:
                return tick
            number -= 1
        return None

    def count(self, start: int, end: int) -> int:
        """Visit the months in between: there are few, and which of them have the day is irregular."""
        number = max(0, (_month_of(start) - self._first) // self._step)
        total = 0
        while self._month(number) <= _month_of(end):
            tick = self._tick(number)
            total += tick is not None and start <= tick < end
            number += 1
        return total

    def _month(self, number: int) -> int:
        return self._first + number * self._step

    def _tick(self, number: int) -> int | None:
        year, month = divmod(self._month(number), 12)
        try:
            found = date(year, month + 1, self._day)
        except ValueError:  # this month has no such day
            return None
        return (found.toordinal() - EPOCH_DAY) * DAY_SECONDS + self._time


def parse_calendar(spec: CalendarSpec, calendar: NamedCalendar | None = None) -> WallPattern:
    """Return the wall times of a calendar interval; ScheduleError says what is off.

    Business days are Monday to Friday, or what the job's named calendar makes of them.
    """
    steps = {unit: getattr(spec, unit) for unit in UNITS}
    given = {unit: step for unit, step in steps.items() if step != 0}
    if len(given) != 1 or min(given.values()) < 1:
        said = ", ".join(f"{unit} = {step}" for unit, step in given.items()) or "nothing"
        raise ScheduleError(f"calendar: {said} given; write one of {', '.join(UNITS)}, with 1 or more")
    [(unit, step)] = given.items()
    start, time = _start_date(spec.start_date), _time(spec.at)
    if unit == "business_days":
        from jobsup.schedule.day_rules import BusinessDayInterval
        from jobsup.schedule.days import days_off

        return BusinessDayInterval(start.toordinal() - EPOCH_DAY, step, time, days_off(calendar))
    if unit in ("days", "weeks"):
        return DayInterval(start.toordinal() - EPOCH_DAY, step * (7 if unit == "weeks" else 1), time)
    return MonthInterval(start, step * (12 if unit == "years" else 1), time)


def _start_date(text: str) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ScheduleError(f"calendar: start_date {shown(text)} is not a date; write it like 2027-01-31")


def _time(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found:
        hour, minute, second = (int(part or 0) for part in found.groups())
        if hour < 24 and minute < 60 and second < 60:
            return hour * 3600 + minute * 60 + second
    raise ScheduleError(f"calendar: at {shown(text)} is not a time of day; write it like 07:30 or 07:30:00")


def _month_of(local: int) -> int:
    """Return the months since year 0 of a local second; past either end of the calendar, the month beyond."""
    ordinal = local // DAY_SECONDS + EPOCH_DAY
    if ordinal < 1:
        return 11
    try:
        found = date.fromordinal(ordinal)
    except (ValueError, OverflowError):
        return (YEAR_MAX + 1) * 12
    return found.year * 12 + found.month - 1
