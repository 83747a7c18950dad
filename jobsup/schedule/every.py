"""Intervals of real time: an anchor, and every so often after it."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobsup.errors import ScheduleError
from jobsup.schedule.base import EPOCH, Schedule, since_epoch

EVERY_MIN = timedelta(seconds=1)


class EverySchedule(Schedule):
    """The instants anchor + k * every, k >= 0. It knows no wall clock, so no clock change moves it."""

    def __init__(self, every: timedelta, anchor: datetime | None = None) -> None:
        if every < EVERY_MIN:
            raise ScheduleError(f"every {every.total_seconds():g} s: an interval must be 1 s or longer")
        self.every = every
        self.anchor = EPOCH if anchor is None else EPOCH + since_epoch(anchor)

    def next_after(self, instant: datetime) -> datetime | None:
        since = since_epoch(instant) - (self.anchor - EPOCH)
        return self._tick(max(0, since // self.every + 1))

    def last_before(self, instant: datetime) -> datetime | None:
        since = since_epoch(instant) - (self.anchor - EPOCH)
        return self._tick(since // self.every) if since >= timedelta(0) else None

    def count_between(self, after: datetime, until: datetime) -> int:
        return max(0, self._ticks_until(until) - self._ticks_until(after))

    def _ticks_until(self, instant: datetime) -> int:
        return max(0, (since_epoch(instant) - (self.anchor - EPOCH)) // self.every + 1)

    def _tick(self, number: int) -> datetime | None:
        try:
            return self.anchor + number * self.every
        except OverflowError:  # past the year 9999
            return None
