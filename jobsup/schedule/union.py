"""Several schedules as one: an instant that two of them name is one tick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import merge

from jobsup.model import Skip
from jobsup.schedule.base import Schedule

TICKS_COMPARED_MAX = 20_000
"""Counting finds the instants that two schedules share among so many ticks; past them it counts both."""


class UnionSchedule(Schedule):
    """The ticks of all its parts."""

    def __init__(self, parts: Sequence[Schedule]) -> None:
        self.parts = tuple(parts)
        self.is_reboot = any(part.is_reboot for part in parts)

    def next_after(self, instant: datetime) -> datetime | None:
        ticks = (part.next_after(instant) for part in self.parts)
        return min((tick for tick in ticks if tick is not None), default=None)

    def last_before(self, instant: datetime) -> datetime | None:
        ticks = (part.last_before(instant) for part in self.parts)
        return max((tick for tick in ticks if tick is not None), default=None)

    def count_between(self, after: datetime, until: datetime) -> int:
        """Count the densest part by arithmetic, and visit of the others what it may have too."""
        counts = sorted(((part.count_between(after, until), n) for n, part in enumerate(self.parts)), reverse=True)
        counted: list[Schedule] = []
        total, left = 0, TICKS_COMPARED_MAX
        for count, number in counts:
            part = self.parts[number]
            total += count
            if counted and count <= left:
                total -= sum(_has(counted, tick) for tick in _ticks(part, after, until))
                left -= count
            counted.append(part)
        return total

    def note(self, instant: datetime) -> str | None:
        return next((note for part in self.parts if (note := part.note(instant)) is not None), None)

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        return any(part.may_have_notes(after, until) for part in self.parts)

    def skips(self, after: datetime, until: datetime) -> Iterator[Skip]:
        """Yield those of all parts; one that two parts have, such as the end of a gap, is one."""
        before: Skip | None = None
        for skip in merge(*(part.skips(after, until) for part in self.parts), key=lambda skip: skip.last):
            if skip != before:
                yield skip
            before = skip

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for part in self.parts for text in part.warnings))


def _has(parts: Sequence[Schedule], tick: datetime) -> bool:
    return any(part.last_before(tick) == tick for part in parts)


def _ticks(part: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    tick = part.next_after(after)
    while tick is not None and tick <= until:
        yield tick
        tick = part.next_after(tick)
