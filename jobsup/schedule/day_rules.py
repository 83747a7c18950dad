"""Wall times under a calendar: patterns that keep the times of some days only, or move them to business days.

Both rest on one property of every pattern here: all days that have any time have the same times.
"""

from __future__ import annotations

from datetime import date

from jobsup.schedule.almanac import EPOCH_DAY, WallPattern
from jobsup.schedule.base import DAY_SECONDS
from jobsup.schedule.days import DaySet

STEPS_MAX = 4096
"""Times left out in a row, each on a later day or range of days: after so many nothing is left."""
DAYS_NAMED_MAX = 10


class KeptDays:
    """The times of a pattern on the days of a set, or on all others."""

    def __init__(self, pattern: WallPattern, days: DaySet, *, inside: bool) -> None:
        self.pattern, self.days, self.inside = pattern, days, inside

    def next(self, local: int) -> int | None:
        for _ in range(STEPS_MAX):
            found = self.pattern.next(local)
            if found is None:
                return None
            day = found // DAY_SECONDS
            kept = self.days.next(day, inside=self.inside)
            if kept is None or kept == day:
                return found if kept == day else None
            local = kept * DAY_SECONDS
        return None

    def last(self, local: int) -> int | None:
        for _ in range(STEPS_MAX):
            found = self.pattern.last(local)
            if found is None:
                return None
            day = found // DAY_SECONDS
            kept = self.days.last(day, inside=self.inside)
            if kept is None or kept == day:
                return found if kept == day else None
            local = (kept + 1) * DAY_SECONDS - 1
        return None

    def count(self, start: int, end: int) -> int:
        kept = self.days.stretches(start, end, inside=self.inside)
        return sum(self.pattern.count(first, last) for first, last in kept)


class MovedDays:
    """The times of a pattern, those of days off moved to the next business day, or to the one before.

    `off` are the days off. What is moved onto a day that has the same times already is one with them.
    """

    def __init__(self, pattern: WallPattern, off: DaySet, *, forward: bool) -> None:
        self.pattern, self.off, self.forward = pattern, off, forward

    def next(self, local: int) -> int | None:
        day, time = divmod(local, DAY_SECONDS)
        if day not in self.off:
            source = self.source(day)
            found = None if source is None else self._time(source, time)
            if found is not None:
                return day * DAY_SECONDS + found
        following = self.pattern.next(self._first_source_after(day) * DAY_SECONDS)
        target = None if following is None else self.target(following // DAY_SECONDS)
        if following is None or target is None:
            return None
        return target * DAY_SECONDS + following % DAY_SECONDS

    def last(self, local: int) -> int | None:
        day, time = divmod(local, DAY_SECONDS)
        if day not in self.off:
            source = self.source(day)
            found = None if source is None else self.pattern.last(source * DAY_SECONDS + time)
            if source is not None and found is not None and found // DAY_SECONDS == source:
                return day * DAY_SECONDS + found % DAY_SECONDS
        before = self.pattern.last(self._last_source_before(day) * DAY_SECONDS + DAY_SECONDS - 1)
        target = None if before is None else self.target(before // DAY_SECONDS)
        return None if before is None or target is None else target * DAY_SECONDS + before % DAY_SECONDS

    def count(self, start: int, end: int) -> int:
        """Visit the days that have times: several days may be moved onto one."""
        total = 0
        found = self.next(start)
        while found is not None and found < end:
            day = found // DAY_SECONDS
            source = self.source(day)
            shift = (day - (day if source is None else source)) * DAY_SECONDS
            stop = min(end, (day + 1) * DAY_SECONDS)
            total += self.pattern.count(found - shift, stop - shift)
            found = self.next((day + 1) * DAY_SECONDS)
        return total

    def target(self, day: int) -> int | None:
        """Return the business day that the times of a day run on."""
        return self.off.next(day, inside=False) if self.forward else self.off.last(day, inside=False)

    def source(self, day: int) -> int | None:
        """Return the first day whose times run on a business day; None when nothing runs on it."""
        first, last = self._sources(day)
        found = self.pattern.next(first * DAY_SECONDS)
        return None if found is None or found // DAY_SECONDS > last else found // DAY_SECONDS

    def note(self, local: int) -> str | None:
        """Say from which days the tick at a local second was moved; None when it was not."""
        day = local // DAY_SECONDS
        sources = self._days_with_times(*self._sources(day))
        others = ", ".join(_iso(each) for each in sources if each != day)
        if not others:
            return None
        if day in sources:
            return f"merged with {others}"
        return f"moved from {others}" if len(sources) == 1 else f"merged {others} into one"

    def _days_with_times(self, first: int, last: int) -> list[int]:
        found: list[int] = []
        local = self.pattern.next(first * DAY_SECONDS)
        while local is not None and local // DAY_SECONDS <= last and len(found) < DAYS_NAMED_MAX:
            found.append(local // DAY_SECONDS)
            local = self.pattern.next((found[-1] + 1) * DAY_SECONDS)
        return found

    def _sources(self, day: int) -> tuple[int, int]:
        """Return the first and last of the days whose times run on a business day."""
        if self.forward:
            before = self.off.last(day - 1, inside=False)
            return (day if before is None else before + 1), day
        after = self.off.next(day + 1, inside=False)
        return day, (day if after is None else after - 1)

    def _first_source_after(self, day: int) -> int:
        """Return the first day whose times run after a day."""
        if self.forward and day in self.off:
            return self._sources(day)[0]
        return self._sources(day)[1] + 1

    def _last_source_before(self, day: int) -> int:
        """Return the last day whose times run before a day."""
        if not self.forward and day in self.off:
            return self._sources(day)[1]
        return self._sources(day)[0] - 1

    def _time(self, day: int, time: int) -> int | None:
        """Return the first time of day, from `time` on, of a day that has times."""
        found = self.pattern.next(day * DAY_SECONDS + time)
        return found % DAY_SECONDS if found is not None and found // DAY_SECONDS == day else None


class BusinessDayInterval:
    """Every `step` business days at one time of day, from the first business day on or after a start."""

    def __init__(self, start: int, step: int, time: int, off: DaySet) -> None:
        self._start, self._step, self._time, self._off = start, step, time, off

    def next(self, local: int) -> int | None:
        day = -((self._time - local) // DAY_SECONDS)
        return self._tick(-(-self._days_before(day) // self._step))

    def last(self, local: int) -> int | None:
        days = self._days_before((local - self._time) // DAY_SECONDS + 1)
        return self._tick((days - 1) // self._step) if days else None

    def count(self, start: int, end: int) -> int:
        return max(0, self._until(end) - self._until(start))

    def _until(self, local: int) -> int:
        """Count the ticks before a local second."""
        return -(-self._days_before((local - 1 - self._time) // DAY_SECONDS + 1) // self._step)

    def _days_before(self, day: int) -> int:
        return self._off.count(self._start, day, inside=False)

    def _tick(self, number: int) -> int | None:
        day = self._off.nth(self._start, number * self._step, inside=False)
        return None if day is None else day * DAY_SECONDS + self._time


def _iso(day: int) -> str:
    return date.fromordinal(day + EPOCH_DAY).isoformat()
