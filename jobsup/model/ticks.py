"""What a scheduler decides of due jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobsup.model.jobs import JobSpec, ScheduleSpec
from jobsup.model.policies import CatchUp
from jobsup.model.sets import BlackoutSpec
from jobsup.model.states import Reason


@dataclass(frozen=True, slots=True)
class TickRules:
    """What decides when a job ticks and which of its ticks run: of its definition no more, so that many jobs share it.

    The words are those of `JobSpec`.
    """

    schedule: ScheduleSpec
    catch_up: CatchUp
    catch_up_limit: int
    misfire_grace: timedelta | None
    jitter: timedelta
    tags: tuple[str, ...]
    queue: str

    @classmethod
    def of(cls, spec: JobSpec) -> TickRules:
        """Take them out of a whole definition."""
        return cls(
            spec.schedule,
            spec.catch_up,
            spec.catch_up_limit,
            spec.misfire_grace,
            spec.jitter,
            spec.tags,
            spec.queue,
        )


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job whose tick has come, with all that the decision needs."""

    job_id: int
    name: str
    rules: TickRules
    next_run: datetime
    blackouts: tuple[BlackoutSpec, ...] = ()
    """Those of its definition set that are meant for it."""
    paused_at: datetime | None = None
    paused_until: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        return self.rules.tags

    @property
    def queue(self) -> str:
        return self.rules.queue


@dataclass(frozen=True, slots=True)
class Skip:
    """A counted range of ticks that do not run, and why."""

    first: datetime
    last: datetime
    count: int
    reason: Reason
    text: str | None = None
    """More about it for a person: who paused the job, and why."""


@dataclass(frozen=True, slots=True)
class TickPlan:
    """What the scheduler decided for one due job; applied only if the job's `next_run` is still the one it saw."""

    job_id: int
    seen_next_run: datetime
    next_run: datetime | None
    runs: tuple[datetime, ...] = ()
    skips: tuple[Skip, ...] = ()
    starts: dict[datetime, datetime] = field(default_factory=dict)
    """Of `runs` that start later than at once, by jitter or a blackout: when."""
    held: frozenset[datetime] = frozenset()
    """Of `runs`, those that wait for the end of a blackout: of several of a job that end together one runs."""
    notes: dict[datetime, str] = field(default_factory=dict)
    """Of `runs`, what is special about them."""
    zone_fingerprint: str | None = None
    """Which rules of time zones `next_run` was computed with."""

    def of(self, job_id: int) -> TickPlan:
        """Return the same decision for another job."""
        return TickPlan(
            job_id,
            self.seen_next_run,
            self.next_run,
            self.runs,
            self.skips,
            self.starts,
            self.held,
            self.notes,
            self.zone_fingerprint,
        )

    @property
    def is_plain(self) -> bool:
        """Tell whether it is one run and nothing else."""
        return len(self.runs) == 1 and not self.skips


@dataclass(frozen=True, slots=True)
class Lease:
    """A term of leadership this process holds."""

    holder: str
    epoch: int
    until: datetime
