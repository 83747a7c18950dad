"""Worker registrations: who they are, since when, and when they were last heard of."""

from __future__ import annotations

import os
import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, bindparam, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobsup.errors import DatabaseError
from jobsup.model import Status, WorkerFacts, WorkerStatus, host_tag
from jobsup.store import notifier, tables
from jobsup.store.column_types import UtcDateTime
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, JobDispatch, WorkerRegistration
from jobsup.store.statements import Statement

_W = tables.worker_registration

WORKER_ID_CHARACTERS = string.ascii_lowercase + string.digits
WORKER_ID_LENGTH = 5
# 36**5 names: a second try is rare, an eighth means that the table is not what it should be.
REGISTER_TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A registration as it stands in the database."""

    worker_id: str
    node: str
    hostname: str
    platform: str
    boot_id: str
    pid_namespace: str
    process_id: int
    process_started: int
    started_at: datetime
    last_heartbeat: datetime
    heartbeat_interval: timedelta
    status: WorkerStatus
    jobs_processed: int
    current_job_id: int | None
    concurrency: int
    queues: tuple[str, ...]
    tags: tuple[str, ...]
    """With its host's."""
    version: str
    clock_offset: float | None = None
    """Seconds by which its host's clock was ahead of the server's; None where there is none to compare."""


def register(database: Database, facts: WorkerFacts, version: str) -> str:
    """Write a new, IDLE worker and return the id it was given: `worker-` and five of [a-z0-9].

    The schedulers are told of it: that of its host watches its process from then on.
    """
    for _ in range(REGISTER_TRIES_MAX):
        worker_id = _random_id()
        try:
            with database.directly() as direct:
                _insert(direct, worker_id, facts, version, database)
                notifier.wake(database, "scheduler")
        except IntegrityError:
            continue  # the id is taken: draw another
        return worker_id
    raise DatabaseError(f"no free worker id found in {REGISTER_TRIES_MAX} tries: delete old worker_registration rows")


def stop(database: Database, worker_id: str) -> None:
    """Mark a worker that has ended in order as OFFLINE."""
    with database.directly() as direct:
        direct.run(_STOP, {"worker": worker_id})


def list_workers(database: Database, *, include_offline: bool = False) -> list[WorkerRow]:
    """Read the registered workers, by node and start; those OFFLINE only when asked for."""
    statement = select(WorkerRegistration.__table__).order_by(
        WorkerRegistration.node, WorkerRegistration.started_at, WorkerRegistration.worker_id
    )
    if not include_offline:
        statement = statement.where(WorkerRegistration.status != WorkerStatus.OFFLINE)
    with database.read() as connection:
        return [_row(dict(row)) for row in connection.execute(statement).mappings()]


def mark_stale_offline(database: Database, threshold: timedelta, *, boot_id: str = "") -> list[str]:
    """Mark workers not heard of for longer than `threshold` as OFFLINE and return their ids.

    Left alone are workers that still own a run, whose loss has to be closed first, and those of the boot
    `boot_id`: on its own machine the caller asks the process table, for after a suspend every heartbeat is old.
    """
    with database.directly() as direct:
        given = {"before": database.now() - threshold, "boot": boot_id}
        return [worker_id for (worker_id,) in direct.fetch(_GIVE_UP, given)]


_GIVE_UP = Statement(
    lambda given: (
        update(WorkerRegistration)
        .where(
            WorkerRegistration.status != WorkerStatus.OFFLINE,
            WorkerRegistration.last_heartbeat < given.one("before", UtcDateTime()),
            WorkerRegistration.boot_id != given.one("boot", String()),
            ~exists().where(
                LIVE, JobDispatch.worker_id == WorkerRegistration.worker_id, JobDispatch.status == Status.IN_PROGRESS
            ),
        )
        .values(status=WorkerStatus.OFFLINE, current_job_id=None)
        .returning(WorkerRegistration.worker_id)
    )
)
_REGISTER = Statement(
    lambda _: insert(WorkerRegistration).values({each.name: bindparam(each.name) for each in _W.c}),
)
_STOP = Statement(
    lambda _: (
        update(WorkerRegistration)
        .where(WorkerRegistration.worker_id == bindparam("worker"))
        .values(status=WorkerStatus.OFFLINE, current_job_id=None)
    )
)


def _random_id() -> str:
    return "worker-" + "".join(secrets.choice(WORKER_ID_CHARACTERS) for _ in range(WORKER_ID_LENGTH))


def _insert(direct: Direct, worker_id: str, facts: WorkerFacts, version: str, database: Database) -> None:
    machine, now = os.uname(), database.now()
    direct.run(
        _REGISTER,
        {
            "worker_id": worker_id,
            "node": facts.node,
            "hostname": machine.nodename,
            "platform": f"{machine.sysname} {machine.release} {machine.machine}",
            "boot_id": facts.boot_id,
            "pid_namespace": facts.pid_namespace,
            "process_id": facts.process_id,
            "process_started": facts.process_started,
            "started_at": now,
            "last_heartbeat": now,
            "heartbeat_interval": facts.heartbeat_interval.total_seconds(),
            "status": WorkerStatus.IDLE.value,
            "jobs_processed": 0,
            "current_job_id": None,
            "concurrency": facts.concurrency,
            "queues": list(facts.queues),
            "tags": [host_tag(facts.node), *facts.tags],
            "version": version,
            "clock_offset": database.clock_offset,
        },
    )


def _row(columns: dict[str, Any]) -> WorkerRow:
    columns["heartbeat_interval"] = timedelta(seconds=columns["heartbeat_interval"])
    columns["status"] = WorkerStatus(columns["status"])
    columns["queues"] = tuple(columns["queues"])
    columns["tags"] = tuple(columns["tags"])
    return WorkerRow(**columns)
