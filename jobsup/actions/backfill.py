"""Running a job for the ticks of a time gone by: which of them, and not more at once than is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from jobsup.clock import rfc3339
from jobsup.errors import ConflictError, UsageError
from jobsup.schedule import Schedule
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import MOMENT
from jobsup.store import backfills, jobs
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts

LIMIT_DEFAULT = 1000
LIMIT_MAX = 100_000
"""Runs that one command may make."""
WALK_STEP = 1000
"""Ticks whose runs are looked up in one query."""
WALKED_MAX = 1_000_000
"""Ticks looked at in one command."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a time gone by comes to, for one job."""

    job: JobFacts
    start: datetime
    end: datetime
    ticks: tuple[datetime, ...]
    """Those that want a run, the oldest first."""
    done: int
    """Those that have one."""
    left: int
    """Ticks after the last one looked at: more than the limit takes."""


def survey(database: Database, name: str, start: datetime, end: datetime | None, *, limit: int) -> Range:
    """Find the ticks in [start, end] of the job's present schedule that have not run, at most `limit` of them.

    Raises NotFoundError; UsageError for a time that is not past, ConflictError for a job that has no ticks.
    """
    facts = jobs.get_job(database, name)
    schedule = _schedule(facts)
    now = database.now()
    until = _until(facts, now, end)
    if start > until:
        raise UsageError(f"nothing lies between {rfc3339(start)} and {rfc3339(until)}: a backfill fills in the past")
    found: list[datetime] = []
    looked = done = 0
    last = start - MOMENT
    for step in _steps(schedule, start, until):
        has_run = backfills.done(database, facts.job_id, step[0], step[-1])
        for tick in step:
            if len(found) >= limit:
                break
            looked, last = looked + 1, tick
            if tick in has_run:
                done += 1
            else:
                found.append(tick)
        if len(found) >= limit or looked >= WALKED_MAX:
            break
    return Range(facts, start, until, tuple(found), done, schedule.count_between(last, until))


def fill(database: Database, found: Range, *, by: str, max_parallel: int) -> list[int]:
    """Make the runs; returns their ids."""
    return backfills.create(database, found.job.job_id, found.ticks, requested_by=by, max_parallel=max_parallel)


def cancel(database: Database, name: str, by: str) -> int:
    """End what waits of a job's backfills; returns how many."""
    return backfills.cancel(database, jobs.get_job(database, name).job_id, by)


def _schedule(facts: JobFacts) -> Schedule:
    if facts.retired_at is not None:
        raise ConflictError(f'job "{facts.name}" was removed from its file at {rfc3339(facts.retired_at)}')
    schedule = compile_schedule(facts.spec.schedule, name=facts.name)
    if schedule is None:
        raise ConflictError(f'job "{facts.name}" has no schedule, so no tick of it can be filled in')
    return schedule


def _until(facts: JobFacts, now: datetime, end: datetime | None) -> datetime:
    """Leave to the scheduler what it has not decided on yet."""
    if end is not None and end > now:
        raise UsageError(f"--to {rfc3339(end)} has not come yet: a backfill fills in the past")
    until = now if end is None else end
    undecided = facts.next_run is not None and facts.next_run <= until
    return facts.next_run - MOMENT if undecided and facts.next_run is not None else until


def _steps(schedule: Schedule, start: datetime, until: datetime) -> Iterator[list[datetime]]:
    ticks = _ticks(schedule, start, until)
    while step := list(islice(ticks, WALK_STEP)):
        yield step


def _ticks(schedule: Schedule, start: datetime, until: datetime) -> Iterator[datetime]:
    tick = schedule.next_after(start - MOMENT)
    while tick is not None and tick <= until:
        yield tick
        tick = schedule.next_after(tick)
