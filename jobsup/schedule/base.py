"""What every schedule can answer, whatever its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from jobsup.errors import ScheduleError
from jobsup.model import Skip

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_MIN = -62_135_596_800
"""0001-01-01T00:00:00Z as seconds since 1970, the first instant a `datetime` can hold."""
SECOND_MAX = 253_402_300_799
"""9999-12-31T23:59:59Z, the last whole second a `datetime` can hold."""
DAY_SECONDS = 86_400
MOMENT = timedelta(microseconds=1)
"""The smallest step of an instant: (t - MOMENT, u] is [t, u]."""


class Schedule(ABC):
    """A set of instants, in ascending order, that depends on nothing but its definition.

    Every method takes aware instants of any offset and answers in UTC; a naive one is a ScheduleError.
    The answers are pure: the same question has the same answer in every process.
    """

    is_reboot = False
    """True for `@reboot`, which never fires by time: the supervisor's start is its only tick."""

    @abstractmethod
    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first tick strictly after `instant`; None means never again."""

    @abstractmethod
    def last_before(self, instant: datetime) -> datetime | None:
        """Return the latest tick at or before `instant`; None means that there was none."""

    @abstractmethod
    def count_between(self, after: datetime, until: datetime) -> int:
        """Count the ticks in (after, until], without visiting them."""

    def note(self, instant: datetime) -> str | None:
        """Say what a clock change did to the tick at `instant`; None when it did nothing, or there is no tick.

        The same for a calendar that moved it. The text begins with `moved`, `merged` or `repeated`.
        """
        _ = instant
        return None

    def may_have_notes(self, after: datetime, until: datetime) -> bool:
        """Tell, at little cost, whether `note` has anything to say of ticks in (after, until]; true when in doubt."""
        _ = (after, until)
        return False

    def skipped_between(self, after: datetime, until: datetime) -> list[Skip]:
        """Return the ranges of ticks that do not run and end in (after, until], in the order of their ends.

        A range is told whole, though it may begin before `after`: what one call returns, no later one repeats.
        Reasons are DST_GAP (all ticks of a gap are one, at the gap's end) and CALENDAR (a range a day).
        """
        return list(self.skips(after, until))

    def skips(self, after: datetime, until: datetime) -> Iterator[Skip]:
        """Yield what `skipped_between` returns, each when it is asked for."""
        _ = (after, until)
        return iter(())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a careful operator would ask about this schedule."""
        return ()


class SecondSchedule(Schedule):
    """A schedule whose ticks are whole seconds: its kinds count in integer seconds since 1970."""

    def __init__(self) -> None:
        self._memo: tuple[int, int, datetime] = (1, 0, EPOCH)

    @abstractmethod
    def _next(self, after: int) -> int | None:
        """Return the first tick > `after`."""

    @abstractmethod
    def _last(self, at: int) -> int | None:
        """Return the latest tick <= `at`."""

    @abstractmethod
    def _count(self, after: int, until: int) -> int:
        """Count the ticks in (after, until]."""

    def next_after(self, instant: datetime) -> datetime | None:
        """Remember the last answer: many jobs, and many questions, share one."""
        second = floor_second(instant)
        asked, tick, answer = self._memo
        if asked <= second < tick:
            return answer
        found = self._next(second)
        if found is None or found > SECOND_MAX:
            return None
        answer = to_datetime(found)
        self._memo = (second, found, answer)
        return answer

    def last_before(self, instant: datetime) -> datetime | None:
        found = self._last(floor_second(instant))
        return None if found is None or found < SECOND_MIN else to_datetime(found)

    def count_between(self, after: datetime, until: datetime) -> int:
        first, last = floor_second(after), floor_second(until)
        return self._count(first, last) if first < last else 0


def since_epoch(instant: datetime) -> timedelta:
    """Return the time since 1970 in UTC; a naive instant has none."""
    if instant.tzinfo is None or (since := _difference(instant)) is None:
        raise ScheduleError(f"{instant.isoformat()} has no offset; give an instant with one, like ...T08:00:00Z")
    return since


def floor_second(instant: datetime) -> int:
    """Return the whole seconds since 1970 that have passed at `instant`."""
    since = since_epoch(instant)
    return since.days * DAY_SECONDS + since.seconds


def to_datetime(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


def _difference(instant: datetime) -> timedelta | None:
    try:
        return instant - EPOCH
    except TypeError:  # a tzinfo that knows no offset is as good as none
        return None
