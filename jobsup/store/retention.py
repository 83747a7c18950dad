"""Deleting what is past its retention, in batches small enough to let others write in between."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, exists, func, select

from jobsup.model import WorkerStatus
from jobsup.runtime import failpoints
from jobsup.store.engine import Database
from jobsup.store.made import fetch
from jobsup.store.rows import (
    LIVE,
    JobDayMark,
    JobDispatch,
    JobExecutionLog,
    JobOutputChunk,
    WorkerRegistration,
    aliased,
)


def delete_ended(database: Database, before: datetime, limit: int) -> int:
    """Delete up to `limit` runs that ended before that instant, with their output; return how many there were.

    Never one that waits or runs, one whose retry still does, one that its day does not count yet, or the newest row of
    all: ids are not given twice.
    """
    with database.write() as connection:
        ids = list(fetch(connection, _ENDED, {"before": before, "wanted": limit}).scalars())
        if not ids:
            return 0
        failpoints.reach("retention.before_commit")
        connection.execute(delete(JobExecutionLog).where(JobExecutionLog.dispatch_id.in_(ids)))
        return connection.execute(
            delete(JobDispatch).where(JobDispatch.id.in_(ids), JobDispatch.completed_at.is_not(None))
        ).rowcount


def count_ended(database: Database, before: datetime) -> int:
    """Count the runs that ended before that instant."""
    with database.read() as connection:
        return connection.execute(
            select(func.count())
            .select_from(JobDispatch)
            .where(JobDispatch.completed_at.is_not(None), JobDispatch.completed_at < before)
        ).scalar_one()


def delete_offline_workers(database: Database, before: datetime, limit: int) -> int:
    """Delete up to `limit` workers that are OFFLINE and were last heard of before that instant; return how many.

    One that a live run still names stays: the run is closed first.
    """
    with database.write() as connection:
        return connection.execute(_DELETE_OFFLINE, {"before": before, "wanted": limit}).rowcount


def delete_stray_chunks(database: Database, limit: int) -> int:
    """Delete the live output of up to `limit` runs that have ended and left some behind; return how many pieces."""
    with database.write() as connection:
        return connection.execute(_DELETE_STRAYS, {"wanted": limit}).rowcount


_retry = aliased(JobDispatch)
_ENDED = (
    select(JobDispatch.id)
    .where(
        JobDispatch.completed_at < bindparam("before"),
        JobDispatch.completed_at < select(JobDayMark.counted_until).scalar_subquery(),
        JobDispatch.id < select(func.max(JobDispatch.id)).scalar_subquery(),
        ~exists().where(_retry.retry_of == JobDispatch.id, _retry.completed_at.is_(None)),
    )
    .order_by(JobDispatch.completed_at)
    .limit(bindparam("wanted"))
)
_DELETE_OFFLINE = delete(WorkerRegistration).where(
    WorkerRegistration.worker_id.in_(
        select(WorkerRegistration.worker_id)
        .where(
            WorkerRegistration.status == WorkerStatus.OFFLINE,
            WorkerRegistration.last_heartbeat < bindparam("before"),
            ~exists().where(LIVE, JobDispatch.worker_id == WorkerRegistration.worker_id),
        )
        .limit(bindparam("wanted"))
    )
)
_DELETE_STRAYS = delete(JobOutputChunk).where(
    JobOutputChunk.dispatch_id.in_(
        select(JobOutputChunk.dispatch_id)
        .join(JobDispatch, JobDispatch.id == JobOutputChunk.dispatch_id)
        .where(JobDispatch.completed_at.is_not(None))
        .distinct()
        .limit(bindparam("wanted"))
    )
)
