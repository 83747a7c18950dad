"""Loading what a child will need of the database's libraries before it is forked, so that memory is shared.

Python writes to every object it touches. What the first round of a database costs (mappings, statements made into
text, types resolved) would be private to each child; done once before the fork, the children find it done.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from jobsup.errors import JobsupError, UsageError
from jobsup.model import Heartbeat, Lease, WorkerFacts, WorkerStatus
from jobsup.store import (
    attempts,
    claiming,
    holds,
    job_days,
    leases,
    notifier,
    recompute,
    rescue,
    retention,
    rounds,
    tables,
    ticks,
    workers,
)
from jobsup.store.addresses import parse
from jobsup.store.engine import Database

_NOBODY = "nobody"
_SECOND = timedelta(seconds=1)


def load_driver(url: str) -> None:
    """Import the dialect and the driver of a URL; opens no connection. UsageError when the driver is not installed."""
    try:
        address = parse(url)
        address.get_dialect().import_dbapi()
        if address.get_backend_name() == "postgresql":
            from jobsup.store import on_postgres  # noqa: F401  (for the loading)
    except ModuleNotFoundError as error:
        raise UsageError(f"the database URL needs the Python package {error.name!r}, which is not installed") from error


def rehearse(url: str) -> None:
    """Do once what workers and schedulers do all day, on an empty SQLite file of its own, and keep what that made.

    Nothing is done for a server, and a machine without room for the file only costs more memory.
    """
    if parse(url).get_backend_name() != "sqlite":
        return
    try:
        with tempfile.TemporaryDirectory(prefix="jobsup-") as folder:
            _rehearse_in(Path(folder))
    except (OSError, JobsupError):
        return


def _rehearse_in(folder: Path) -> None:
    database = Database(f"sqlite:///{folder / 'rehearsal.db'}", synchronous="off", kind="rehearsal")
    tables.limit_indexes("sqlite")
    with database.write() as connection:
        tables.metadata.create_all(connection)
    listener = notifier.Listener(database, "worker")
    _be_worker(database)
    _be_scheduler(database)
    listener.close()
    database.hand_on()


def _be_worker(database: Database) -> None:
    facts = WorkerFacts(
        node=_NOBODY,
        boot_id=_NOBODY,
        pid_namespace=_NOBODY,
        process_id=os.getpid(),
        process_started=0,
        heartbeat_interval=_SECOND,
        concurrency=1,
        queues=(),
    )
    worker = rounds.Worker(workers.register(database, facts, _NOBODY), _NOBODY)
    beat = Heartbeat(WorkerStatus.IDLE, 0, None)
    for request in (rounds.Round(claim=1), rounds.Round(claim=1, heartbeat=beat, watch_cancels=True)):
        rounds.exchange(database, worker, request)
    workers.stop(database, worker.worker_id)
    for statement in (*attempts.STATEMENTS, *claiming.STATEMENTS, *rounds.STATEMENTS):
        statement.made(database.engine.dialect)


def _be_scheduler(database: Database) -> None:
    leases.current(database)
    lease = leases.acquire(database, _NOBODY, _NOBODY, _SECOND)
    if lease is not None:
        _lead(database, lease)


def _lead(database: Database, lease: Lease) -> None:
    leases.renew(database, lease, _SECOND)
    recompute.recompute(database)
    ticks.next_due_at(database)
    ticks.due(database, 1)
    for statement in ticks.STATEMENTS:
        statement.made(database.engine.dialect)
    rescue.find_lost(database, node=_NOBODY, boot_id=_NOBODY, pid_namespace=_NOBODY, is_alive=lambda _, __: True)
    rescue.close_overdue(database, _SECOND)
    rescue.close_ownerless(database, _SECOND)
    rescue.cancel_hostless(database, _SECOND)
    workers.mark_stale_offline(database, _SECOND)
    retention.delete_ended(database, database.now(), 1)
    retention.delete_offline_workers(database, database.now(), 1)
    retention.delete_stray_chunks(database, 1)
    job_days.count(database)
    job_days.delete_old(database, database.now().date(), 1)
    holds.apply(database, database.now())
    holds.next_change(database, database.now())
    leases.resign(database, lease)
