"""What people want to see: the latest runs, how many are in which state, and whether the schedule keeps up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from jobsup.model import Reason, Source, Status
from jobsup.store import leases, ticks, workers
from jobsup.store.engine import Database
from jobsup.store.leases import LeaderFacts
from jobsup.store.rows import LIVE, Job, JobDispatch, JobExecutionLog, WorkerRegistration
from jobsup.store.workers import WorkerRow

RUNS_LAST_DEFAULT = 50
# More than this is a report, not an overview; SQL serves that better.
RUNS_LAST_MAX = 10_000
# How far back ended runs are counted.
COUNTED = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One attempt, with how it ended if it has."""

    id: int
    job: str
    job_id: int
    status: Status
    reason: Reason
    source: Source
    retry_count: int
    retry_of: int | None
    parent_id: int | None
    """The run whose end started it."""
    scheduled_for: datetime | None
    skipped_until: datetime | None
    skipped_count: int | None
    available_at: datetime
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    deadline_at: datetime | None
    completed_at: datetime | None
    exit_code: int | None
    signal: int | None
    worker_id: str | None
    host: str | None
    """The node it runs or ran on."""
    pid: int | None
    queue: str
    priority: int
    target: str
    requires: str | None
    """The tags that its worker must have, with blanks between."""
    params: dict[str, Any] | None
    requested_by: str | None
    error_message: str | None
    note: str | None
    """What is special about its instant."""
    pool: str | None
    """The pool it takes a place of, with its set: `default/reports`."""
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    output_bytes: int | None
    output_dropped: int | None
    result: str | None
    cpu_user: float | None
    cpu_system: float | None
    max_rss: int | None
    io_read: int | None
    io_write: int | None
    progress: float | None
    progress_text: str | None
    config_hash: str | None
    """Which definition of the job was claimed."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of the whole, as of one moment."""

    at: datetime
    counts: dict[Status, int]
    jobs_active: int
    jobs_paused: int
    next_due: datetime | None
    lag: timedelta
    leader: LeaderFacts | None
    workers: tuple[WorkerRow, ...]
    """Those that are not OFFLINE."""
    standbys: tuple[str, ...] = ()
    """The hosts whose scheduler stands by."""


def runs(
    database: Database,
    *,
    job: str | None = None,
    status: Status | Collection[Status] | None = None,
    since: datetime | None = None,
    last: int = RUNS_LAST_DEFAULT,
    ids: Collection[int] | None = None,
) -> list[RunRow]:
    """Read the newest `last` runs (at most RUNS_LAST_MAX), newest first, of those that meet every condition given.

    `job` is a name; `since` is the earliest instant at which a run was made. An unknown job has no runs.
    """
    statement = _RUNS.order_by(JobDispatch.id.desc()).limit(min(last, RUNS_LAST_MAX))
    if since is not None:
        statement = statement.where(JobDispatch.created_at >= since)
    if ids is not None:
        statement = statement.where(JobDispatch.id.in_(list(ids)))
    if status is not None:
        wanted = {status} if isinstance(status, Status) else set(status)
        statement = statement.where(_in_status(wanted))
    with database.read() as connection:
        if job is not None:
            # The job's own id, and not a join on its name, lets its history be read from the newest on.
            job_id = connection.execute(select(Job.id).where(Job.name == job)).scalar_one_or_none()
            statement = statement.where(JobDispatch.job_id == job_id)
        return [_run(row._asdict()) for row in connection.execute(statement)]


def last_runs(database: Database) -> dict[int, RunRow]:
    """Read the newest run of each job that has one, by job id."""
    newest = (
        select(JobDispatch.id)
        .where(JobDispatch.job_id == Job.id)
        .order_by(JobDispatch.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    with database.read() as connection:
        rows = connection.execute(_RUNS.where(JobDispatch.id.in_(select(newest).select_from(Job))))
        return {row.job_id: _run(row._asdict()) for row in rows}


def counts(database: Database) -> dict[Status, int]:
    """Count all runs that wait or run, and those that ended within COUNTED, for every status (0 where none)."""
    with database.read() as connection:
        return _counts(connection, database.now())


def lag(database: Database) -> timedelta:
    """Return for how long the most overdue tick has waited to be dispatched; zero when none is overdue."""
    return _lag(ticks.next_due_at(database), database.now())


def summary(database: Database) -> Summary:
    """Read all that `status` tells of the database."""
    now = database.now()
    with database.read() as connection:
        found = _counts(connection, now)
        active, paused = _count_jobs(connection, now)
    next_due = ticks.next_due_at(database)
    return Summary(
        at=now,
        counts=found,
        jobs_active=active,
        jobs_paused=paused,
        next_due=next_due,
        lag=_lag(next_due, now),
        leader=leases.current(database),
        workers=tuple(workers.list_workers(database)),
        standbys=tuple(leases.standing_by(database)),
    )


NODE = func.coalesce(
    JobExecutionLog.host,
    select(WorkerRegistration.node)
    .where(WorkerRegistration.worker_id == JobDispatch.worker_id)
    .correlate(JobDispatch)
    .scalar_subquery(),
).label("host")
"""Where a run was written down to have run or, before its end, where its worker is."""

_RUNS: Select[Any] = (
    select(
        JobDispatch.id,
        Job.name.label("job"),
        JobDispatch.job_id,
        JobDispatch.status,
        JobDispatch.reason,
        JobDispatch.source,
        JobDispatch.retry_count,
        JobDispatch.retry_of,
        JobDispatch.parent_id,
        JobDispatch.scheduled_for,
        JobDispatch.skipped_until,
        JobDispatch.skipped_count,
        JobDispatch.available_at,
        JobDispatch.created_at,
        JobDispatch.claimed_at,
        JobDispatch.started_at,
        JobDispatch.deadline_at,
        JobDispatch.completed_at,
        JobExecutionLog.exit_code,
        JobExecutionLog.signal,
        JobDispatch.worker_id,
        NODE,
        JobExecutionLog.pid,
        JobDispatch.queue,
        JobDispatch.priority,
        JobDispatch.target,
        JobDispatch.requires,
        JobDispatch.params,
        JobDispatch.requested_by,
        JobDispatch.error_message,
        JobDispatch.note,
        JobDispatch.pool_key.label("pool"),
        JobDispatch.cancel_requested_at,
        JobDispatch.cancel_requested_by,
        JobExecutionLog.output_bytes,
        JobExecutionLog.output_dropped,
        JobExecutionLog.result,
        JobExecutionLog.cpu_user,
        JobExecutionLog.cpu_system,
        JobExecutionLog.max_rss,
        JobExecutionLog.io_read,
        JobExecutionLog.io_write,
        JobDispatch.progress,
        JobDispatch.progress_text,
        JobDispatch.config_hash,
    )
    .join(Job, Job.id == JobDispatch.job_id)
    .outerjoin(JobExecutionLog, JobExecutionLog.dispatch_id == JobDispatch.id)
)


def _in_status(wanted: Collection[Status]) -> ColumnElement[bool]:
    matches = JobDispatch.status.in_(sorted(wanted))
    return matches if any(status.is_terminal for status in wanted) else LIVE & matches


def _run(columns: dict[str, Any]) -> RunRow:
    columns["status"] = Status(columns["status"])
    columns["reason"] = Reason(columns["reason"])
    columns["source"] = Source(columns["source"])
    return RunRow(**columns)


def _counts(connection: Connection, now: datetime) -> dict[Status, int]:
    found = dict.fromkeys(Status, 0)
    for which in (LIVE, JobDispatch.completed_at >= now - COUNTED):
        # Both are answered from an index alone, however many runs the table holds.
        rows = connection.execute(select(JobDispatch.status, func.count()).where(which).group_by(JobDispatch.status))
        found.update((Status(status), count) for status, count in rows)
    return found


def _count_jobs(connection: Connection, now: datetime) -> tuple[int, int]:
    is_paused = Job.paused_at.is_not(None) & (Job.paused_until.is_(None) | (Job.paused_until > now))
    active, paused = connection.execute(
        select(func.count(), func.count().filter(is_paused)).select_from(Job).where(Job.is_active)
    ).one()
    return active, paused


def _lag(next_due: datetime | None, now: datetime) -> timedelta:
    return timedelta() if next_due is None else max(timedelta(), now - next_due)
