"""What people want to see: the latest runs, how many are in which state, and whether the schedule keeps up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, select

from jobsup.model import Status
from jobsup.store import leases, ticks, workers
from jobsup.store.engine import Database
from jobsup.store.leases import LeaderFacts
from jobsup.store.rows import LIVE, Job, JobDispatch
from jobsup.store.run_rows import ROWS, RunRow, read_as
from jobsup.store.workers import WorkerRow

RUNS_LAST_DEFAULT = 50
# More than this is a report, not an overview; SQL serves that better.
RUNS_LAST_MAX = 10_000
# How far back ended runs are counted.
COUNTED = timedelta(hours=24)


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
    statement = ROWS.order_by(JobDispatch.id.desc()).limit(min(last, RUNS_LAST_MAX))
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
        return [read_as(RunRow, row) for row in connection.execute(statement)]


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
        rows = connection.execute(ROWS.where(JobDispatch.id.in_(select(newest).select_from(Job))))
        return {row.job_id: read_as(RunRow, row) for row in rows}


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


def _in_status(wanted: Collection[Status]) -> ColumnElement[bool]:
    matches = JobDispatch.status.in_(sorted(wanted))
    return matches if any(status.is_terminal for status in wanted) else LIVE & matches


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
