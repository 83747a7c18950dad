"""How many runs ended in each of some neighbouring stretches of time, by status."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import func, select

from jobsup.model import Status
from jobsup.store.engine import Database
from jobsup.store.rows import JobDay, JobDispatch

Tally = Mapping[Status, int]

_COUNTED = (Status.COMPLETED, Status.FAILED, Status.TIMEOUT, Status.CANCELLED, Status.SKIPPED)
RUNS_OF_JOB_MAX = 100_000
"""Runs of one job that are counted, the newest ones."""


def first_end(database: Database) -> datetime | None:
    """Return when the first run that is still known ended; None: none has."""
    with database.read() as connection:
        return connection.execute(
            select(JobDispatch.completed_at)
            .where(JobDispatch.completed_at.is_not(None))
            .order_by(JobDispatch.completed_at)
            .limit(1)
        ).scalar_one_or_none()


def of_days(database: Database, first: date, end: date, *, job_id: int | None = None) -> dict[date, Tally]:
    """Return what is counted of the days in [first, end), of one job or of all; days without an end are left out.

    A day is whole once `job_days.counted_until` has passed it; its counts stay when its runs are deleted.
    """
    sums = [func.sum(column) for column in (JobDay.completed, JobDay.failed, JobDay.timed_out)]
    sums += [func.sum(JobDay.cancelled), func.sum(JobDay.skipped)]
    statement = select(JobDay.day, *sums).where(JobDay.day >= first, JobDay.day < end).group_by(JobDay.day)
    if job_id is not None:
        statement = statement.where(JobDay.job_id == job_id)
    with database.read() as connection:
        return {
            day: {status: int(count) for status, count in zip(_COUNTED, counts, strict=True) if count}
            for day, *counts in connection.execute(statement)
        }


def ended(database: Database, bounds: Sequence[tuple[datetime, datetime]]) -> list[Tally]:
    """Count the runs of all jobs that ended in each [start, end)."""
    found: list[Tally] = []
    with database.read() as connection:
        for start, end in bounds:
            rows = connection.execute(
                select(JobDispatch.status, func.count())
                .where(
                    JobDispatch.completed_at.is_not(None),
                    JobDispatch.completed_at >= start,
                    JobDispatch.completed_at < end,
                )
                .group_by(JobDispatch.status)
            )
            found.append({Status(status): count for status, count in rows})
    return found


def ended_of(database: Database, job_id: int, bounds: Sequence[tuple[datetime, datetime]]) -> list[Tally]:
    """Count the runs of one job in the same way; `bounds` follow each other without a gap."""
    if not bounds:
        return []
    statement = (
        select(JobDispatch.completed_at, JobDispatch.status)
        .where(JobDispatch.job_id == job_id)
        .order_by(JobDispatch.id.desc())
        .limit(RUNS_OF_JOB_MAX)
    )
    counts: list[Counter[Status]] = [Counter() for _ in bounds]
    starts = [start for start, _ in bounds]
    with database.read() as connection:
        for at, status in connection.execute(statement):
            if at is not None and starts[0] <= at < bounds[-1][1]:
                counts[bisect_right(starts, at) - 1][Status(status)] += 1
    return list(counts)
