"""Sets of days: a named calendar as bit masks, a year at a time, so that the next day and the number of days are cheap.

Days count from 1970-01-01, as in the almanac; a set holds for every year that a date can have.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache

from jobsup.errors import ScheduleError
from jobsup.model import NamedCalendar
from jobsup.schedule.almanac import EPOCH_DAY, GREGORIAN_YEARS, YEAR_MAX, YEAR_MIN
from jobsup.schedule.base import DAY_SECONDS
from jobsup.schedule.fields import shown

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
WEEKEND = ("SAT", "SUN")
SETS_REMEMBERED_MAX = 1024
_LEAP_YEAR = 2000


class DaySet:
    """The days of some ranges, of some dates of each year, and of some days of each week (Monday = 0)."""

    def __init__(
        self,
        ranges: Iterable[tuple[int, int]] = (),
        yearly: Iterable[tuple[int, int]] = (),
        weekdays: Iterable[int] = (),
    ) -> None:
        """Take ranges as (first, last) days, both in, and yearly dates as (month, day)."""
        self._ranges = sorted(ranges)
        self._lasts = _rising(last for _, last in self._ranges)
        self._yearly = frozenset(yearly)
        self._weekdays = frozenset(weekdays)
        self._masks: dict[int, int] = {}

    def __contains__(self, day: int) -> bool:
        return self.next(day, inside=True) == day

    def next(self, day: int, *, inside: bool) -> int | None:
        """Return the first day >= `day` that is in the set, or that is not; None: never."""
        first = max(day, _FIRST_DAY)
        if first > _LAST_DAY:
            return None
        year, place = _place(first)
        for each in range(year, min(year + GREGORIAN_YEARS, YEAR_MAX) + 1):
            mask = self._mask(each, inside) >> place << place
            if mask:
                return _start(each) + (mask & -mask).bit_length() - 1
            place = 0
        return None

    def last(self, day: int, *, inside: bool) -> int | None:
        """Return the latest day <= `day` that is in the set, or that is not; None: none before."""
        at = min(day, _LAST_DAY)
        if at < _FIRST_DAY:
            return None
        year, place = _place(at)
        mask = self._mask(year, inside) & ((2 << place) - 1)
        for each in range(year, max(year - GREGORIAN_YEARS, YEAR_MIN) - 1, -1):
            if mask:
                return _start(each) + mask.bit_length() - 1
            if each > YEAR_MIN:
                mask = self._mask(each - 1, inside)
        return None

    def count(self, first: int, end: int, *, inside: bool) -> int:
        """Count the days in [first, end) that are in the set, or that are not."""
        first, end = max(first, _FIRST_DAY), min(end, _LAST_DAY + 1)
        if first >= end:
            return 0
        year, place = _place(first)
        last_year, last_place = _place(end - 1)
        total = -(self._mask(year, inside) & ((1 << place) - 1)).bit_count()
        total += sum(self._mask(each, inside).bit_count() for each in range(year, last_year))
        return total + (self._mask(last_year, inside) & ((2 << last_place) - 1)).bit_count()

    def stretches(self, start: int, end: int, *, inside: bool) -> Iterator[tuple[int, int]]:
        """Yield the stretches of [start, end), in local seconds, whose days are in the set, or are not."""
        day = self.next(start // DAY_SECONDS, inside=inside)
        while day is not None and day * DAY_SECONDS < end:
            after = self.next(day, inside=not inside)
            yield max(start, day * DAY_SECONDS), end if after is None else min(end, after * DAY_SECONDS)
            day = None if after is None else self.next(after, inside=inside)

    def nth(self, start: int, number: int, *, inside: bool) -> int | None:
        """Return the day that has `number` such days before it, from `start` on; None: there are not so many."""
        year, place = _place(max(start, _FIRST_DAY))
        left = number
        for each in range(year, YEAR_MAX + 1):
            mask = self._mask(each, inside) >> place << place
            if mask.bit_count() > left:
                return _start(each) + _nth_bit(mask, left)
            left -= mask.bit_count()
            place = 0
        return None

    def _mask(self, year: int, inside: bool) -> int:
        """Return a bit per day of the year, bit 0 being 1 January."""
        mask = self._masks.get(year)
        if mask is None:
            mask = self._masks[year] = self._year(year)
        return mask if inside else ((1 << _length(year)) - 1) & ~mask

    def _year(self, year: int) -> int:
        start, length = _start(year), _length(year)
        mask = 0
        index = bisect_left(self._lasts, start)
        while index < len(self._ranges) and self._ranges[index][0] < start + length:
            first, last = self._ranges[index]
            low, high = max(first - start, 0), min(last - start, length - 1)
            if low <= high:
                mask |= (2 << high) - (1 << low)
            index += 1
        for month, day in self._yearly:
            if (month, day) != (2, 29) or length == 366:
                mask |= 1 << (date(year, month, day).toordinal() - EPOCH_DAY - start)
        first_weekday = date(year, 1, 1).weekday()
        for weekday in self._weekdays:
            mask |= sum(1 << place for place in range((weekday - first_weekday) % 7, length, 7))
        return mask


@lru_cache(maxsize=SETS_REMEMBERED_MAX)
def calendar_days(calendar: NamedCalendar) -> DaySet:
    """Return the days that a calendar names; ScheduleError when one of them cannot be read."""
    return DaySet(
        [parse_range(text) for text in calendar.days],
        [parse_yearly(text) for text in calendar.yearly],
        [parse_weekday(text) for text in calendar.weekdays],
    )


@lru_cache(maxsize=SETS_REMEMBERED_MAX)
def days_off(calendar: NamedCalendar | None) -> DaySet:
    """Return the days that are no business days: the calendar's, and the weekend where it has no weekdays itself."""
    if calendar is None:
        return DaySet(weekdays=[parse_weekday(text) for text in WEEKEND])
    if calendar.weekdays:
        return calendar_days(calendar)
    return calendar_days(NamedCalendar(calendar.name, calendar.days, calendar.yearly, WEEKEND))


def parse_range(text: str) -> tuple[int, int]:
    """Read `2026-12-24` or `2026-12-24/2027-01-02` to its first and last day."""
    first_text, slash, last_text = text.partition("/")
    first = parse_day(first_text)
    last = parse_day(last_text) if slash else first
    if last < first:
        raise ScheduleError(f"calendar range {shown(text)} ends before it begins; write the earlier date first")
    return first, last


def parse_day(text: str) -> int:
    """Read `2026-12-24` to its day since 1970."""
    try:
        if len(text) == 10:
            return date.fromisoformat(text).toordinal() - EPOCH_DAY
    except ValueError:
        pass
    raise ScheduleError(f"{shown(text)} is not a date; write it like 2026-12-24")


def parse_yearly(text: str) -> tuple[int, int]:
    """Read `12-25` to month and day."""
    try:
        if len(text) == 5:
            found = date.fromisoformat(f"{_LEAP_YEAR}-{text}")
            return found.month, found.day
    except ValueError:
        pass
    raise ScheduleError(f"{shown(text)} is not a day of the year; write month and day, like 12-25")


def parse_weekday(text: str) -> int:
    """Read `SAT` to its number, Monday = 0."""
    if text not in WEEKDAYS:
        raise ScheduleError(f"{shown(text)} is not a weekday; write one of {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(text)


def _rising(lasts: Iterable[int]) -> list[int]:
    """Make the ends of ranges that overlap searchable: each at least as late as those before it."""
    rising: list[int] = []
    for last in lasts:
        rising.append(max(last, rising[-1]) if rising else last)
    return rising


def _nth_bit(mask: int, number: int) -> int:
    for _ in range(number):
        mask &= mask - 1
    return (mask & -mask).bit_length() - 1


def _place(day: int) -> tuple[int, int]:
    """Return the year of a day, and its number in that year from 0."""
    year = date.fromordinal(day + EPOCH_DAY).year
    return year, day - _start(year)


def _start(year: int) -> int:
    return date(year, 1, 1).toordinal() - EPOCH_DAY


def _length(year: int) -> int:
    return 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365


_FIRST_DAY = date.min.toordinal() - EPOCH_DAY
_LAST_DAY = date.max.toordinal() - EPOCH_DAY
