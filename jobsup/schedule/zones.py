"""A time zone as a row of segments: stretches of time with one offset, and what lies between them.

The tz database is asked through `zoneinfo`, which tells offsets but not when they change. The changes of a year
are found by asking for each day and then halving the day: the closest two real changes are almost four days apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobsup.errors import ScheduleError
from jobsup.schedule.base import DAY_SECONDS, EPOCH, SECOND_MAX, SECOND_MIN

CORRECTION_SECONDS = 3 * 3600
"""Debian cron's bound: a clock that jumps further was corrected, it did not change for the season."""
ZONES_MAX = 2048
YEARS_MAX = 4096
_LEAD_SECONDS = 3 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of real time with one offset, [start, end) in seconds since 1970.

    `before` and `high` are local seconds (since 1970 on the wall): where the wall clock stood when the segment
    before ended, and how far it had got at the latest. A start past them is a gap; a start short of `high`
    repeats what the wall clock has shown. Both equal the local start when the jump was a correction.
    """

    start: int
    end: int
    offset: int
    before: int
    high: int

    @property
    def local_start(self) -> int:
        return self.start + self.offset

    @property
    def local_end(self) -> int:
        return self.end + self.offset


class Zone:
    """The segments of one zone, found a year at a time and remembered.

    `correction` is the number of seconds from which a jump forward is a correction; backwards it must be more.
    """

    def __init__(self, key: str, correction: int = CORRECTION_SECONDS) -> None:
        self.key = key
        self._info = load(key)
        self._correction = correction
        self._years: dict[int, tuple[list[int], list[Segment]]] = {}
        self._recent = self._constant() if key == "UTC" else self._find(0)

    def segment(self, second: int) -> Segment:
        """Return the segment that `second` lies in."""
        recent = self._recent
        if recent.start <= second < recent.end:
            return recent
        self._recent = recent = self._find(second)
        return recent

    def between(self, first: int, end: int) -> Iterator[Segment]:
        """Yield the segments that have a second in [first, end)."""
        at = max(first, SECOND_MIN)
        while at < min(end, SECOND_MAX + 1):
            segment = self.segment(at)
            yield segment
            at = segment.end

    def offset(self, second: int) -> int:
        """Ask the tz database for the offset at a second, in seconds east of Greenwich."""
        bounded = min(max(second, SECOND_MIN + DAY_SECONDS), SECOND_MAX - DAY_SECONDS)
        shift = (EPOCH + timedelta(seconds=bounded)).astimezone(self._info).utcoffset()
        return 0 if shift is None else shift.days * DAY_SECONDS + shift.seconds

    def _constant(self) -> Segment:
        return Segment(SECOND_MIN, SECOND_MAX + 1, 0, SECOND_MIN, SECOND_MIN)

    def _find(self, second: int) -> Segment:
        bounded = min(max(second, SECOND_MIN), SECOND_MAX)
        year = (EPOCH + timedelta(seconds=bounded)).year
        table = self._years.get(year)
        if table is None:
            if len(self._years) >= YEARS_MAX:
                self._years.clear()
            segments = self._year(year)
            table = self._years[year] = ([segment.start for segment in segments], segments)
        starts, segments = table
        return segments[max(0, bisect_right(starts, bounded) - 1)]

    def _year(self, year: int) -> list[Segment]:
        start = _second(year)
        end = _second(year + 1) if year < 9999 else SECOND_MAX + 1
        segments = self._segments(max(start - _LEAD_SECONDS, SECOND_MIN), end)
        return [_clipped(segment, start) for segment in segments if segment.end > start]

    def _segments(self, start: int, end: int) -> list[Segment]:
        """Cut [start, end) at the changes; `high` is right because no repeat lasts longer than the lead."""
        offset = self.offset(start)
        before = high = start + offset
        segments = []
        for at, changed in self._changes(start, end):
            segments.append(Segment(start, at, offset, before, high))
            before = at + offset
            high = max(high, before)
            start, offset = at, changed
            before = start + offset if self._corrects(start + offset - before) else before
            high = start + offset if self._corrects(start + offset - high) else high
        segments.append(Segment(start, end, offset, before, high))
        return segments

    def _corrects(self, shift: int) -> bool:
        return shift >= self._correction or shift < -self._correction

    def _changes(self, start: int, end: int) -> list[tuple[int, int]]:
        changes = []
        known = self.offset(start)
        for probe in range(start, end + DAY_SECONDS, DAY_SECONDS):
            seen = self.offset(min(probe, end - 1))
            if seen != known:
                changes.append((self._halve(probe - DAY_SECONDS, min(probe, end - 1), known), seen))
                known = seen
        return changes

    def _halve(self, old: int, new: int, known: int) -> int:
        """Return the first second of the new offset, between one that has the old and one that has the new."""
        while new - old > 1:
            middle = (old + new) // 2
            if self.offset(middle) == known:
                old = middle
            else:
                new = middle
        return new


@lru_cache(maxsize=ZONES_MAX)
def zone(key: str, correction: int = CORRECTION_SECONDS) -> Zone:
    """Return the zone of an IANA name; ScheduleError names the nearest one when there is none."""
    return Zone(key, correction)


def fingerprint(key: str, year: int) -> str:
    """Return a text that changes when the tz database says something new of a zone in `year` or the two after.

    A stored `next_run` was right for the fingerprint it was computed with.
    """
    from hashlib import blake2b

    start, end = _second(year), _second(year + 3)
    told = zone(key)
    rules = [told.offset(start), *((segment.start, segment.offset) for segment in told.between(start, end))]
    return blake2b(repr(rules).encode(), digest_size=8).hexdigest()


def load(key: str) -> ZoneInfo:
    """Return the tz database's entry; ScheduleError when it has none of that name."""
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"timezone {key[:80]!r} is unknown; {_hint(key)}") from None


def _hint(key: str) -> str:
    import difflib
    import zoneinfo

    names = {name.lower(): name for name in zoneinfo.available_timezones()}
    cities = {name.rsplit("/", 1)[-1]: name for name in names}
    wanted = key[:80].lower().replace(" ", "_")
    near = difflib.get_close_matches(wanted, [*names, *cities], n=1)
    if not near:
        return "write an IANA name, like Europe/Berlin or UTC"
    return f"did you mean {names[cities.get(near[0], near[0])]}?"


def _clipped(segment: Segment, start: int) -> Segment:
    """Cut a segment at a year's start; a repeat that goes on there is kept, a gap lies behind."""
    if segment.start >= start:
        return segment
    local = start + segment.offset
    return Segment(start, segment.end, segment.offset, local, max(segment.high, local))


def _second(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - EPOCH).days * DAY_SECONDS
