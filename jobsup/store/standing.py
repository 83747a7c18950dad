"""Where jobs stand: how the last runs of each ended, which of them fail and since when, how long they usually take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import func, select

from jobsup.model import Reason, Status
from jobsup.store.definitions import IN_LIST_MAX
from jobsup.store.engine import Database
from jobsup.store.job_states import RAN, of_last_that_ran
from jobsup.store.rows import Job, JobDispatch

STRIP_RUNS = 30
"""The last runs of a job that are drawn beside its name."""
STREAK_MAX = 1000
"""A streak of failures longer than this is told as `at least`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One run in a job's strip."""

    id: int
    status: Status
    reason: Reason
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime

    @property
    def took(self) -> timedelta | None:
        if self.started_at is None or self.completed_at is None:
            return None
        return self.completed_at - self.started_at


@dataclass(frozen=True, slots=True)
class Streak:
    """A job's failures since its last success."""

    job_id: int
    first_id: int
    first_at: datetime
    last_id: int
    last_at: datetime
    last_status: Status
    last_reason: Reason
    last_error: str | None
    count: int


def strips(database: Database, job_ids: Collection[int], *, runs: int = STRIP_RUNS) -> dict[int, tuple[Mark, ...]]:
    """Read the last runs of some jobs, the oldest first."""
    found: dict[int, tuple[Mark, ...]] = {}
    ordered = sorted(job_ids)
    oldest = (
        select(JobDispatch.id)
        .where(JobDispatch.job_id == Job.id)
        .order_by(JobDispatch.id.desc())
        .limit(1)
        .offset(runs - 1)
        .correlate(Job)
        .scalar_subquery()
    )
    run = JobDispatch.__table__.alias("run")
    with database.read() as connection:
        for some in _portions(ordered):
            rows = connection.execute(
                select(
                    run.c.job_id,
                    run.c.id,
                    run.c.status,
                    run.c.reason,
                    run.c.started_at,
                    run.c.completed_at,
                    run.c.created_at,
                )
                .select_from(Job)
                .join(run, (run.c.job_id == Job.id) & (run.c.id >= func.coalesce(oldest, 0)))
                .where(Job.id.in_(some))
                .order_by(run.c.job_id, run.c.id)
            )
            for job_id, group in groupby(rows, key=lambda row: row[0]):
                found[job_id] = tuple(Mark(row[1], _STATUSES[row[2]], _REASONS[row[3]], *row[4:]) for row in group)
    return found


def failing(database: Database) -> list[int]:
    """Return the ids of the jobs whose newest run that went to its end failed, the latest failed first."""
    run = JobDispatch.__table__.alias("run")
    statement = (
        select(run.c.job_id)
        .select_from(Job)
        .join(run, run.c.id == of_last_that_ran(JobDispatch.id))
        .where(Job.retired_at.is_(None), run.c.status != Status.COMPLETED)
        .order_by(run.c.completed_at.desc())
    )
    with database.read() as connection:
        return list(connection.execute(statement).scalars())


def streaks(database: Database, job_ids: Sequence[int]) -> list[Streak]:
    """Read the failures since the last success of each job that has any, the latest failed first."""
    found = []
    with database.read() as connection:
        for job_id in job_ids:
            rows = connection.execute(
                select(
                    JobDispatch.id,
                    JobDispatch.status,
                    JobDispatch.reason,
                    JobDispatch.completed_at,
                    JobDispatch.error_message,
                )
                .where(JobDispatch.job_id == job_id, RAN)
                .order_by(JobDispatch.id.desc())
                .limit(STREAK_MAX)
            )
            failures = []
            for row in rows:
                if row.status == Status.COMPLETED:
                    break
                failures.append(row)
            if failures:
                last, first = failures[0], failures[-1]
                found.append(
                    Streak(
                        job_id,
                        first.id,
                        first.completed_at,
                        last.id,
                        last.completed_at,
                        Status(last.status),
                        Reason(last.reason),
                        last.error_message,
                        len(failures),
                    )
                )
    return sorted(found, key=lambda streak: streak.last_at, reverse=True)


def usual(marks: Sequence[Mark], quantile: float = 0.5) -> timedelta | None:
    """Return how long a job's runs that went well take: the median, or another quantile; None when none has."""
    took = sorted(mark.took for mark in marks if mark.status is Status.COMPLETED and mark.took is not None)
    return took[min(len(took) - 1, int(len(took) * quantile))] if took else None


# Thousands of marks are read for one page: a look into a dict takes a third of what the enum's own call does.
_STATUSES = {str(status): status for status in Status}
_REASONS = {str(reason): reason for reason in Reason}


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), IN_LIST_MAX):
        yield ids[start : start + IN_LIST_MAX]
