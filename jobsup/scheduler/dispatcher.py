"""Due jobs become dispatches: read a chunk, plan it, write it in one transaction, wake workers, go on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobsup.errors import JobsupError
from jobsup.events import emit
from jobsup.model import DueJob, Lease, TickPlan
from jobsup.runtime import failpoints
from jobsup.schedule import compile as compile_schedule
from jobsup.scheduler import planner
from jobsup.scheduler.watch import Watch
from jobsup.store import ticks
from jobsup.store.engine import Database

DISPATCH_CHUNK_SIZE = 2000
"""Jobs planned and written in one transaction, which keeps other writers waiting for some 50 ms."""
FIRST_CHUNK_SIZE = 32
"""Of very many that are due at once, so few first: the next chunks are each four times as large."""
CHUNKS_PER_PASS_MAX = 40
"""After this many chunks the loop gets a turn: signs of life, the lease, messages."""
BROKEN_RETRY = timedelta(hours=1)
"""A job whose schedule cannot be computed (its zone is gone from this host) is looked at again after this."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one call of `dispatch_due` came to."""

    dispatched: int
    skipped: int
    is_whole: bool
    """False: more is due than one pass takes."""


def dispatch_due(database: Database, lease: Lease, watch: Watch) -> Pass:
    """Dispatch everything that is due, never a tick before its instant.

    The watch is asked with the very instant that a chunk is planned for: a clock that was set ahead, or a machine that
    slept, since the loop last looked must not make what was missed look on time.
    Raises LeaseLostError when the term is over, DatabaseError when the database does not answer; what was
    written until then stands.
    """
    dispatched = skipped = 0
    size = FIRST_CHUNK_SIZE
    for _ in range(CHUNKS_PER_PASS_MAX):
        jobs = ticks.due(database, size)
        if not jobs:
            return Pass(dispatched, skipped, is_whole=True)
        emit("dispatch.found", f"Found {len(jobs)} due jobs to dispatch", count=len(jobs))
        now = database.now()
        watch.look(now)
        plans = _plan_all(jobs, now, watch)
        failpoints.reach("scheduler.before_dispatch")
        done = ticks.dispatch(database, lease, plans)
        failpoints.reach("scheduler.after_dispatch")
        _tell(jobs, plans)
        dispatched += done.count
        skipped += done.skipped
        if len(jobs) < size and not done.stale:
            return Pass(dispatched, skipped, is_whole=True)
        size = min(4 * size, DISPATCH_CHUNK_SIZE)
    return Pass(dispatched, skipped, is_whole=False)


def _plan_all(jobs: list[DueJob], now: datetime, watch: Watch) -> list[TickPlan]:
    """Plan each job, and of those that come due alike one for all; one that cannot be planned holds up no other."""
    shared: dict[tuple[int, datetime], TickPlan] = {}
    plans: list[TickPlan] = []
    for job in jobs:
        alike = (id(job.rules), job.next_run)  # equal rules are one object for as long as the jobs are here
        is_shared = job.paused_at is None and not job.blackouts
        if is_shared and (known := shared.get(alike)) is not None:
            plans.append(known.of(job.job_id))
            continue
        try:
            plans.append(_plan(job, now, watch))
        except (JobsupError, ArithmeticError, LookupError, ValueError) as error:
            plans.append(_broken(job, now, error))
        else:
            if is_shared and not planner.minds_its_name(job):
                shared[alike] = plans[-1]
    return plans


def _plan(job: DueJob, now: datetime, watch: Watch) -> TickPlan:
    schedule = compile_schedule(job.rules.schedule, name=job.name)
    return planner.plan(job, schedule, now=now, watched_since=watch.since or now, down_since=watch.down_since)


def _broken(job: DueJob, now: datetime, error: Exception) -> TickPlan:
    text = f'job "{job.name}": its ticks cannot be computed, trying again in an hour: {error}'
    emit("dispatch.broken", text, level=logging.ERROR, job=job.name, error=repr(error))
    return TickPlan(job.job_id, job.next_run, now + BROKEN_RETRY)


def _tell(jobs: list[DueJob], plans: list[TickPlan]) -> None:
    for job, decided in zip(jobs, plans, strict=True):
        for skip in decided.skips:
            emit(
                "dispatch.skipped",
                f'Skipped {skip.count} tick{"s" * (skip.count > 1)} of job "{job.name}": {skip.reason}',
                level=logging.DEBUG,
                job=job.name,
                reason=skip.reason,
                count=skip.count,
            )
