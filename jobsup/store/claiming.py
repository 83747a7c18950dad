"""Claiming: PENDING becomes IN_PROGRESS for exactly one worker, by priority and by how long each has waited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    ScalarSelect,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from jobsup.config.document import jobspec_from_dict
from jobsup.model import Claim, Source, Status
from jobsup.store.rows import WAITING, Job, JobDispatch, JobPool, aliased

# Looked at beyond what is wanted: a batch may hold several rows of one concurrency key, of which one is taken, or more
# of a pool than it has places. When nothing but such rows was found, what lies behind them is looked at too.
CLAIM_LOOKAHEAD = 16
CLAIM_PASSES_MAX = 8


def claim(
    connection: Connection, *, worker_id: str, node: str, queues: tuple[str, ...], limit: int, now: datetime
) -> tuple[tuple[Claim, ...], datetime | None]:
    """Take up to `limit` dispatches for a worker; with fewer found, also say when the next waiting one comes due."""
    serves = _serves(node, queues)
    claims: list[Claim] = []
    for _ in range(CLAIM_PASSES_MAX):
        wanted = limit - len(claims)
        rows = _candidates(connection, serves, wanted + CLAIM_LOOKAHEAD, now)
        claims += [_take(connection, row, worker_id, now) for row in _fitting(connection, rows, wanted)]
        if len(claims) == limit:
            return tuple(claims), None
        if len(rows) < wanted + CLAIM_LOOKAHEAD:
            break  # there were no more
    return tuple(claims), connection.execute(
        select(func.min(JobDispatch.available_at)).where(WAITING, JobDispatch.available_at > now, serves)
    ).scalar_one()


def _candidates(connection: Connection, serves: ColumnElement[bool], limit: int, now: datetime) -> Sequence[RowMapping]:
    return (
        connection.execute(
            select(
                JobDispatch.id,
                JobDispatch.job_id,
                JobDispatch.source,
                JobDispatch.retry_count,
                JobDispatch.scheduled_for,
                JobDispatch.parent_id,
                JobDispatch.params,
                JobDispatch.concurrency_key,
                JobDispatch.pool_key,
                Job.payload,
                Job.config_hash,
            )
            .join(Job, Job.id == JobDispatch.job_id)
            .where(WAITING, JobDispatch.available_at <= now, serves, _key_is_free(), _pool_has_room(), _is_let(now))
            .order_by(JobDispatch.claim_rank, JobDispatch.id)
            .limit(limit)
        )
        .mappings()
        .all()
    )


def _serves(node: str, queues: tuple[str, ...]) -> ColumnElement[bool]:
    target = or_(JobDispatch.target == "", JobDispatch.target == node)
    return and_(target, JobDispatch.queue.in_(queues)) if queues else target


def _key_is_free() -> ColumnElement[bool]:
    running = aliased(JobDispatch)
    return or_(
        JobDispatch.concurrency_key.is_(None),
        ~exists().where(running.concurrency_key == JobDispatch.concurrency_key, running.status == Status.IN_PROGRESS),
    )


def _pool_has_room() -> ColumnElement[bool]:
    """Pass over what waits for a pool that is full; which pools are is found once a query, not once a row."""
    full = select(JobPool.key).where(JobPool.places <= _places_taken())
    return or_(JobDispatch.pool_key.is_(None), JobDispatch.pool_key.not_in(full))


def _places_taken() -> ScalarSelect[int]:
    running = aliased(JobDispatch)
    return (
        select(func.count())
        .where(running.pool_key == JobPool.key, running.status == literal_column(f"'{Status.IN_PROGRESS}'"))
        .scalar_subquery()
    )


def _is_let(now: datetime) -> ColumnElement[bool]:
    """Hold what is filled in afterwards while its job is paused; all other runs were let in before the pause."""
    is_paused = and_(Job.paused_at.is_not(None), or_(Job.paused_until.is_(None), Job.paused_until > now))
    return or_(JobDispatch.source != Source.BACKFILL, ~is_paused)


def _fitting(connection: Connection, rows: Sequence[RowMapping], limit: int) -> list[RowMapping]:
    """Choose what can run at once: one of each concurrency key, and no more of a pool than it has room for."""
    room = _room(connection, {row["pool_key"] for row in rows if row["pool_key"] is not None})
    taken: list[RowMapping] = []
    keys: set[str] = set()
    for row in rows:
        key, pool = row["concurrency_key"], row["pool_key"]
        if (key is not None and key in keys) or room.get(pool, 1) <= 0:
            continue
        keys.add(key)
        if pool in room:
            room[pool] -= 1
        taken.append(row)
        if len(taken) == limit:
            break
    return taken


def _room(connection: Connection, pools: set[str]) -> dict[str, int]:
    """Return the free places of pools, held for this transaction: who claims of one of them next waits for its end."""
    if not pools:
        return {}
    if connection.dialect.name != "sqlite":  # which has one writer at a time
        connection.execute(select(JobPool.key).where(JobPool.key.in_(pools)).order_by(JobPool.key).with_for_update())
    rooms = select(JobPool.key, (JobPool.places - _places_taken()).label("free")).where(JobPool.key.in_(pools))
    return {row.key: row.free for row in connection.execute(rooms)}


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
        parent_id=row["parent_id"],
    )
