"""What the jobs of a definition set share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobsup.model.jobs import NamedCalendar, ScheduleSpec
from jobsup.model.policies import BlackoutPolicy


@dataclass(frozen=True, slots=True)
class BlackoutSpec:
    """A time in which jobs do not start: once, from an instant until another, or by a schedule for a duration.

    It covers the jobs that any of `jobs`, `tags` and `queues` names; when all three are empty it covers all.
    """

    name: str
    start: datetime | None = None
    """With `end`: the window is [start, end)."""
    end: datetime | None = None
    schedule: ScheduleSpec | None = None
    """With `duration`: a window begins with each of its ticks."""
    duration: timedelta | None = None
    jobs: tuple[str, ...] = ()
    """Names, with `*` and `?` standing for any characters and any one."""
    tags: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    policy: BlackoutPolicy = BlackoutPolicy.HOLD


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A resource that so many runs may use at a time."""

    name: str
    places: int


@dataclass(frozen=True, slots=True)
class SetSpec:
    """What the jobs of a definition set share; each in the order of its names."""

    calendars: tuple[NamedCalendar, ...] = ()
    blackouts: tuple[BlackoutSpec, ...] = ()
    pools: tuple[PoolSpec, ...] = ()
