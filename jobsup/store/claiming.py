"""Claiming: PENDING becomes IN_PROGRESS for exactly one worker, by priority and by how long each has waited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Interval,
    ScalarSelect,
    Select,
    String,
    Update,
    and_,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from jobsup.config.document import jobspec_from_dict
from jobsup.model import Claim, JobSpec, Source, Status, WorkerStatus, host_tag
from jobsup.store import requirements, tables
from jobsup.store.column_types import UtcDateTime
from jobsup.store.direct import Direct
from jobsup.store.rows import IN_PROGRESS, WAITING, Job, JobDispatch, JobPool, WorkerRegistration, aliased
from jobsup.store.statements import Given, Statement

# Looked at beyond what is wanted: a batch may hold several rows of one concurrency key, of which one is taken, or more
# of a pool than it has places. When nothing but such rows was found, what lies behind them is looked at too.
CLAIM_LOOKAHEAD = 16
CLAIM_PASSES_MAX = 8
# Definitions that are kept as they were read; with more jobs than that in use, all are read again now and then.
DEFINITIONS_MAX = 500

_D = tables.job_dispatch
FIRST_WAITING: ScalarSelect[int] = (
    select(JobDispatch.id).where(WAITING).order_by(JobDispatch.claim_rank).limit(1).scalar_subquery()
)
"""Some run that waits, for whatever worker and instant; null: none does."""


class _Row(NamedTuple):
    """What can be claimed, with all that a claim needs; the job's definition is looked up by its hash."""

    id: int
    job_id: int
    source: str
    retry_count: int
    scheduled_for: datetime | None
    parent_id: int | None
    params: dict[str, Any] | None
    concurrency_key: str | None
    pool_key: str | None
    claim_rank: int
    config_hash: str
    timeout_seconds: float | None
    is_taken: bool = False


def claim(
    direct: Direct,
    *,
    worker_id: str,
    node: str,
    queues: tuple[str, ...],
    tags: tuple[str, ...] = (),
    limit: int,
    now: datetime,
) -> tuple[tuple[Claim, ...], datetime | None]:
    """Take up to `limit` dispatches for a worker; with fewer found, also say when the next waiting one comes due.

    A worker that was given up finds none.
    """
    given = {
        "by_worker": worker_id,
        "at": now,
        "on_node": node,
        "has_tags": [host_tag(node), *tags],
        "of_queues": list(queues),
    }
    which = _OF_QUEUES if queues else _OF_ALL
    take = _take_among_others if direct.is_server else _take_alone
    taken: list[_Row] = []
    is_all = False
    for _ in range(CLAIM_PASSES_MAX):
        more, is_all = take(direct, which, given, wanted=limit - len(taken), worker_id=worker_id, now=now)
        taken += more
        if is_all or len(taken) == limit:
            break
    claims = _claims(direct, taken)
    if len(claims) == limit:
        return claims, None
    return claims, direct.fetch(which.next_available, given)[0][0]


def _take_alone(
    direct: Direct, which: _Statements, given: dict[str, Any], *, wanted: int, worker_id: str, now: datetime
) -> tuple[list[_Row], bool]:
    """Take what is first, as the only one that writes; also say whether everything that waits was looked at."""
    rows = [_Row(*row) for row in direct.fetch(which.claimable, {**given, "wanted": wanted + CLAIM_LOOKAHEAD})]
    taken = _fitting(direct, rows, wanted)
    _take(direct, taken, worker_id, now)
    return taken, len(rows) < wanted + CLAIM_LOOKAHEAD


def _take_among_others(
    direct: Direct, which: _Statements, given: dict[str, Any], *, wanted: int, worker_id: str, now: datetime
) -> tuple[list[_Row], bool]:
    """Take what is first and nobody else is about to take, in one statement; what needs a pool's place in two more.

    Of one concurrency key the first is taken. The others stay locked until the commit, which harms nobody: whoever
    would take one meanwhile would wait for that very key. Two that take two of a key at the same moment are told
    apart by its unique index.
    """
    rows = list(map(_Row._make, direct.fetch(which.taking, {**given, "wanted": wanted})))
    held = {row.concurrency_key for row in rows if row.is_taken} - {None}
    pooled = _fitting(direct, [row for row in rows if row.pool_key is not None], wanted)
    more = [row for row in pooled if row.concurrency_key not in held]
    _take(direct, more, worker_id, now)
    ours = {row.id for row in more}
    return [row for row in rows if row.is_taken or row.id in ours], len(rows) < wanted


def _taking(given: Given, *, has_queues: bool) -> Select[Any]:
    """Pick rows, and take those of them at once that need no pool's place."""
    # Locked: who gives this worker up at this very moment finds all that it claims.
    alive = _registered(given).with_for_update(read=True).cte("alive").prefix_with("MATERIALIZED")
    claimable = _claimable(given, has_queues=has_queues).where(exists(select(alive.c.worker_id)))
    picked = claimable.with_for_update(of=JobDispatch, skip_locked=True).cte("picked")
    picked = picked.prefix_with("MATERIALIZED")  # looked up twice, it would lock other rows the second time
    taken = _taken(given, picked)
    is_taken = picked.c.id.in_(select(taken.c.id)).label("is_taken")
    return select(picked, is_taken).order_by(picked.c.claim_rank, picked.c.id)


def _claimable_by(given: Given, *, has_queues: bool) -> Select[Any]:
    return _claimable(given, has_queues=has_queues).where(_registered(given).exists())


def _registered(given: Given) -> Select[Any]:
    """Select the worker, unless it was given up."""
    return select(WorkerRegistration.worker_id).where(
        WorkerRegistration.worker_id == given.one("by_worker", String()),
        WorkerRegistration.status != literal_column(f"'{WorkerStatus.OFFLINE}'"),
    )


def _taken(given: Given, picked: CTE) -> CTE:
    """Make those of the picked rows ours that need no pool's place."""
    each = func.coalesce(picked.c.concurrency_key, cast(picked.c.id, String))
    place = func.row_number().over(partition_by=each, order_by=(picked.c.claim_rank, picked.c.id)).label("place")
    first = select(picked, place).where(picked.c.pool_key.is_(None)).subquery("first")
    timeout = func.make_interval(0, 0, 0, 0, 0, 0, first.c.timeout_seconds, type_=Interval)
    now = given.one("at", UtcDateTime())
    return (
        update(JobDispatch)
        .where(JobDispatch.id == first.c.id, first.c.place == 1)
        .values(
            status=Status.IN_PROGRESS,
            worker_id=given.one("by_worker", String()),
            claimed_at=now,
            deadline_at=now + timeout,
            config_hash=first.c.config_hash,
        )
        .returning(JobDispatch.id)
        .cte("taken")
    )


def _next_available(given: Given, *, has_queues: bool) -> Select[Any]:
    return select(func.min(JobDispatch.available_at)).where(
        WAITING, JobDispatch.available_at > given.one("at", UtcDateTime()), _serves(given, has_queues=has_queues)
    )


def _claimable(given: Given, *, has_queues: bool) -> Select[Any]:
    """Select what can be claimed now, in its order: the columns of `_Row`."""
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
            Job.config_hash,
            Job.timeout_seconds,
        )
        .join(Job, Job.id == JobDispatch.job_id)
        .where(
            WAITING,
            JobDispatch.available_at <= given.one("at", UtcDateTime()),
            _serves(given, has_queues=has_queues),
            _key_is_free(),
            _pool_has_room(),
            _is_let(given),
        )
        .order_by(JobDispatch.claim_rank, JobDispatch.id)
        .limit(given.one("wanted", Integer()))
    )


def _serves(given: Given, *, has_queues: bool) -> ColumnElement[bool]:
    target = or_(JobDispatch.target == "", JobDispatch.target == given.one("on_node", String()))
    # Which requirements are met is found once a query, and only if a row has one.
    is_met = or_(JobDispatch.requires.is_(None), JobDispatch.requires.in_(requirements.met(given)))
    if not has_queues:
        return and_(target, is_met)
    return and_(target, is_met, given.among(JobDispatch.queue, "of_queues", String()))


def _key_is_free() -> ColumnElement[bool]:
    running = aliased(JobDispatch)
    return or_(
        JobDispatch.concurrency_key.is_(None),
        ~exists().where(
            running.concurrency_key == JobDispatch.concurrency_key,
            running.status == IN_PROGRESS,
            running.concurrency_key.is_not(None),  # says so to a server that reads them all at once, by their index
        ),
    )


def _pool_has_room() -> ColumnElement[bool]:
    """Pass over what waits for a pool that is full; which pools are is found once a query, not once a row."""
    full = select(JobPool.key).where(JobPool.places <= _places_taken())
    return or_(JobDispatch.pool_key.is_(None), JobDispatch.pool_key.not_in(full))


def _places_taken() -> ScalarSelect[int]:
    running = aliased(JobDispatch)
    return select(func.count()).where(running.pool_key == JobPool.key, running.status == IN_PROGRESS).scalar_subquery()


def _is_let(given: Given) -> ColumnElement[bool]:
    """Hold what is filled in afterwards while its job is paused; all other runs were let in before the pause."""
    lasts = or_(Job.paused_until.is_(None), Job.paused_until > given.one("at", UtcDateTime()))
    return or_(JobDispatch.source != Source.BACKFILL, ~and_(Job.paused_at.is_not(None), lasts))


class _Statements:
    """What a worker asks that serves all queues, or some."""

    def __init__(self, *, has_queues: bool) -> None:
        self.claimable = Statement(partial(_claimable_by, has_queues=has_queues))
        self.taking = Statement(partial(_taking, has_queues=has_queues))
        self.next_available = Statement(partial(_next_available, has_queues=has_queues))


_OF_ALL, _OF_QUEUES = _Statements(has_queues=False), _Statements(has_queues=True)


def _fitting(direct: Direct, rows: Sequence[_Row], limit: int) -> list[_Row]:
    """Choose what can run at once: one of each concurrency key, and no more of a pool than it has room for."""
    room = _room(direct, {row.pool_key for row in rows if row.pool_key is not None})
    taken: list[_Row] = []
    keys: set[str] = set()
    for row in rows:
        key, pool = row.concurrency_key, row.pool_key
        if (key is not None and key in keys) or (pool is not None and room.get(pool, 1) <= 0):
            continue
        if key is not None:
            keys.add(key)
        if pool is not None and pool in room:
            room[pool] -= 1
        taken.append(row)
        if len(taken) == limit:
            break
    return taken


def _room(direct: Direct, pools: set[str]) -> dict[str, int]:
    """Return the free places of pools, held for this transaction: who claims of one of them next waits for its end."""
    if not pools:
        return {}
    if direct.is_server:  # SQLite has one writer at a time
        direct.core.execute(select(JobPool.key).where(JobPool.key.in_(pools)).order_by(JobPool.key).with_for_update())
    rooms = select(JobPool.key, (JobPool.places - _places_taken()).label("free")).where(JobPool.key.in_(pools))
    return {row.key: row.free for row in direct.core.execute(rooms)}


def _take(direct: Direct, rows: Sequence[_Row], worker_id: str, now: datetime) -> None:
    """Make rows ours that nobody else can take any more."""
    deadlines = {seconds: _deadline(seconds, now) for seconds in {row.timeout_seconds for row in rows}}
    changes = [(row.id, deadlines[row.timeout_seconds], row.config_hash) for row in rows]
    if changes:
        direct.run_many(_MAKE_OURS, changes, by_worker=worker_id, at=now)


def _deadline(timeout_seconds: float | None, now: datetime) -> datetime | None:
    return None if timeout_seconds is None else now + timedelta(seconds=timeout_seconds)


def _make_ours(given: Given) -> Update:
    return (
        update(_D)
        .where(_D.c.id == given.each("row_id"), _D.c.status == Status.PENDING)
        .values(
            status=Status.IN_PROGRESS,
            worker_id=given.one("by_worker", String()),
            claimed_at=given.one("at", UtcDateTime()),
            deadline_at=given.each("deadline"),
            config_hash=given.each("hash"),
        )
    )


_MAKE_OURS = Statement(
    _make_ours, each={"row_id": BigInteger(), "deadline": UtcDateTime(), "hash": String()}, few_alone=True
)


def _claims(direct: Direct, rows: Sequence[_Row]) -> tuple[Claim, ...]:
    """Put together what is handed out; definitions that were not seen lately are read, in this very transaction."""
    unknown = {row.job_id for row in rows if row.config_hash not in _definitions}
    newest: dict[int, str] = {}
    if unknown:
        if len(_definitions) + len(unknown) > DEFINITIONS_MAX:
            _definitions.clear()
            unknown = {row.job_id for row in rows}
        for job_id, config_hash, payload in direct.fetch(_DEFINITIONS, {"jobs": sorted(unknown)}):
            newest[job_id] = config_hash
            _definitions[config_hash] = jobspec_from_dict(payload)
    changed = [row._replace(config_hash=newest[row.job_id]) for row in rows if row.config_hash not in _definitions]
    if changed:  # by a reload, between our two looks: what is run is what is noted
        direct.run_many(_NOTE_HASH, [(row.id, row.config_hash) for row in changed])
        rows = [*{row.id: row for row in (*rows, *changed)}.values()]
    return tuple([_claim_of(row) for row in rows])


_DEFINITIONS = Statement(lambda given: select(Job.id, Job.config_hash, Job.payload).where(given.among(Job.id, "jobs")))
_NOTE_HASH = Statement(
    lambda given: update(_D).where(_D.c.id == given.each("row_id")).values(config_hash=given.each("hash")),
    each={"row_id": BigInteger(), "hash": String()},
)
_definitions: dict[str, JobSpec] = {}
"""By the hash of their words: what a hash stands for never changes."""
STATEMENTS = (_OF_ALL.claimable, _OF_QUEUES.claimable, _MAKE_OURS, _DEFINITIONS)
"""What each run needs: made before a fork, so that no worker makes its own."""


def _claim_of(row: _Row) -> Claim:
    return Claim(
        row.id,
        row.job_id,
        _definitions[row.config_hash],
        row.config_hash,
        _SOURCES[row.source],
        row.retry_count,
        row.scheduled_for,
        row.params or {},
        row.parent_id,
    )


_SOURCES = {source.value: source for source in Source}
