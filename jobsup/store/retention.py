"""Deleting what is past its retention, in batches small enough to let others write in between."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Delete, Select, delete, exists, func, select

from jobsup.model import WorkerStatus
from jobsup.runtime import failpoints
from jobsup.store.column_types import UtcDateTime
from jobsup.store.engine import Database
from jobsup.store.rows import (
    LIVE,
    JobDayMark,
    JobDispatch,
    JobExecutionLog,
    JobOutputChunk,
    WorkerRegistration,
    aliased,
)
from jobsup.store.statements import Given, Statement


def delete_ended(database: Database, before: datetime, limit: int) -> int:
    """Delete up to `limit` runs that ended before that instant, with their output; return how many there were.

    Never one that waits or runs, one whose retry still does, one that its day does not count yet, or the newest row of
    all: ids are not given twice.
    """
    with database.directly() as direct:
        ids = [run for (run,) in direct.fetch(_ENDED, {"before": before, "wanted": limit})]
        if not ids:
            return 0
        failpoints.reach("retention.before_commit")
        connection = direct.core
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
    with database.directly() as direct:
        return direct.run(_DELETE_OFFLINE, {"before": before, "wanted": limit})


def delete_stray_chunks(database: Database, limit: int) -> int:
    """Delete the live output of up to `limit` runs that have ended and left some behind; return how many pieces."""
    with database.directly() as direct:
        return direct.run(_DELETE_STRAYS, {"wanted": limit})


_retry = aliased(JobDispatch)


def _ended(given: Given) -> Select[Any]:
    return (
        select(JobDispatch.id)
        .where(
            JobDispatch.completed_at < given.one("before", UtcDateTime()),
            JobDispatch.completed_at < select(JobDayMark.counted_until).scalar_subquery(),
            JobDispatch.id < select(func.max(JobDispatch.id)).scalar_subquery(),
            ~exists().where(_retry.retry_of == JobDispatch.id, _retry.completed_at.is_(None)),
        )
        .order_by(JobDispatch.completed_at)
        .limit(given.one("wanted", BigInteger()))
    )


def _offline(given: Given) -> Delete:
    old = (
        select(WorkerRegistration.worker_id)
        .where(
            WorkerRegistration.status == WorkerStatus.OFFLINE,
            WorkerRegistration.last_heartbeat < given.one("before", UtcDateTime()),
            ~exists().where(LIVE, JobDispatch.worker_id == WorkerRegistration.worker_id),
        )
        .limit(given.one("wanted", BigInteger()))
    )
    return delete(WorkerRegistration).where(WorkerRegistration.worker_id.in_(old))


def _strays(given: Given) -> Delete:
    ended = (
        select(JobOutputChunk.dispatch_id)
        .join(JobDispatch, JobDispatch.id == JobOutputChunk.dispatch_id)
        .where(JobDispatch.completed_at.is_not(None))
        .distinct()
        .limit(given.one("wanted", BigInteger()))
    )
    return delete(JobOutputChunk).where(JobOutputChunk.dispatch_id.in_(ended))


_ENDED = Statement(_ended)
_DELETE_OFFLINE = Statement(_offline)
_DELETE_STRAYS = Statement(_strays)
