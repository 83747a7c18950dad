"""Wall times as bit masks: which seconds, minutes, hours and days a schedule asks for, on an endless wall clock.

Local seconds count from 1970-01-01T00:00:00 on the wall; zones are somebody else's business. A mask has bit n set
when n is asked for, so that the next one is a shift and the number of them a bit count.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Protocol

from jobsup.schedule.base import DAY_SECONDS

EPOCH_DAY = date(1970, 1, 1).toordinal()
YEAR_MIN = 1
YEAR_MAX = 9999
GREGORIAN_YEARS = 400
"""After so many years dates fall on the same weekdays again: what did not come by then never comes."""
MONTH_SHAPES_MAX = 8192

DayRule = Callable[[int, int], int]
"""(days in the month, weekday of its first day with Monday = 0) -> the mask of its days; bit 0 is never set."""


class WallPattern(Protocol):
    """A set of local seconds, in ascending order."""

    def next(self, local: int) -> int | None:
        """Return the first one >= `local`."""
        ...

    def last(self, local: int) -> int | None:
        """Return the latest one <= `local`."""
        ...

    def count(self, start: int, end: int) -> int:
        """Count those in [start, end)."""
        ...


class Almanac:
    """Seconds, minutes and hours (masks from bit 0), months (bits 1-12), a rule for days, and a range of years."""

    def __init__(
        self,
        *,
        seconds: int,
        minutes: int,
        hours: int,
        months: int,
        days: DayRule,
        years: frozenset[int] | None = None,
    ) -> None:
        self.seconds, self.minutes, self.hours, self.months = seconds, minutes, hours, months
        self._rule = days
        self._years = years
        self._year_first = YEAR_MIN if years is None else min(years)
        self._year_last = YEAR_MAX if years is None else max(years)
        self._masks: dict[tuple[int, int], int] = {}
        self._first_second, self._last_second = _lowest(seconds), seconds.bit_length() - 1
        self._first_minute, self._last_minute = _lowest(minutes), minutes.bit_length() - 1
        self._first_time = _lowest(hours) * 3600 + self._first_minute * 60 + self._first_second
        self._last_time = (hours.bit_length() - 1) * 3600 + self._last_minute * 60 + self._last_second
        self._per_minute = seconds.bit_count()
        self._per_hour = self._per_minute * minutes.bit_count()
        self.per_day = self._per_hour * hours.bit_count()

    def next(self, local: int) -> int | None:
        day, time = divmod(local, DAY_SECONDS)
        found = self._day_from(day)
        if found is None:
            return None
        if found == day:
            moment = self._time_from(time)
            if moment is not None:
                return day * DAY_SECONDS + moment
            found = self._day_from(day + 1)
        return None if found is None else found * DAY_SECONDS + self._first_time

    def last(self, local: int) -> int | None:
        day, time = divmod(local, DAY_SECONDS)
        found = self._day_until(day)
        if found is None:
            return None
        if found == day:
            moment = self._time_until(time)
            if moment is not None:
                return day * DAY_SECONDS + moment
            found = self._day_until(day - 1)
        return None if found is None else found * DAY_SECONDS + self._last_time

    def count(self, start: int, end: int) -> int:
        if end <= start:
            return 0
        first, first_time = divmod(start, DAY_SECONDS)
        last, last_time = divmod(end, DAY_SECONDS)
        whole = self._days_between(first, last) * self.per_day
        head = self._rank(first_time) if self._has_day(first) else 0
        tail = self._rank(last_time) if self._has_day(last) else 0
        return whole - head + tail

    def ever(self) -> bool:
        """Tell whether any date at all is asked for."""
        if self._years is None:
            return any(
                self._rule(length, weekday)
                for month in range(1, 13)
                if self.months >> month & 1
                for length in ((28, 29) if month == 2 else (_LENGTHS[month],))
                for weekday in range(7)
            )
        return self.next((date(self._year_first, 1, 1).toordinal() - EPOCH_DAY) * DAY_SECONDS) is not None

    def _time_from(self, time: int) -> int | None:
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                later = self.seconds >> second
                if later:
                    return time + _lowest(later)
            later = self.minutes >> (minute + 1)
            if later:
                return hour * 3600 + (minute + 1 + _lowest(later)) * 60 + self._first_second
        later = self.hours >> (hour + 1)
        if later:
            return (hour + 1 + _lowest(later)) * 3600 + self._first_minute * 60 + self._first_second
        return None

    def _time_until(self, time: int) -> int | None:
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                earlier = _below(self.seconds, second + 1)
                if earlier:
                    return hour * 3600 + minute * 60 + earlier.bit_length() - 1
            earlier = _below(self.minutes, minute)
            if earlier:
                return hour * 3600 + (earlier.bit_length() - 1) * 60 + self._last_second
        earlier = _below(self.hours, hour)
        if earlier:
            return (earlier.bit_length() - 1) * 3600 + self._last_minute * 60 + self._last_second
        return None

    def _rank(self, time: int) -> int:
        """Count the times of a day that come before `time`."""
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        rank = _below(self.hours, hour).bit_count() * self._per_hour
        if self.hours >> hour & 1:
            rank += _below(self.minutes, minute).bit_count() * self._per_minute
            if self.minutes >> minute & 1:
                rank += _below(self.seconds, second).bit_count()
        return rank

    def _day_from(self, day: int) -> int | None:
        year, month, number = _date_of(day)
        if number:
            later = self._days(year, month) >> number
            if later:
                return day + _lowest(later)
        return self._month_after(year, month)

    def _month_after(self, year: int, month: int) -> int | None:
        if year < self._year_first:
            year, month = self._year_first, 0
        last = min(self._year_last, year + GREGORIAN_YEARS)
        while year <= last:
            later = self.months >> (month + 1)
            if not later:
                year, month = year + 1, 0
                continue
            month += 1 + _lowest(later)
            mask = self._days(year, month)
            if mask:
                return _shape(year, month)[2] + _lowest(mask) - 1
        return None

    def _day_until(self, day: int) -> int | None:
        year, month, number = _date_of(day)
        if number:
            earlier = _below(self._days(year, month), number + 1)
            if earlier:
                return day - number + earlier.bit_length() - 1
        return self._month_before(year, month)

    def _month_before(self, year: int, month: int) -> int | None:
        if year > self._year_last:
            year, month = self._year_last, 13
        first = max(self._year_first, year - GREGORIAN_YEARS)
        while year >= first:
            earlier = _below(self.months, month)
            if earlier <= 1:
                year, month = year - 1, 13
                continue
            month = earlier.bit_length() - 1
            mask = self._days(year, month)
            if mask:
                return _shape(year, month)[2] + mask.bit_length() - 2
        return None

    def _days_between(self, first: int, last: int) -> int:
        """Count the days asked for in [first, last)."""
        year, month, number = _date_of(first)
        end_year, end_month, end_number = _date_of(last)
        total = -_below(self._days(year, month), number).bit_count() if number else 0
        while (year, month) < (end_year, end_month):
            if month:
                total += self._days(year, month).bit_count()
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return total + (_below(self._days(year, month), end_number).bit_count() if end_number else 0)

    def _has_day(self, day: int) -> bool:
        year, month, number = _date_of(day)
        return bool(number and self._days(year, month) >> number & 1)

    def _days(self, year: int, month: int) -> int:
        if not self.months >> month & 1 or (self._years is not None and year not in self._years):
            return 0
        length, weekday, _ = _shape(year, month)
        mask = self._masks.get((length, weekday))
        if mask is None:
            mask = self._masks[length, weekday] = self._rule(length, weekday)
        return mask


_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@lru_cache(maxsize=MONTH_SHAPES_MAX)
def _shape(year: int, month: int) -> tuple[int, int, int]:
    """Return a month's number of days, the weekday of its first day (Monday = 0) and that day since 1970."""
    first = date(year, month, 1)
    leap = month == 2 and ((year % 4 == 0 and year % 100 != 0) or year % 400 == 0)
    return _LENGTHS[month] + leap, first.weekday(), first.toordinal() - EPOCH_DAY


def _date_of(day: int) -> tuple[int, int, int]:
    """Return year, month and day; before the first year and after the last the day is 0, which no mask has."""
    ordinal = day + EPOCH_DAY
    if ordinal < 1:
        return YEAR_MIN, 0, 0
    try:
        found = date.fromordinal(ordinal)
    except (ValueError, OverflowError):
        return YEAR_MAX, 13, 0
    return found.year, found.month, found.day


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _below(mask: int, bit: int) -> int:
    return mask & ((1 << bit) - 1)
