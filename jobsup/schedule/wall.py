"""Wall times put on real time: the one place where a clock change meets a schedule.

Debian cron keeps a virtual clock that never goes back. When the wall clock jumps forward by less than three hours
the virtual clock runs after it and the fixed-time jobs it passes start at once; when it goes back by up to three
hours they wait until it has caught up. A larger jump is a correction, and the virtual clock jumps with it. Jobs
with a wildcard in the minute or hour follow the wall clock as it is. A `Segment` carries that virtual clock as
`high`, so that an answer needs no history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from jobsup.model import Dst, Reason, Skip
from jobsup.schedule.almanac import WallPattern
from jobsup.schedule.base import DAY_SECONDS, SECOND_MAX, SECOND_MIN, SecondSchedule, floor_second, to_datetime
from jobsup.schedule.zones import Segment, Zone

SEGMENTS_SEARCHED_MAX = 128
"""A schedule that did not fire in so many stretches of constant offset, though it asked for them, never will."""
TIMES_NAMED_MAX = 3
_MARGIN_SECONDS = 2 * DAY_SECONDS
"""More than any offset: local and real time are never further apart."""


@dataclass(frozen=True, slots=True)
class ClockRule:
    """What happens to wall times that a clock change takes away or brings twice."""

    fills_gaps: bool
    """Times in a gap run once, together, at its end; else they do not run."""
    repeats: bool
    """Times that come twice run twice; else only the first time."""
    counts_skipped: bool = False
    """Times lost in a gap are told by `skips`."""


WILDCARD = ClockRule(fills_gaps=False, repeats=True)
FIXED = {
    Dst.CRON: ClockRule(fills_gaps=True, repeats=False),
    Dst.SKIP: ClockRule(fills_gaps=False, repeats=False, counts_skipped=True),
    Dst.BOTH: ClockRule(fills_gaps=True, repeats=True),
}


class WallSchedule(SecondSchedule):
    """A pattern of wall times in a zone."""

    def __init__(self, pattern: WallPattern, zone: Zone, rule: ClockRule, warnings: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.pattern, self.zone, self.rule = pattern, zone, rule
        self._warnings = warnings
        self._clock_warning: tuple[str, ...] | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        if self._clock_warning is None:
            from jobsup.schedule.suspicions import yearly_gap

            self._clock_warning = yearly_gap(self)
        return self._warnings + self._clock_warning

    def _next(self, after: int) -> int | None:
        """Search segment by segment; where the pattern has nothing for long, go straight to where it has."""
        at = max(after + 1, SECOND_MIN)
        for _ in range(SEGMENTS_SEARCHED_MAX):
            if at > SECOND_MAX:
                return None
            segment = self.zone.segment(at)
            if at == segment.start and self._fills(segment):
                return at
            local = self.pattern.next(max(at + segment.offset, self._floor(segment)))
            if local is not None and local < segment.local_end:
                return local - segment.offset
            ahead = self.pattern.next(segment.local_end - _MARGIN_SECONDS)
            if ahead is None:
                return None
            at = max(segment.end, ahead - _MARGIN_SECONDS)
        return None

    def _last(self, at: int) -> int | None:
        at = min(at, SECOND_MAX)
        for _ in range(SEGMENTS_SEARCHED_MAX):
            if at < SECOND_MIN:
                return None
            segment = self.zone.segment(at)
            local = self.pattern.last(at + segment.offset)
            if local is not None and local >= self._floor(segment):
                return local - segment.offset
            if self._fills(segment):
                return segment.start
            behind = self.pattern.last(segment.local_start + _MARGIN_SECONDS)
            if behind is None:
                return None
            at = min(segment.start - 1, behind + _MARGIN_SECONDS)
        return None

    def _count(self, after: int, until: int) -> int:
        total = 0
        for segment in self.zone.between(after + 1, until + 1):
            start = max(after + 1 + segment.offset, self._floor(segment))
            total += self.pattern.count(start, min(until + 1, segment.end) + segment.offset)
            if segment.start > after and self._fills(segment) and not self._regular_at_start(segment):
                total += 1
        return total

    def skips(self, after: datetime, until: datetime) -> Iterator[Skip]:
        first, last = floor_second(after), floor_second(until)
        if not self.rule.counts_skipped or first >= last:
            return
        for segment in self.zone.between(first + 1, last + 1):
            if segment.start > first and self.misses(segment) and not self._regular_at_start(segment):
                end = to_datetime(segment.start)
                yield Skip(end, end, 1, Reason.DST_GAP)

    def note(self, instant: datetime) -> str | None:
        second = floor_second(instant)
        if self._last(second) != second or to_datetime(second) != instant:
            return None
        segment = self.zone.segment(second)
        if second == segment.start and self._fills(segment):
            return self._gap_note(segment)
        return self._repeat_note(segment, second)

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        first, last = floor_second(after), floor_second(until)
        return sum(1 for _ in self.zone.between(first - DAY_SECONDS, last + DAY_SECONDS)) > 1

    def missed_times(self, segment: Segment) -> list[int]:
        """Return the first few local times of the pattern in the gap before a segment."""
        times: list[int] = []
        local = self.pattern.next(self._gap_start(segment))
        while local is not None and local < segment.local_start and len(times) < TIMES_NAMED_MAX:
            times.append(local)
            local = self.pattern.next(local + 1)
        return times

    def misses(self, segment: Segment) -> bool:
        """Tell whether the gap before a segment swallowed a time of this schedule's pattern."""
        start = self._gap_start(segment)
        if start >= segment.local_start:
            return False
        local = self.pattern.next(start)
        return local is not None and local < segment.local_start

    def _floor(self, segment: Segment) -> int:
        """Return the first local second of a segment that counts."""
        if self.rule.repeats:
            return segment.local_start
        return max(segment.local_start, segment.high)

    def _gap_start(self, segment: Segment) -> int:
        return segment.before if self.rule.repeats else segment.high

    def _fills(self, segment: Segment) -> bool:
        return self.rule.fills_gaps and self.misses(segment)

    def _regular_at_start(self, segment: Segment) -> bool:
        start = segment.local_start
        return self._floor(segment) == start and self.pattern.next(start) == start

    def _gap_note(self, segment: Segment) -> str:
        times = self.missed_times(segment)
        regular = self._regular_at_start(segment)
        more = self.pattern.count(self._gap_start(segment), segment.local_start) - len(times)
        names = ", ".join(_clock(local) for local in times) + (f" and {more} more" if more else "")
        jump = f"the clock went from {_clock(self._gap_start(segment))} to {_clock(segment.local_start)}"
        if len(times) == 1 and not regular:
            return f"moved from {names}: {jump}"
        return f"merged with {names}: {jump}" if regular else f"merged {names} into one: {jump}"

    def _repeat_note(self, segment: Segment, second: int) -> str | None:
        local = second + segment.offset
        if segment.end <= SECOND_MAX:
            following = self.zone.segment(segment.end)
            if following.local_start <= local < segment.local_end:
                only = "" if self.rule.repeats else "; it runs only then"
                return f"repeated: {_clock(local)} comes twice, this is the first time{only}"
        if segment.start > SECOND_MIN:
            previous = self.zone.segment(segment.start - 1)
            if previous.local_start <= local < previous.local_end:
                return f"repeated: {_clock(local)} comes twice, this is the second time"
        return None


def _clock(local: int) -> str:
    """Write a local second as its time of day, with seconds only where it has any."""
    wall = to_datetime(local)
    return wall.strftime("%H:%M:%S" if wall.second else "%H:%M")
