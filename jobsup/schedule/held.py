"""A schedule as blackouts leave it: the instants at which its runs can start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice

from jobsup.model import BlackoutPolicy, BlackoutSpec
from jobsup.schedule.base import MOMENT, Schedule
from jobsup.schedule.blackouts import Window, window_at, window_over, windows_between

WINDOWS_MAX = 1000
"""Blackout windows passed over in one search, and told apart in one count."""


class HeldSchedule(Schedule):
    """Another schedule whose ticks within a blackout are left out, or are one at its end.

    Where blackouts of both policies overlap, a count takes the window for one that holds.
    """

    def __init__(self, schedule: Schedule, blackouts: Sequence[BlackoutSpec]) -> None:
        """Take blackouts that are all meant for the job."""
        self.schedule, self.blackouts = schedule, tuple(blackouts)

    def next_after(self, instant: datetime) -> datetime | None:
        found = self._next_start(instant)
        held = self._held_until(instant)
        return min((each for each in (found, held) if each is not None), default=None)

    def last_before(self, instant: datetime) -> datetime | None:
        at = instant
        for _ in range(WINDOWS_MAX):
            tick = self.schedule.last_before(at)
            window = None if tick is None else window_over(self.blackouts, tick)
            if window is None:
                return tick
            if window.policy is BlackoutPolicy.HOLD and window.end <= instant:
                return window.end
            at = window.start - MOMENT
        return None

    def count_between(self, after: datetime, until: datetime) -> int:
        count = self.schedule.count_between(after, until)
        for start, end, holds in self._stretches(after, until):
            inside = self.schedule.count_between(start - MOMENT, end - MOMENT)
            count -= self.schedule.count_between(max(after, start - MOMENT), min(until, end - MOMENT))
            is_one_more = holds and inside and after < end <= until and self.schedule.last_before(end) != end
            count += bool(is_one_more)
        return count

    def note(self, instant: datetime) -> str | None:
        return self.schedule.note(instant)

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        return self.schedule.may_have_notes(after, until)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.schedule.warnings

    def _next_start(self, instant: datetime) -> datetime | None:
        """Return the start of the first tick after `instant` that has one."""
        at = instant
        for _ in range(WINDOWS_MAX):
            tick = self.schedule.next_after(at)
            window = None if tick is None else window_over(self.blackouts, tick)
            if window is None or window.policy is BlackoutPolicy.HOLD:
                return tick if window is None else window.end
            at = window.end - MOMENT
        return None

    def _held_until(self, instant: datetime) -> datetime | None:
        """Return the end of the blackout of `instant`, if it holds a tick that has come already."""
        tick = self.schedule.last_before(instant)
        window = None if tick is None else window_over(self.blackouts, tick)
        holds = window is not None and window.policy is BlackoutPolicy.HOLD and window.end > instant
        return window.end if window is not None and holds else None

    def _stretches(self, after: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, bool]]:
        """Yield the times that blackouts cover, from a start to an end, and whether they hold; none touches another."""
        windows = sorted(self._windows(after, until), key=lambda window: window.start)
        while windows:
            first = windows.pop(0)
            end, holds = first.end, first.policy is BlackoutPolicy.HOLD
            while windows and windows[0].start <= end:
                more = windows.pop(0)
                end, holds = max(end, more.end), holds or more.policy is BlackoutPolicy.HOLD
            yield first.start, end, holds

    def _windows(self, after: datetime, until: datetime) -> Iterator[Window]:
        for blackout in self.blackouts:
            is_open = window_at(blackout, after)
            yield from islice(chain([is_open] if is_open else [], windows_between(blackout, after, until)), WINDOWS_MAX)
