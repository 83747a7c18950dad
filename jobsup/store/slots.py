"""Which attempts belong to an instant, to a run, or to now: the ids behind `why`, `logs` and `run --wait`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select

from jobsup.model import Source, Status
from jobsup.store.engine import Database
from jobsup.store.rows import WAITING, Job, JobDependency, JobDispatch, JobPool, aliased

ATTEMPTS_MAX = 10_000
"""More attempts than one tick can have: only a bound for the walk along them."""
FOLLOWERS_MAX = 1000
RUNNING: ColumnElement[bool] = JobDispatch.status == literal_column(f"'{Status.IN_PROGRESS}'")


def at_instant(database: Database, job_id: int, instant: datetime) -> int | None:
    """Return the row of a job's tick, or the SKIPPED row whose range of ticks holds it; the last one, if several."""
    tick = JobDispatch.scheduled_for
    covers = (tick <= instant) & (JobDispatch.skipped_until >= instant)
    statement = (
        select(JobDispatch.id)
        .where(JobDispatch.job_id == job_id, JobDispatch.source == Source.SCHEDULE, or_(tick == instant, covers))
        .order_by(tick.desc(), JobDispatch.id.desc())
        .limit(1)
    )
    return _one(database, statement)


def beside(database: Database, dispatch_id: int) -> list[int]:
    """Return the rows of the same tick of the same job, one for each host it was due on, by host."""
    tick = aliased(JobDispatch)
    statement = (
        select(JobDispatch.id)
        .join(tick, and_(tick.job_id == JobDispatch.job_id, tick.scheduled_for == JobDispatch.scheduled_for))
        .where(tick.id == dispatch_id, tick.target != "", JobDispatch.target != "")
        .where(JobDispatch.source == Source.SCHEDULE, tick.source == Source.SCHEDULE)
        .order_by(JobDispatch.target)
    )
    with database.read() as connection:
        return list(connection.execute(statement).scalars())


def latest(database: Database, job_id: int, *, started: bool = False) -> int | None:
    """Return a job's newest row, or the newest whose process was started."""
    statement = select(JobDispatch.id).where(JobDispatch.job_id == job_id).order_by(JobDispatch.id.desc()).limit(1)
    if started:
        statement = statement.where(JobDispatch.started_at.is_not(None))
    return _one(database, statement)


def latest_to_follow(database: Database, job_id: int) -> int | None:
    """Return a job's newest row that has printed, prints, or will."""
    statement = (
        select(JobDispatch.id)
        .where(
            JobDispatch.job_id == job_id,
            JobDispatch.status != Status.SKIPPED,
            or_(JobDispatch.started_at.is_not(None), JobDispatch.completed_at.is_(None)),
        )
        .order_by(JobDispatch.id.desc())
        .limit(1)
    )
    return _one(database, statement)


def attempts(database: Database, dispatch_id: int) -> list[int]:
    """Return the ids of all attempts a run is one of, the first attempt first."""
    chain = [dispatch_id]
    with database.read() as connection:
        for _ in range(ATTEMPTS_MAX):
            earlier = select(JobDispatch.retry_of).where(JobDispatch.id == chain[0])
            found = connection.execute(earlier).scalar_one_or_none()
            if found is None:
                break
            chain.insert(0, found)
        for _ in range(ATTEMPTS_MAX):
            later = select(JobDispatch.id).where(JobDispatch.retry_of == chain[-1])
            found = connection.execute(later).scalar_one_or_none()
            if found is None:
                break
            chain.append(found)
    return chain


def holder(database: Database, dispatch_id: int) -> int | None:
    """Return the run in progress that a waiting one has to wait for, because only one of them may run."""
    key = select(JobDispatch.concurrency_key).where(JobDispatch.id == dispatch_id).scalar_subquery()
    statement = select(JobDispatch.id).where(
        JobDispatch.concurrency_key == key, JobDispatch.status == Status.IN_PROGRESS, JobDispatch.id != dispatch_id
    )
    return _one(database, statement)


def filled_in(database: Database, job_id: int, instant: datetime) -> int | None:
    """Return the run that a backfill made for a job's tick; the newest, if the others were cancelled."""
    statement = (
        select(JobDispatch.id)
        .where(
            JobDispatch.job_id == job_id, JobDispatch.source == Source.BACKFILL, JobDispatch.scheduled_for == instant
        )
        .order_by(JobDispatch.id.desc())
        .limit(1)
    )
    return _one(database, statement)


def followers(database: Database, dispatch_id: int) -> list[tuple[int, str]]:
    """Return the runs that the end of a run started, each with its job's name."""
    statement = (
        select(JobDispatch.id, Job.name)
        .join(Job, Job.id == JobDispatch.job_id)
        .where(JobDispatch.parent_id == dispatch_id, JobDispatch.source == Source.DEPENDENCY)
        .order_by(JobDispatch.id)
        .limit(FOLLOWERS_MAX)
    )
    with database.read() as connection:
        return [(row.id, row.name) for row in connection.execute(statement)]


def pool_users(database: Database, dispatch_id: int) -> tuple[int, list[int]] | None:
    """Return the places of the pool that a waiting run needs, and who has them; None when it needs none."""
    mine = select(JobPool.key, JobPool.places).join(JobDispatch, JobDispatch.pool_key == JobPool.key)
    with database.read() as connection:
        pool = connection.execute(mine.where(JobDispatch.id == dispatch_id)).one_or_none()
        if pool is None:
            return None
        users = select(JobDispatch.id).where(JobDispatch.pool_key == pool.key, RUNNING).order_by(JobDispatch.id)
        return pool.places, list(connection.execute(users).scalars())


def ahead(database: Database, dispatch_id: int) -> int:
    """Count the runs that can be claimed and stand before a waiting one, on whatever queue."""
    me = aliased(JobDispatch)
    rank = select(me.claim_rank).where(me.id == dispatch_id).scalar_subquery()
    statement = select(func.count()).where(
        WAITING, JobDispatch.available_at <= database.now(), JobDispatch.claim_rank < rank
    )
    with database.read() as connection:
        return connection.execute(statement).scalar_one()


def dependents(database: Database, job_id: int) -> list[str]:
    """Return the names of the jobs that the ends of one start."""
    statement = (
        select(Job.name)
        .join(JobDependency, JobDependency.job_id == Job.id)
        .where(JobDependency.upstream_id == job_id, Job.is_active)
        .order_by(Job.name)
    )
    with database.read() as connection:
        return list(connection.execute(statement).scalars())


def ends_seen(database: Database, job_id: int) -> list[tuple[str, int | None]]:
    """Return the jobs that one waits for, each with the run whose end has been seen since its last such start."""
    statement = (
        select(Job.name, JobDependency.ended_by)
        .join(Job, Job.id == JobDependency.upstream_id)
        .where(JobDependency.job_id == job_id)
        .order_by(Job.name)
    )
    with database.read() as connection:
        return [(row.name, row.ended_by) for row in connection.execute(statement)]


def _one(database: Database, statement: Select[tuple[int]]) -> int | None:
    with database.read() as connection:
        return connection.execute(statement).scalar_one_or_none()
