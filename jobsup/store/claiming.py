"""Claiming: PENDING becomes IN_PROGRESS for exactly one worker, highest priority first, then first come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from jobsup.config.document import jobspec_from_dict
from jobsup.model import Claim, Source, Status
from jobsup.store.models import WAITING, Job, JobDispatch

# Looked at beyond what is wanted: a batch may hold several rows of one concurrency key, of which one is taken.
CLAIM_LOOKAHEAD = 16


def claim(
    connection: Connection, *, worker_id: str, node: str, queues: tuple[str, ...], limit: int, now: datetime
) -> tuple[tuple[Claim, ...], datetime | None]:
    """Take up to `limit` dispatches for a worker; with fewer found, also say when the next waiting one comes due."""
    serves = _serves(node, queues)
    rows = connection.execute(
        select(
            JobDispatch.id,
            JobDispatch.job_id,
            JobDispatch.source,
            JobDispatch.retry_count,
            JobDispatch.scheduled_for,
            JobDispatch.params,
            JobDispatch.concurrency_key,
            Job.payload,
            Job.config_hash,
        )
        .join(Job, Job.id == JobDispatch.job_id)
        .where(WAITING, JobDispatch.available_at <= now, serves, _key_is_free())
        .order_by(JobDispatch.priority.desc(), JobDispatch.available_at, JobDispatch.id)
        .limit(limit + CLAIM_LOOKAHEAD)
    ).mappings()
    claims = tuple(_take(connection, row, worker_id, now) for row in _one_per_key(rows, limit))
    if len(claims) == limit:
        return claims, None
    return claims, connection.execute(
        select(func.min(JobDispatch.available_at)).where(WAITING, JobDispatch.available_at > now, serves)
    ).scalar_one()


def _serves(node: str, queues: tuple[str, ...]) -> ColumnElement[bool]:
    target = or_(JobDispatch.target == "", JobDispatch.target == node)
    return and_(target, JobDispatch.queue.in_(queues)) if queues else target


def _key_is_free() -> ColumnElement[bool]:
    running = aliased(JobDispatch)
    return or_(
        JobDispatch.concurrency_key.is_(None),
        ~exists().where(running.concurrency_key == JobDispatch.concurrency_key, running.status == Status.IN_PROGRESS),
    )


def _one_per_key(rows: Iterable[RowMapping], limit: int) -> list[RowMapping]:
    taken: list[RowMapping] = []
    keys: set[str] = set()
    for row in rows:
        key = row["concurrency_key"]
        if key is not None and key in keys:
            continue
        keys.add(key)
        taken.append(row)
        if len(taken) == limit:
            break
    return taken


def _take(connection: Connection, row: RowMapping, worker_id: str, now: datetime) -> Claim:
    job = jobspec_from_dict(row["payload"])
    connection.execute(
        update(JobDispatch)
        .where(JobDispatch.id == row["id"], JobDispatch.status == Status.PENDING)
        .values(
            status=Status.IN_PROGRESS,
            worker_id=worker_id,
            claimed_at=now,
            deadline_at=None if job.timeout is None else now + job.timeout,
            config_hash=row["config_hash"],
        )
    )
    return Claim(
        dispatch_id=row["id"],
        job_id=row["job_id"],
        job=job,
        config_hash=row["config_hash"],
        source=Source(row["source"]),
        retry_count=row["retry_count"],
        scheduled_for=row["scheduled_for"],
        params=row["params"] or {},
    )
