"""Closing the runs of owners that are gone: TIMEOUT with a reason, their output kept, and a retry where one is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Select, String, exists, or_, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.config.durations import format_duration
from jobsup.model import Reason, RunResult, Status, WorkerStatus
from jobsup.store import attempts, dependencies, notifier
from jobsup.store.attempts import Ended
from jobsup.store.column_types import UtcDateTime
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.hosts import LEASE_HEARTBEATS
from jobsup.store.rows import LIVE, WAITING, Job, JobDispatch, WorkerRegistration
from jobsup.store.statements import Given, Statement

RESCUE_BATCH_SIZE = 500
"""Runs closed in one transaction, so that rescue never holds the writers up for long."""


BACK_HEARTBEATS = 2
"""After a database that was away a worker has this many intervals to be heard of: it could not be, meanwhile."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The workers that are gone."""

    dead: list[str]
    """Their processes have ended: this host's own process table says so."""
    silent: list[str]
    """Elsewhere, and not heard of for a whole lease: dead, cut off, or standing still."""
    next_silent_at: datetime | None
    """When the next one of another host will be silent for too long, unless it is heard of before."""


def find_lost(
    database: Database,
    *,
    node: str,
    boot_id: str,
    pid_namespace: str,
    is_alive: Callable[[int, int], bool],
    back_since: datetime | None = None,
) -> Lost:
    """Find the workers that are gone: by the process table on this very host, by their heartbeat elsewhere.

    `is_alive(pid, start ticks)` is asked only about processes of this boot and pid namespace. `back_since`: until then
    the database was away, as far as we know, and nobody could be heard of.
    """
    now = database.now()
    with database.look() as direct:
        rows = [_Present(*row) for row in direct.fetch(_PRESENT, {})]
    here = (node, boot_id, pid_namespace)
    dead: list[str] = []
    silent_at: dict[str, datetime] = {}
    for row in rows:
        if (row.node, row.boot_id, row.pid_namespace) != here:
            silent_at[row.worker_id] = _silent_at(row.last_heartbeat, row.heartbeat_interval, back_since)
        elif not is_alive(row.process_id, row.process_started):
            dead.append(row.worker_id)
    silent = [worker_id for worker_id, at in silent_at.items() if at < now]
    return Lost(dead, silent, min((at for at in silent_at.values() if at >= now), default=None))


def _silent_at(last_heartbeat: datetime, interval: float, back_since: datetime | None) -> datetime:
    at = last_heartbeat + timedelta(seconds=interval * LEASE_HEARTBEATS)
    return at if back_since is None else max(at, back_since + timedelta(seconds=interval * BACK_HEARTBEATS))


class _Present(NamedTuple):
    """A worker that is not OFFLINE."""

    worker_id: str
    node: str
    boot_id: str
    pid_namespace: str
    process_id: int
    process_started: int
    last_heartbeat: datetime
    heartbeat_interval: float


_PRESENT = Statement(
    lambda _: select(*(getattr(WorkerRegistration, name) for name in _Present._fields)).where(
        WorkerRegistration.status != WorkerStatus.OFFLINE
    )
)


def close_lost(database: Database, worker_ids: Iterable[str], *, are_silent: bool = False) -> list[Ended]:
    """Mark workers OFFLINE and end what they had as TIMEOUT/worker_lost; doing it twice changes nothing.

    `are_silent`: nobody knows whether they have ended, and their runs say so.
    """
    wanted = list(worker_ids)
    if not wanted:
        return []
    explain = _worker_silent if are_silent else _worker_lost
    closed: list[Ended] = []
    is_done = False
    while not is_done:
        is_done, ended = database.transact(lambda connection: _give_up(database, connection, wanted, explain))
        closed += ended
    return closed


def _give_up(
    database: Database, connection: Connection, worker_ids: Sequence[str], explain: Callable[[_Running], str]
) -> tuple[bool, list[Ended]]:
    """End some of what workers had; they are OFFLINE with the last of it, and not before.

    Whoever does this may die on the way: an OFFLINE worker is one that nobody looks at again.
    """
    ours = WorkerRegistration.worker_id.in_(worker_ids)
    connection.execute(select(WorkerRegistration.worker_id).where(ours).with_for_update())  # none claims any more
    given = {"workers": worker_ids, "most": RESCUE_BATCH_SIZE + 1}
    runs = _running(Direct.of(connection), _OF_WORKERS, given)
    ended = _end(database, connection, runs[:RESCUE_BATCH_SIZE], Reason.WORKER_LOST, explain)
    if len(runs) > RESCUE_BATCH_SIZE:
        return False, ended
    offline = update(WorkerRegistration).where(ours, WorkerRegistration.status != WorkerStatus.OFFLINE)
    gone = connection.execute(offline.values(status=WorkerStatus.OFFLINE, current_job_id=None)).rowcount
    notifier.wake(database, "worker", gone)  # they may have been offered what others have to take now
    return True, ended


def close_overdue(database: Database, margin: timedelta) -> list[Ended]:
    """End runs that are past deadline + kill_grace + margin though their owner lives: it does not do its duty."""
    now = database.now()

    def is_overdue(run: _Running) -> bool:
        return (
            run.deadline_at is not None and run.deadline_at + jobspec_from_dict(run.payload).kill_grace + margin < now
        )

    return _close(database, _OVERDUE, {"before": now - margin}, Reason.DEADLINE, _overdue, only=is_overdue)


def close_ownerless(database: Database, threshold: timedelta) -> list[Ended]:
    """End runs that nobody owns: their worker is OFFLINE or unknown, and they were claimed over `threshold` ago."""
    return _close(database, _OWNERLESS, {"before": database.now() - threshold}, Reason.NO_OWNER, _no_owner)


def cancel_hostless(database: Database, threshold: timedelta) -> list[int]:
    """End what waits for a host none of whose workers was heard of for `threshold`; returns the ids.

    What has waited for less stays, however long the host has been away.
    """
    now = database.now()
    given = {"before": now - threshold}
    with database.look() as direct:
        if not direct.fetch(_ANY_HOSTLESS, given):
            return []

    def end(connection: Connection) -> list[int]:
        ours = _hostless(now - threshold).with_for_update(of=JobDispatch, key_share=True, skip_locked=True)
        rows = connection.execute(ours).mappings().all()
        for row in rows:
            connection.execute(
                update(JobDispatch)
                .where(JobDispatch.id == row["id"], JobDispatch.status == Status.PENDING)
                .values(
                    status=Status.CANCELLED,
                    reason=Reason.HOST_GONE,
                    completed_at=now,
                    error_message=f"no worker on {row['target']} has been heard of for {format_duration(threshold)}",
                )
            )
            dependencies.follow(connection, row, Status.CANCELLED, Reason.HOST_GONE, now)
        if rows:
            notifier.wake(database, "follower")
        return [row["id"] for row in rows]

    return database.transact(end)


def _hostless(before: Any) -> Select[Any]:
    heard_of = exists().where(
        WorkerRegistration.node == JobDispatch.target, WorkerRegistration.last_heartbeat >= before
    )
    waits_for_long = (WAITING, JobDispatch.target != "", JobDispatch.available_at < before)
    return select(JobDispatch.__table__).where(*waits_for_long, ~heard_of)


_ANY_HOSTLESS = Statement(
    lambda given: _hostless(given.one("before", UtcDateTime())).with_only_columns(JobDispatch.id).limit(1)
)


def _close(
    database: Database,
    which: Statement,
    given: dict[str, Any],
    reason: Reason,
    explain: Callable[[_Running], str],
    *,
    only: Callable[[_Running], bool] = lambda _: True,
) -> list[Ended]:
    with database.look() as direct:
        candidates = [run for run in _running(direct, which, given) if only(run)]
    if not candidates:
        return []  # the usual case: an idle pass writes nothing
    return [
        ended
        for start in range(0, len(candidates), RESCUE_BATCH_SIZE)
        for ended in _end_all(database, candidates[start : start + RESCUE_BATCH_SIZE], reason, explain)
    ]


class _Running(NamedTuple):
    """A run that is under way, with what its end needs to know."""

    id: int
    worker_id: str
    claimed_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    payload: dict[str, Any]
    node: str | None


def _running(direct: Direct, which: Statement, given: dict[str, Any]) -> list[_Running]:
    return [_Running(*row) for row in direct.fetch(which, given)]


_RUNNING = (
    select(
        JobDispatch.id,
        JobDispatch.worker_id,
        JobDispatch.claimed_at,
        JobDispatch.started_at,
        JobDispatch.deadline_at,
        Job.payload,
        WorkerRegistration.node,
    )
    .join(Job, Job.id == JobDispatch.job_id)
    .outerjoin(WorkerRegistration, WorkerRegistration.worker_id == JobDispatch.worker_id)
    .where(LIVE, JobDispatch.status == Status.IN_PROGRESS)
    .order_by(JobDispatch.worker_id, JobDispatch.id)
)


def _of_workers(given: Given) -> Select[Any]:
    ours = given.among(JobDispatch.worker_id, "workers", String())
    return _RUNNING.where(ours).limit(given.one("most", BigInteger()))


def _of_nobody(given: Given) -> Select[Any]:
    return _RUNNING.where(
        JobDispatch.claimed_at < given.one("before", UtcDateTime()),
        or_(WorkerRegistration.worker_id.is_(None), WorkerRegistration.status == WorkerStatus.OFFLINE),
    )


_OF_WORKERS = Statement(_of_workers)
_OVERDUE = Statement(lambda given: _RUNNING.where(JobDispatch.deadline_at < given.one("before", UtcDateTime())))
_OWNERLESS = Statement(_of_nobody)


def _end_all(
    database: Database, runs: Sequence[_Running], reason: Reason, explain: Callable[[_Running], str]
) -> list[Ended]:
    return database.transact(lambda connection: _end(database, connection, runs, reason, explain))


def _end(
    database: Database,
    connection: Connection,
    runs: Sequence[_Running],
    reason: Reason,
    explain: Callable[[_Running], str],
) -> list[Ended]:
    """End runs, each only while it is still that worker's: it may have finished, or been closed, since it was read."""
    now = database.now()
    found: list[Ended] = []
    for (worker_id, node), owned in groupby(runs, key=lambda run: (run.worker_id, run.node or "")):
        results = [_result(connection, run, reason, explain, now) for run in owned]
        found += attempts.end(Direct.of(connection), results, worker_id=worker_id, node=node, now=now).values()
    if found:
        notifier.wake(database, "worker", len(found))
        notifier.wake(database, "follower")
    return found


def _result(
    connection: Connection, run: _Running, reason: Reason, explain: Callable[[_Running], str], now: datetime
) -> RunResult:
    chunks = attempts.chunks_of(connection, run.id)
    return RunResult(
        dispatch_id=run.id,
        status=Status.TIMEOUT,
        reason=reason,
        finished_at=now,
        started_at=run.started_at or (chunks[0].at if chunks else None),
        error_message=explain(run),
        output=attempts.fold(chunks),
    )


def _worker_lost(run: _Running) -> str:
    return f"its worker {run.worker_id} on {run.node or 'an unknown host'} was lost"


def _worker_silent(run: _Running) -> str:
    return (
        f"its worker {run.worker_id} on {run.node or 'an unknown host'} was not heard of any more; "
        "if that host only stood still, this run may have gone on beside the next one"
    )


def _overdue(run: _Running) -> str:
    return f"worker {run.worker_id} did not end it in time after its deadline"


def _no_owner(run: _Running) -> str:
    return f"its worker {run.worker_id} is gone and nobody closed the run"
