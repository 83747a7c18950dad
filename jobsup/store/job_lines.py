"""All jobs as a list shows them: what is needed to filter thousands of them, and no definitions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from jobsup.model import Status
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, Job, JobDispatch

_LIVE_MAX = 100_000
"""Runs that wait or run, of which a list tells which jobs they are of."""


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job, without its definition."""

    id: int
    name: str
    set_name: str
    origin: str
    kind: str
    description: str
    queue: str
    pool_key: str | None
    tags: list[str]
    timezone: str
    next_run: datetime | None
    is_active: bool
    retired_at: datetime | None
    paused_at: datetime | None
    paused_until: datetime | None
    paused_by: str | None
    paused_reason: str | None

    def is_paused(self, at: datetime) -> bool:
        return self.paused_at is not None and (self.paused_until is None or at < self.paused_until)


@dataclass(frozen=True, slots=True)
class LiveLine:
    """A run that waits or runs."""

    id: int
    job_id: int
    status: Status
    available_at: datetime
    started_at: datetime | None


def job_lines(database: Database, *, include_retired: bool = False) -> list[JobLine]:
    """Read all jobs by name; retired ones only when asked for."""
    statement = select(*(Job.__table__.c[field.name] for field in fields(JobLine))).order_by(Job.name)
    if not include_retired:
        statement = statement.where(Job.retired_at.is_(None))
    with database.read() as connection:
        return [JobLine(*row) for row in connection.execute(statement)]


def definitions(database: Database, job_ids: list[int]) -> dict[int, dict[str, Any]]:
    """Read the definitions of a page of jobs, as `jobsup.config.document` writes them, by id."""
    with database.read() as connection:
        return dict(connection.execute(select(Job.id, Job.payload).where(Job.id.in_(job_ids))).tuples().all())


def live_lines(database: Database) -> list[LiveLine]:
    """Read the runs that wait or run, the longest waiting first."""
    statement = (
        select(JobDispatch.id, JobDispatch.job_id, JobDispatch.status, JobDispatch.available_at, JobDispatch.started_at)
        .where(LIVE)
        .order_by(JobDispatch.available_at)
        .limit(_LIVE_MAX)
    )
    with database.read() as connection:
        return [
            LiveLine(run_id, job_id, Status(status), available_at, started_at)
            for run_id, job_id, status, available_at, started_at in connection.execute(statement)
        ]
