"""Blackout windows: the times in which a job does not start, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Protocol

from jobsup.clock import rfc3339
from jobsup.model import BlackoutPolicy, BlackoutSpec
from jobsup.schedule.compiler import compile  # noqa: A004 - schedules are compiled

WINDOWS_JOINED_MAX = 1000
"""Windows that follow each other without a break are one, up to so many."""


class Named(Protocol):
    """What a blackout can name a job by."""

    @property
    def name(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def queue(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Window:
    """A blackout that covers an instant: [start, end).

    `end` is where the job may start again: windows of it that overlap or touch count as one.
    """

    name: str
    policy: BlackoutPolicy
    start: datetime
    end: datetime

    @property
    def words(self) -> str:
        return f'blackout "{self.name}" until {rfc3339(self.end)}'


def blackout_at(blackouts: Sequence[BlackoutSpec], job: Named, instant: datetime) -> Window | None:
    """Return the window that covers a job's tick, None when it may run.

    Where several do, one whose policy is `skip` decides; else it is the one that ends last.
    """
    return window_over([blackout for blackout in blackouts if covers(blackout, job)], instant)


def window_over(ours: Sequence[BlackoutSpec], instant: datetime) -> Window | None:
    """Return what `blackout_at` does, of blackouts that are all meant for the job."""
    found = [window for blackout in ours if (window := window_at(blackout, instant))]
    if not found:
        return None
    first = max(found, key=lambda window: (window.policy is BlackoutPolicy.SKIP, window.end))
    return Window(first.name, first.policy, first.start, _end(ours, first.end))


def covers(blackout: BlackoutSpec, job: Named) -> bool:
    """Tell whether a blackout is meant for a job: any of its three lists names it, or all are empty."""
    if not (blackout.jobs or blackout.tags or blackout.queues):
        return True
    return (
        any(fnmatchcase(job.name, pattern) for pattern in blackout.jobs)
        or not set(blackout.tags).isdisjoint(job.tags)
        or job.queue in blackout.queues
    )


def window_at(blackout: BlackoutSpec, instant: datetime) -> Window | None:
    """Return the window of one blackout that covers an instant."""
    if blackout.start is not None and blackout.end is not None:
        return _window(blackout, blackout.start, blackout.end) if blackout.start <= instant < blackout.end else None
    if blackout.schedule is None or blackout.duration is None:
        return None
    schedule = compile(blackout.schedule, name=blackout.name)
    start = None if schedule is None else schedule.last_before(instant)
    if start is None or instant >= start + blackout.duration:
        return None
    return _window(blackout, start, start + blackout.duration)


def windows_between(blackout: BlackoutSpec, after: datetime, until: datetime) -> Iterator[Window]:
    """Yield the windows of one blackout that begin in (after, until]."""
    if blackout.start is not None and blackout.end is not None:
        if after < blackout.start <= until:
            yield _window(blackout, blackout.start, blackout.end)
        return
    if blackout.schedule is None or blackout.duration is None:
        return
    schedule = compile(blackout.schedule, name=blackout.name)
    start = None if schedule is None else schedule.next_after(after)
    while schedule is not None and start is not None and start <= until:
        yield _window(blackout, start, start + blackout.duration)
        start = schedule.next_after(start)


def ends(blackout: BlackoutSpec, instant: datetime) -> bool:
    """Tell whether a window open at `instant` closes at all; a schedule may open the next before each has ended."""
    return window_at(blackout, _end([blackout], instant)) is None


def _end(blackouts: Sequence[BlackoutSpec], end: datetime) -> datetime:
    """Follow windows that overlap or touch to the end of the last."""
    for _ in range(WINDOWS_JOINED_MAX):
        later = [window.end for blackout in blackouts if (window := window_at(blackout, end))]
        if not later:
            return end
        end = max(later)
    return end


def _window(blackout: BlackoutSpec, start: datetime, end: datetime) -> Window:
    return Window(blackout.name, blackout.policy, start.astimezone(UTC), end.astimezone(UTC))
