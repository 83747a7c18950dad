"""How an attempt ends in the tables: its terminal row, its log row, and the retry that follows.

Workers that finish and rescuers that close lost runs go the same way through here.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    RowMapping,
    Select,
    String,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import TypeEngine

from jobsup.config.document import jobspec_from_dict
from jobsup.model import CapturedOutput, JobSpec, OutputChunk, Reason, RunResult, Source, Status
from jobsup.store import dependencies, holds, job_days, ranks, tables
from jobsup.store.column_types import FreeText, UtcDateTime
from jobsup.store.direct import Direct
from jobsup.store.rows import IN_PROGRESS, Job, JobDependency, JobDispatch
from jobsup.store.statements import Given, Statement

# A retry's wait is spread by this much to either side, so that jobs that failed together do not return together.
BACKOFF_JITTER = 0.2
# Doubling stops here whatever `retry_backoff_max` says: 2**32 of anything is past every cap.
BACKOFF_DOUBLINGS_MAX = 32

_LOST = (Reason.WORKER_LOST, Reason.NO_OWNER)
_NEVER_RETRIED = (Reason.NOT_RUNNABLE, Reason.CANCELLED, Reason.REPLACED, Reason.JOB_REMOVED)

_D, _C, _L = tables.job_dispatch, tables.job_output_chunk, tables.job_execution_log
_dispatch_id = attrgetter("dispatch_id")


class Ended(NamedTuple):
    """An attempt that has just been written as ended."""

    dispatch_id: int
    job_id: int
    job_name: str
    retry_id: int | None = None
    """The attempt that follows, if any."""
    retry_at: datetime | None = None
    followers: int = 0
    """Runs of jobs that waited for this end."""
    frees_place: bool = False
    """It gave the place of a pool back, which a run of any job may wait for."""

    @property
    def makes_work(self) -> bool:
        """Whether some worker may have something to claim now, or soon, that it had not before."""
        return self.retry_id is not None or self.followers > 0 or self.frees_place


def end(direct: Direct, results: Sequence[RunResult], *, worker_id: str, node: str, now: datetime) -> dict[int, Ended]:
    """Write the ends of attempts, each only while it is IN_PROGRESS and `worker_id`'s.

    Returns those that were written, by dispatch id. However many there are, the usual ones cost the same few
    statements; only a retry, or jobs that waited for an end, cost more.
    """
    if not results:
        return {}
    wanted = {result.dispatch_id: result for result in sorted(results, key=_dispatch_id)}
    write = _write_at_once if direct.is_server else _write_in_turn
    held = write(direct, wanted, worker_id, node)
    if not held:
        return {}
    live = [each.id for each in held if wanted[each.id].is_live]
    if live:
        direct.run(_DROP_CHUNKS, {"runs": live})
    job_days.count_late(direct, {each.id: each.job_id for each in held}, results, now)
    return {each.id: _follow(direct, each, wanted[each.id], now) for each in held}


def fold(chunks: Sequence[OutputChunk]) -> CapturedOutput:
    """Put live pieces, in order of offset, together as the output that is kept; holes count as dropped."""
    data = bytearray()
    marks: list[tuple[int, int]] = []
    total = dropped = 0
    gap_at: int | None = None
    for chunk in chunks:
        if chunk.offset > total:
            dropped += chunk.offset - total
            gap_at = len(data) if gap_at is None else gap_at
        data += chunk.data
        total = chunk.offset + len(chunk.data)
        if marks and marks[-1][1] == chunk.stream:
            marks[-1] = (marks[-1][0] + len(chunk.data), chunk.stream)
        else:
            marks.append((len(chunk.data), chunk.stream))
    return CapturedOutput(bytes(data), total, dropped, gap_at, tuple(marks))


def chunks_of(connection: Connection, dispatch_id: int, offset: int = 0) -> list[OutputChunk]:
    """Read a live run's pieces that begin at `offset` or later."""
    rows = connection.execute(
        select(_C.c.dispatch_id, _C.c.offset, _C.c.stream, _C.c.at, _C.c.data)
        .where(_C.c.dispatch_id == dispatch_id, _C.c.offset >= offset)
        .order_by(_C.c.offset)
    )
    return [OutputChunk(*row) for row in rows]


def backoff(job: JobSpec, retry_count: int) -> timedelta:
    """Return how long the retry after attempt number `retry_count` (0 the first) waits, jitter included."""
    doubled = job.retry_backoff * 2 ** min(retry_count, BACKOFF_DOUBLINGS_MAX) if job.retry_backoff else timedelta()
    jitter = random.uniform(1 - BACKOFF_JITTER, 1 + BACKOFF_JITTER)  # noqa: S311  (no secret: it only spreads load)
    return min(doubled, job.retry_backoff_max) * jitter


class _Held(NamedTuple):
    """An attempt that was still its worker's, and is ended by this transaction."""

    id: int
    job_id: int
    job_name: str
    config_hash: str | None
    pool_key: str | None
    has_dependents: bool


def _write_at_once(direct: Direct, wanted: Mapping[int, RunResult], worker_id: str, node: str) -> list[_Held]:
    """End attempts and write their logs in one statement: each word to a server has its price."""
    rows = [_row_of(result) for result in wanted.values()]
    return [_Held._make(row) for row in direct.fetch_many(_END_WITH_LOG, rows, by_worker=worker_id, on_node=node)]


def _write_in_turn(direct: Direct, wanted: Mapping[int, RunResult], worker_id: str, node: str) -> list[_Held]:
    """End attempts, and write the logs of those that were ended."""
    columns = direct.columns(_LOG, [_row_of(result) for result in wanted.values()])
    held = sorted(map(_Held._make, direct.fetch_columns(_END, columns, by_worker=worker_id)))
    logged = [each for each in held if wanted[each.id].started_at]
    if len(logged) < len(wanted):
        places = {dispatch_id: place for place, dispatch_id in enumerate(wanted)}
        columns = {name: [values[places[each.id]] for each in logged] for name, values in columns.items()}
    if logged:
        columns["of_job"] = [each.job_id for each in logged]
        columns["hash"] = [each.config_hash or "" for each in logged]
        direct.run_columns(_LOG, columns, by_worker=worker_id, on_node=node)
    return held


def _is_ours(given: Given) -> ColumnElement[bool]:
    return and_(_D.c.status == IN_PROGRESS, _D.c.worker_id == given.one("by_worker", String()))


def _ends(given: Given | _OfHeld) -> dict[str, Any]:
    """Return what an end changes in its row."""
    return {
        "status": given.each("new_status"),
        "reason": given.each("new_reason"),
        "completed_at": given.each("ended_at"),
        "error_message": given.each("error"),
        "started_at": func.coalesce(given.each("began_at"), _D.c.started_at),
    }


def _logs(given: Given | _OfHeld, job_id: Any, config_hash: Any) -> dict[str, Any]:
    """Return what a log row holds."""
    return {
        "dispatch_id": given.each("row_id"),
        "job_id": job_id,
        "worker_id": given.one("by_worker", String()),
        "host": given.one("on_node", String()),
        "run_time": given.each("began_at"),
        "finished_at": given.each("ended_at"),
        "status": given.each("new_status"),
        "config_hash": config_hash,
        **{name: given.each(name) for name in _LOGGED},
    }


def _ending(given: Given) -> Any:
    """On SQLite, which has one writer at a time: whatever is ours now stays it."""
    job_id: ColumnElement[int] = literal_column(f"{_D.name}.job_id")  # without its table's name it would be another's
    name = select(Job.name).where(Job.id == job_id).scalar_subquery()
    has_dependents = type_coerce(
        exists().where(JobDependency.upstream_id == job_id), Integer
    )  # true or not: as it comes
    return (
        update(_D)
        .where(_D.c.id == given.each("row_id"), _is_ours(given))
        .values(_ends(given))
        .returning(_D.c.id, _D.c.job_id, name, _D.c.config_hash, _D.c.pool_key, has_dependents)
    )


def _logging(given: Given) -> Insert:
    return insert(_L).values(_logs(given, given.each("of_job"), given.each("hash")))


def _ending_with_log(given: Given) -> Select[Any]:
    """On a server: hold what is ours, in an order that all keep to; end it and write its log."""
    values = {name: given.each(name) for name in (*_ENDED, *_LOGGED)}
    # Looked up one by one in the order they are given in, however few rows the planner thinks there are.
    ours = (
        select(_D.c.id, _D.c.job_id, _D.c.config_hash, _D.c.pool_key)
        .where(_D.c.id == values["row_id"], _is_ours(given))
        .with_for_update(key_share=True)
        .lateral("ours")
    )
    held = (
        select(
            ours.c.id,
            ours.c.job_id,
            select(Job.name).where(Job.id == ours.c.job_id).scalar_subquery().label("name"),
            ours.c.config_hash,
            ours.c.pool_key,
            exists().where(JobDependency.upstream_id == ours.c.job_id).label("has_dependents"),
            *(value.label(f"its_{name}") for name, value in values.items()),
        )
        .select_from(given.rows.join(ours, literal_column("true")))
        .cte("held")
        .prefix_with("MATERIALIZED")
    )
    theirs = _OfHeld(held, given)
    ended = update(_D).where(_D.c.id == held.c.id).values(_ends(theirs)).returning(literal_column("1")).cte("ended")
    log = _logs(theirs, held.c.job_id, func.coalesce(held.c.config_hash, ""))
    logs = select(*log.values()).where(theirs.each("began_at").is_not(None))
    logged = insert(_L).from_select(list(log), logs).returning(literal_column("1")).cte("logged")
    return select(*list(held.c)[: len(_Held._fields)]).order_by(held.c.id).add_cte(ended, logged)


class _OfHeld(NamedTuple):
    """What is given for each attempt, as it stands beside the attempt that is held."""

    held: CTE
    given: Given

    def one(self, name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        return self.given.one(name, type_)

    def each(self, name: str) -> ColumnElement[Any]:
        return self.held.c[f"its_{name}"]


_ENDED: dict[str, TypeEngine[Any]] = {
    "row_id": BigInteger(),
    "new_status": String(),
    "new_reason": String(),
    "ended_at": UtcDateTime(),
    "error": FreeText(),
    "began_at": UtcDateTime(),
}
_LOGGED: dict[str, TypeEngine[Any]] = {
    name: _L.c[name].type
    for name in (
        "pid",
        "exit_code",
        "signal",
        "log_output",
        "output_bytes",
        "output_dropped",
        "output_gap_at",
        "stream_marks",
        "result",
        "cpu_user",
        "cpu_system",
        "max_rss",
        "io_read",
        "io_write",
    )
}
"""What a log row has that the row of the dispatch has not."""
_END = Statement(_ending, each=_ENDED, few_alone=True)
_LOG = Statement(_logging, each={**_ENDED, **_LOGGED, "of_job": BigInteger(), "hash": String()}, has_bytes=True)
_END_WITH_LOG = Statement(_ending_with_log, each={**_ENDED, **_LOGGED})
_DROP_CHUNKS = Statement(lambda given: delete(_C).where(given.among(_C.c.dispatch_id, "runs")))
_WHOLE = (
    select(_D, Job.payload.label("job_payload")).join(Job, Job.id == _D.c.job_id).where(_D.c.id == bindparam("row_id"))
)
STATEMENTS = (_END, _LOG, _DROP_CHUNKS)
"""What each run needs: made before a fork, so that no worker makes its own."""


_NO_MARKS: list[list[int]] = []
"""The same for every run that has printed nothing: it is written in JSON once for all of them."""


def _row_of(result: RunResult) -> tuple[Any, ...]:
    """Return the values of `_ENDED` and of `_LOGGED`."""
    output = result.output
    return (
        result.dispatch_id,
        result.status._value_,
        result.reason._value_,
        result.finished_at,
        result.error_message,
        result.started_at,
        result.pid,
        result.exit_code,
        result.signal,
        output.data,
        output.total,
        output.dropped,
        output.gap_at,
        [list(mark) for mark in output.marks] if output.marks else _NO_MARKS,
        result.result,
        result.cpu_user,
        result.cpu_system,
        result.max_rss,
        result.io_read,
        result.io_write,
    )


def _follow(direct: Direct, held: _Held, result: RunResult, now: datetime) -> Ended:
    """Make what the end of an attempt leads to: its retry, or the runs of jobs that waited for its last end."""
    ended = Ended(held.id, held.job_id, held.job_name, frees_place=held.pool_key is not None)
    if result.status is Status.COMPLETED and not held.has_dependents:
        return ended
    row = direct.core.execute(_WHOLE, {"row_id": held.id}).mappings().one()
    retry_id, retry_at = _insert_retry(direct.core, row, result, now)
    followers = 0
    if retry_id is None and held.has_dependents:
        followers = dependencies.follow(direct.core, row, result.status, result.reason, now)
    return ended._replace(retry_id=retry_id, retry_at=retry_at, followers=followers)


def _insert_retry(
    connection: Connection, row: RowMapping, result: RunResult, now: datetime
) -> tuple[int | None, datetime | None]:
    if result.status not in (Status.FAILED, Status.TIMEOUT) or row["cancel_requested_at"] is not None:
        return None, None
    job = jobspec_from_dict(row["job_payload"])
    following = _following(job, row["retry_count"], result, now)
    if following is None or (set_name := _set_of(connection, row["job_id"])) is None:
        return None, None
    retry_count, available_at = following
    window = holds.window_of(connection, set_name, job, available_at)
    if window is not None:
        available_at = window.end
    values: dict[str, Any] = {key: row[key] for key in _CARRIED}
    retry_id = connection.execute(
        insert(JobDispatch)
        .values(
            **values,
            source=Source.RETRY,
            status=Status.PENDING,
            retry_of=row["id"],
            retry_count=retry_count,
            available_at=available_at,
            claim_rank=ranks.moved_rank(row["claim_rank"], row["available_at"], available_at),
            created_at=now,
            note=None if window is None else holds.held_note(window),
        )
        .returning(JobDispatch.id)
    ).scalar_one()
    return retry_id, available_at


def _set_of(connection: Connection, job_id: int) -> str | None:
    """Return the set of a job, and let nobody take it out before the transaction ends; None: it is out already."""
    statement = select(Job.set_name).where(Job.id == job_id, Job.retired_at.is_(None)).with_for_update(read=True)
    return connection.execute(statement).scalar_one_or_none()


_CARRIED = (
    "job_id",
    "scheduled_for",
    "target",
    "parent_id",
    "priority",
    "queue",
    "params",
    "requested_by",
    "epoch",
    "concurrency_key",
    "pool_key",
    "requires",
)
"""What a retry takes over from the attempt before it."""


def _following(job: JobSpec, retry_count: int, result: RunResult, now: datetime) -> tuple[int, datetime] | None:
    """Return (retry_count, available_at) of the attempt that follows this end; None: there is none."""
    if result.status not in (Status.FAILED, Status.TIMEOUT) or result.reason in _NEVER_RETRIED:
        return None
    if result.reason in (*_LOST, Reason.SHUTDOWN) and not job.retry_on_lost:
        return None
    if result.reason is Reason.SHUTDOWN:
        return retry_count, now
    if retry_count >= job.max_retries:
        return None
    wait = timedelta() if result.reason in _LOST and retry_count == 0 else backoff(job, retry_count)
    return retry_count + 1, now + wait
