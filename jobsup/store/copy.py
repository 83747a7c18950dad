"""Moving a stopped instance from its SQLite file to a PostgreSQL server: every row, in one transaction, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text

from jobsup.errors import ConflictError, DatabaseError, UsageError
from jobsup.model import WorkerStatus
from jobsup.runtime import locks, procs
from jobsup.store import schema, workers
from jobsup.store.engine import Database
from jobsup.store.hosts import LEASE_HEARTBEATS
from jobsup.store.workers import WorkerRow

BATCH_ROWS_MAX = 1000
BATCH_BYTES_MAX = 8 << 20
"""What a run printed may be large: so much of it is held in memory at a time."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows a table has now, on both sides."""

    table: str
    rows: int


def copy(source: Database, target: Database) -> list[Copied]:
    """Write everything of a SQLite file into an empty database on a server; the file stays as it is.

    The tables are made where there are none. Raises UsageError for another pair of databases, ConflictError when
    something of the source still runs or the target has rows, DatabaseError when a row cannot be taken over; the
    target is left without a row then.
    """
    if source.path is None or target.path is not None:
        raise UsageError("copying goes from a SQLite file to a PostgreSQL server")
    schema.ensure(source, migrate=False)
    lock = locks.acquire(f"{source.path}-supervisor")
    try:
        _refuse_running(source)
        tables = schema.all_tables().sorted_tables
        schema.ensure(target, migrate=True)
        # No other writer gets its turn while the source is read, though nothing is written to it.
        with source.write() as old, target.patiently(), target.write() as new:
            new.execute(text("SET LOCAL statement_timeout = 0"))
            new.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            _refuse_filled(new, target, tables)
            return [_copy_table(old, new, table) for table in tables]
    finally:
        lock.release()


def _refuse_running(source: Database) -> None:
    """Look for workers that run without a supervisor, whose lock would tell of them."""
    registered = workers.list_workers(source)
    alive = next((row for row in registered if row.status != WorkerStatus.OFFLINE and _lives(source, row)), None)
    if alive is not None:
        who = f"worker {alive.worker_id} (pid {alive.process_id} on {alive.node})"
        raise ConflictError(f"{who} still works on {source.where}: stop it first")


def _lives(source: Database, row: WorkerRow) -> bool:
    if (row.boot_id, row.pid_namespace) == (procs.boot_id(), procs.pid_namespace()):
        return procs.is_alive(row.process_id, row.process_started)
    return source.now() - row.last_heartbeat < row.heartbeat_interval * LEASE_HEARTBEATS


def _refuse_filled(connection: Connection, target: Database, tables: Sequence[Table]) -> None:
    for table in tables:
        if connection.execute(select(table.primary_key.columns.values()[0]).limit(1)).first() is not None:
            raise ConflictError(f"database {target.where}, schema {target.schema}: table {table.name} has rows already")


def _copy_table(old: Connection, new: Connection, table: Table) -> Copied:
    written = 0
    for batch in _batches(old, table):
        new.execute(insert(table), batch)
        written += len(batch)
    _set_sequence(new, table)
    expected = old.execute(select(func.count()).select_from(table)).scalar_one()
    found = new.execute(select(func.count()).select_from(table)).scalar_one()
    if not expected == found == written:
        raise DatabaseError(f"table {table.name} has {expected} rows, but {found} arrived: nothing was copied")
    return Copied(table.name, found)


def _batches(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Read a table in the order of its key, in which no row refers to a later one."""
    batch: list[dict[str, Any]] = []
    size = 0
    rows = connection.execution_options(yield_per=BATCH_ROWS_MAX).execute(
        select(table).order_by(*table.primary_key.columns)
    )
    for row in rows.mappings():
        batch.append(dict(row))
        size += sum(len(value) for value in row.values() if isinstance(value, bytes | str))
        if len(batch) >= BATCH_ROWS_MAX or size >= BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _set_sequence(connection: Connection, table: Table) -> None:
    """Let the numbers that the server gives go on behind those that came along."""
    column = table.autoincrement_column
    if column is None:
        return
    newest = select(func.max(column)).scalar_subquery()
    sequence = func.pg_get_serial_sequence(table.name, column.name)
    connection.execute(select(func.setval(sequence, newest)).where(newest.is_not(None)))
