"""Closing the runs of owners that are gone: TIMEOUT with a reason, their output kept, and a retry where one is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, exists, or_, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.config.durations import format_duration
from jobsup.model import Reason, RunResult, Status, WorkerStatus
from jobsup.store import attempts, dependencies, notifier
from jobsup.store.attempts import Ended
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.hosts import LEASE_HEARTBEATS
from jobsup.store.made import fetch
from jobsup.store.rows import LIVE, WAITING, Job, JobDispatch, WorkerRegistration

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
    with database.read() as connection:
        rows = fetch(connection, _PRESENT, {}).all()
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


_PRESENT = select(
    WorkerRegistration.worker_id,
    WorkerRegistration.node,
    WorkerRegistration.boot_id,
    WorkerRegistration.pid_namespace,
    WorkerRegistration.process_id,
    WorkerRegistration.process_started,
    WorkerRegistration.last_heartbeat,
    WorkerRegistration.heartbeat_interval,
).where(WorkerRegistration.status != WorkerStatus.OFFLINE)


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
    database: Database, connection: Connection, worker_ids: Sequence[str], explain: Callable[[RowMapping], str]
) -> tuple[bool, list[Ended]]:
    """End some of what workers had; they are OFFLINE with the last of it, and not before.

    Whoever does this may die on the way: an OFFLINE worker is one that nobody looks at again.
    """
    ours = WorkerRegistration.worker_id.in_(worker_ids)
    connection.execute(select(WorkerRegistration.worker_id).where(ours).with_for_update())  # none claims any more
    given = {"workers": worker_ids, "most": RESCUE_BATCH_SIZE + 1}
    rows = fetch(connection, _OF_WORKERS, given).mappings().all()
    ended = _end(database, connection, rows[:RESCUE_BATCH_SIZE], Reason.WORKER_LOST, explain)
    if len(rows) > RESCUE_BATCH_SIZE:
        return False, ended
    offline = update(WorkerRegistration).where(ours, WorkerRegistration.status != WorkerStatus.OFFLINE)
    gone = connection.execute(offline.values(status=WorkerStatus.OFFLINE, current_job_id=None)).rowcount
    notifier.wake(database, "worker", gone)  # they may have been offered what others have to take now
    return True, ended


def close_overdue(database: Database, margin: timedelta) -> list[Ended]:
    """End runs that are past deadline + kill_grace + margin though their owner lives: it does not do its duty."""
    now = database.now()

    def is_overdue(row: RowMapping) -> bool:
        return bool(row["deadline_at"] + jobspec_from_dict(row["payload"]).kill_grace + margin < now)

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
    if not _candidates(database, _HOSTLESS, given):
        return []

    def end(connection: Connection) -> list[int]:
        rows = fetch(connection, _HOSTLESS_LOCKED, given).mappings().all()
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


_HOSTLESS = select(JobDispatch.__table__).where(
    WAITING,
    JobDispatch.target != "",
    JobDispatch.available_at < bindparam("before"),
    ~exists().where(
        WorkerRegistration.node == JobDispatch.target, WorkerRegistration.last_heartbeat >= bindparam("before")
    ),
)
_HOSTLESS_LOCKED = _HOSTLESS.with_for_update(of=JobDispatch, key_share=True, skip_locked=True)


def _close(
    database: Database,
    which: Select[Any],
    given: dict[str, Any],
    reason: Reason,
    explain: Callable[[RowMapping], str],
    *,
    only: Callable[[RowMapping], bool] = lambda _: True,
) -> list[Ended]:
    candidates = [row for row in _candidates(database, which, given) if only(row)]
    if not candidates:
        return []  # the usual case: an idle pass writes nothing
    return [
        ended
        for start in range(0, len(candidates), RESCUE_BATCH_SIZE)
        for ended in _end_all(database, candidates[start : start + RESCUE_BATCH_SIZE], reason, explain)
    ]


def _candidates(database: Database, which: Select[Any], given: dict[str, Any]) -> Sequence[RowMapping]:
    with database.read() as connection:
        return fetch(connection, which, given).mappings().all()


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
_OF_WORKERS = _RUNNING.where(JobDispatch.worker_id.in_(bindparam("workers", expanding=True))).limit(bindparam("most"))
_OVERDUE = _RUNNING.where(JobDispatch.deadline_at < bindparam("before"))
_OWNERLESS = _RUNNING.where(
    JobDispatch.claimed_at < bindparam("before"),
    or_(WorkerRegistration.worker_id.is_(None), WorkerRegistration.status == WorkerStatus.OFFLINE),
)


def _end_all(
    database: Database, rows: Sequence[RowMapping], reason: Reason, explain: Callable[[RowMapping], str]
) -> list[Ended]:
    return database.transact(lambda connection: _end(database, connection, rows, reason, explain))


def _end(
    database: Database,
    connection: Connection,
    rows: Sequence[RowMapping],
    reason: Reason,
    explain: Callable[[RowMapping], str],
) -> list[Ended]:
    """End runs, each only while it is still that worker's: it may have finished, or been closed, since it was read."""
    now = database.now()
    found: list[Ended] = []
    for (worker_id, node), owned in groupby(rows, key=lambda row: (row["worker_id"], row["node"] or "")):
        results = [_result(connection, row, reason, explain, now) for row in owned]
        found += attempts.end(Direct.of(connection), results, worker_id=worker_id, node=node, now=now).values()
    if found:
        notifier.wake(database, "worker", len(found))
        notifier.wake(database, "follower")
    return found


def _result(
    connection: Connection, row: RowMapping, reason: Reason, explain: Callable[[RowMapping], str], now: datetime
) -> RunResult:
    chunks = attempts.chunks_of(connection, row["id"])
    return RunResult(
        dispatch_id=row["id"],
        status=Status.TIMEOUT,
        reason=reason,
        finished_at=now,
        started_at=row["started_at"] or (chunks[0].at if chunks else None),
        error_message=explain(row),
        output=attempts.fold(chunks),
    )


def _worker_lost(row: RowMapping) -> str:
    return f"its worker {row['worker_id']} on {row['node'] or 'an unknown host'} was lost"


def _worker_silent(row: RowMapping) -> str:
    return (
        f"its worker {row['worker_id']} on {row['node'] or 'an unknown host'} was not heard of any more; "
        "if that host only stood still, this run may have gone on beside the next one"
    )


def _overdue(row: RowMapping) -> str:
    return f"worker {row['worker_id']} did not end it in time after its deadline"


def _no_owner(row: RowMapping) -> str:
    return f"its worker {row['worker_id']} is gone and nobody closed the run"
