"""Claiming: PENDING becomes IN_PROGRESS for exactly one worker, by priority and by how long each has waited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Interval,
    RowMapping,
    ScalarSelect,
    Select,
    String,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from jobsup.config.document import jobspec_from_dict
from jobsup.model import Claim, Source, Status, host_tag
from jobsup.store import requirements, tables
from jobsup.store.made import fetch
from jobsup.store.rows import WAITING, Job, JobDispatch, JobPool, aliased
from jobsup.store.tables import UtcDateTime

# Looked at beyond what is wanted: a batch may hold several rows of one concurrency key, of which one is taken, or more
# of a pool than it has places. When nothing but such rows was found, what lies behind them is looked at too.
CLAIM_LOOKAHEAD = 16
CLAIM_PASSES_MAX = 8

_D = tables.job_dispatch
_RUNNING: ColumnElement[str] = literal_column(f"'{Status.IN_PROGRESS}'")

# What the statements are given each time; they themselves are made once. No column may have one of these names.
_NOW = bindparam("at", type_=UtcDateTime())
_NODE = bindparam("on_node", type_=String())
_QUEUES = bindparam("of_queues", type_=String(), expanding=True)
_WANTED = bindparam("wanted", type_=Integer())
_WORKER = bindparam("by_worker", type_=String())


def claim(
    connection: Connection,
    *,
    worker_id: str,
    node: str,
    queues: tuple[str, ...],
    tags: tuple[str, ...] = (),
    limit: int,
    now: datetime,
) -> tuple[tuple[Claim, ...], datetime | None]:
    """Take up to `limit` dispatches for a worker; with fewer found, also say when the next waiting one comes due."""
    given = {"at": now, "on_node": node, "has_tags": (host_tag(node), *tags)}
    if queues:
        given["of_queues"] = queues
    take = _take_alone if connection.dialect.name == "sqlite" else _take_among_others
    claims: list[Claim] = []
    for _ in range(CLAIM_PASSES_MAX):
        taken, is_all = take(connection, given, limit - len(claims), worker_id, now)
        claims += taken
        if len(claims) == limit:
            return tuple(claims), None
        if is_all:
            break
    return tuple(claims), fetch(connection, _next_available(bool(queues)), given).scalar_one()


def _take_alone(
    connection: Connection, given: dict[str, Any], wanted: int, worker_id: str, now: datetime
) -> tuple[list[Claim], bool]:
    """Take what is first, as the only one that writes; also say whether everything that waits was looked at."""
    statement = _claimable("of_queues" in given)
    rows = fetch(connection, statement, {**given, "wanted": wanted + CLAIM_LOOKAHEAD}).mappings().all()
    return _take(connection, _fitting(connection, rows, wanted), worker_id, now), len(rows) < wanted + CLAIM_LOOKAHEAD


def _take_among_others(
    connection: Connection, given: dict[str, Any], wanted: int, worker_id: str, now: datetime
) -> tuple[list[Claim], bool]:
    """Take what is first and nobody else is about to take, in one statement; what needs a pool's place in two more.

    Of one concurrency key the first is taken. The others stay locked until the commit, which harms nobody: whoever
    would take one meanwhile would wait for that very key. Two that take two of a key at the same moment are told
    apart by its unique index.
    """
    statement = _taking("of_queues" in given)
    rows = fetch(connection, statement, {**given, "wanted": wanted, "by_worker": worker_id}).mappings().all()
    pooled = _fitting(connection, [row for row in rows if row["pool_key"] is not None], wanted)
    held = {row["concurrency_key"] for row in rows if row["is_taken"]} - {None}
    more = _take(connection, [row for row in pooled if row["concurrency_key"] not in held], worker_id, now)
    claims = [_claim_of(row) for row in rows if row["is_taken"]] + more
    order = {row["id"]: place for place, row in enumerate(rows)}
    return sorted(claims, key=lambda claim: order[claim.dispatch_id]), len(rows) < wanted


@cache
def _taking(has_queues: bool) -> Select[Any]:
    """Pick rows, and take those of them at once that need no pool's place."""
    picked = _claimable(has_queues).with_for_update(of=JobDispatch, skip_locked=True).cte("picked")
    picked = picked.prefix_with("MATERIALIZED")  # looked up twice, it would lock other rows the second time
    taken = _taken(picked)
    is_taken = picked.c.id.in_(select(taken.c.id)).label("is_taken")
    return select(picked, is_taken).order_by(picked.c.claim_rank, picked.c.id)


def _taken(picked: CTE) -> CTE:
    """Make those of the picked rows ours that need no pool's place."""
    each = func.coalesce(picked.c.concurrency_key, cast(picked.c.id, String))
    place = func.row_number().over(partition_by=each, order_by=(picked.c.claim_rank, picked.c.id)).label("place")
    first = select(picked, place).where(picked.c.pool_key.is_(None)).subquery("first")
    timeout = func.make_interval(0, 0, 0, 0, 0, 0, first.c.timeout_seconds, type_=Interval)
    return (
        update(JobDispatch)
        .where(JobDispatch.id == first.c.id, first.c.place == 1)
        .values(
            status=Status.IN_PROGRESS,
            worker_id=_WORKER,
            claimed_at=_NOW,
            deadline_at=_NOW + timeout,
            config_hash=first.c.config_hash,
        )
        .returning(JobDispatch.id)
        .cte("taken")
    )


@cache
def _next_available(has_queues: bool) -> Select[Any]:
    return select(func.min(JobDispatch.available_at)).where(
        WAITING, JobDispatch.available_at > _NOW, _serves(has_queues)
    )


@cache
def _claimable(has_queues: bool) -> Select[Any]:
    """Select what can be claimed now, in its order, with all that a claim needs."""
    return (
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
            JobDispatch.claim_rank,
            Job.payload,
            Job.config_hash,
            Job.timeout_seconds,
        )
        .join(Job, Job.id == JobDispatch.job_id)
        .where(
            WAITING,
            JobDispatch.available_at <= _NOW,
            _serves(has_queues),
            _key_is_free(),
            _pool_has_room(),
            _is_let(),
        )
        .order_by(JobDispatch.claim_rank, JobDispatch.id)
        .limit(_WANTED)
    )


def _serves(has_queues: bool) -> ColumnElement[bool]:
    target = or_(JobDispatch.target == "", JobDispatch.target == _NODE)
    # Which requirements are met is found once a query, and only if a row has one.
    is_met = or_(JobDispatch.requires.is_(None), JobDispatch.requires.in_(requirements.met()))
    return and_(target, is_met, JobDispatch.queue.in_(_QUEUES)) if has_queues else and_(target, is_met)


def _key_is_free() -> ColumnElement[bool]:
    running = aliased(JobDispatch)
    return or_(
        JobDispatch.concurrency_key.is_(None),
        ~exists().where(running.concurrency_key == JobDispatch.concurrency_key, running.status == _RUNNING),
    )


def _pool_has_room() -> ColumnElement[bool]:
    """Pass over what waits for a pool that is full; which pools are is found once a query, not once a row."""
    full = select(JobPool.key).where(JobPool.places <= _places_taken())
    return or_(JobDispatch.pool_key.is_(None), JobDispatch.pool_key.not_in(full))


def _places_taken() -> ScalarSelect[int]:
    running = aliased(JobDispatch)
    return select(func.count()).where(running.pool_key == JobPool.key, running.status == _RUNNING).scalar_subquery()


def _is_let() -> ColumnElement[bool]:
    """Hold what is filled in afterwards while its job is paused; all other runs were let in before the pause."""
    is_paused = and_(Job.paused_at.is_not(None), or_(Job.paused_until.is_(None), Job.paused_until > _NOW))
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


def _take(connection: Connection, rows: Iterable[RowMapping], worker_id: str, now: datetime) -> list[Claim]:
    """Make rows ours that nobody else can take any more."""
    claims = [_claim_of(row) for row in rows]
    changes = [
        {
            "by_worker": worker_id,
            "at": now,
            "row_id": claim.dispatch_id,
            "deadline": None if claim.job.timeout is None else now + claim.job.timeout,
            "hash": claim.config_hash,
        }
        for claim in claims
    ]
    if changes:
        connection.execute(_MAKE_OURS, changes)
    return claims


_MAKE_OURS = (
    update(_D)
    .where(_D.c.id == bindparam("row_id"), _D.c.status == Status.PENDING)
    .values(
        status=Status.IN_PROGRESS,
        worker_id=_WORKER,
        claimed_at=_NOW,
        deadline_at=bindparam("deadline"),
        config_hash=bindparam("hash"),
    )
)


def _claim_of(row: RowMapping) -> Claim:
    return Claim(
        dispatch_id=row["id"],
        job_id=row["job_id"],
        job=jobspec_from_dict(row["payload"]),
        config_hash=row["config_hash"],
        source=Source(row["source"]),
        retry_count=row["retry_count"],
        scheduled_for=row["scheduled_for"],
        params=row["params"] or {},
        parent_id=row["parent_id"],
    )
