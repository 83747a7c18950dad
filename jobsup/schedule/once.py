"""Schedules that time does not repeat: one instant, and the supervisor's start."""

from __future__ import annotations

from datetime import datetime

from jobsup.schedule.base import EPOCH, Schedule, since_epoch


class AtSchedule(Schedule):
    """One instant."""

    def __init__(self, at: datetime, note: str | None = None) -> None:
        self.at = EPOCH + since_epoch(at)
        self._note = note

    def next_after(self, instant: datetime) -> datetime | None:
        return self.at if EPOCH + since_epoch(instant) < self.at else None

    def last_before(self, instant: datetime) -> datetime | None:
        return self.at if EPOCH + since_epoch(instant) >= self.at else None

    def count_between(self, after: datetime, until: datetime) -> int:
        return int(EPOCH + since_epoch(after) < self.at <= EPOCH + since_epoch(until))

    def note(self, instant: datetime) -> str | None:
        return self._note if EPOCH + since_epoch(instant) == self.at else None

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        _ = (after, until)
        return self._note is not None


class RebootSchedule(Schedule):
    """`@reboot`: once per start of the supervisor, never by time."""

    is_reboot = True

    def next_after(self, instant: datetime) -> datetime | None:
        _ = instant
        return None

    def last_before(self, instant: datetime) -> datetime | None:
        _ = instant
        return None

    def count_between(self, after: datetime, until: datetime) -> int:
        _ = (after, until)
        return 0
