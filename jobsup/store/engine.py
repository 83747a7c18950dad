"""One process's connection to the database: transactions, time, and errors a person can read.

On SQLite every writing transaction waits its turn on a lock file beside the database and then begins with
BEGIN IMMEDIATE: a fair queue instead of busy retries, and never an upgrade that fails half-way.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError as DriverError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from jobsup.clock import Clock, SystemClock
from jobsup.errors import DatabaseError, DatabaseUnavailableError, UsageError

# How long SQLite itself waits for a lock that a foreign program holds; our own writers queue on the lock file.
SQLITE_BUSY_SECONDS = 5.0
# Pages of WAL after which a commit checkpoints by itself, as a bound behind the supervised checkpoints.
SQLITE_AUTOCHECKPOINT_PAGES = 4000
# Bytes the WAL file is cut back to after a checkpoint.
SQLITE_JOURNAL_SIZE_LIMIT = 8 << 20

_BEGIN = "jobsup_begin"


class Database:
    """A handle on the tables, for one process and one thread at a time; opened after a fork, never carried over one."""

    def __init__(self, url: str, *, synchronous: str = "full", clock: Clock | None = None) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database) if self.is_sqlite and self.url.database else None
        self.clock = clock or SystemClock()
        self.statements = 0
        """How many statements this handle has sent: what an idle process costs the database."""
        self.engine = _sqlite_engine(url, synchronous) if self.is_sqlite else _server_engine(url)
        self._queue = _WriterQueue(Path(f"{self.path}-queue")) if self.path else None
        event.listen(self.engine, "before_cursor_execute", self._count)

    def _count(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        self.statements += not statement.startswith("BEGIN")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it commits at the end and rolls back on any error."""
        with _readable_errors(self), self._turn(), self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a short transaction that only reads one consistent state."""
        with _readable_errors(self), self._transaction("BEGIN") as connection:
            yield connection

    def now(self) -> datetime:
        """Return the instant by the clock that rules what is due and what has expired."""
        return self.clock.now()

    def close(self) -> None:
        """Give the connection back; safe to call twice."""
        self.engine.dispose()
        if self._queue is not None:
            self._queue.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            connection.execution_options(**{_BEGIN: begin})  # changes the connection itself
            with connection.begin():
                yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._queue is None:
            yield
            return
        self._queue.enter()
        try:
            yield
        finally:
            self._queue.leave()


class _WriterQueue:
    """The writers' turn on SQLite: a blocking flock, which the kernel grants in the order of asking."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def enter(self) -> None:
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def leave(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _sqlite_engine(url: str, synchronous: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, see below
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous.upper()}",
            "foreign_keys=ON",
            f"wal_autocheckpoint={SQLITE_AUTOCHECKPOINT_PAGES}",
            f"journal_size_limit={SQLITE_JOURNAL_SIZE_LIMIT}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))

    return engine


def _server_engine(url: str) -> Engine:
    try:
        return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise UsageError(f"the database URL needs the Python package {error.name!r}, which is not installed") from error


@contextmanager
def _readable_errors(database: Database) -> Iterator[None]:
    """Turn what the driver says into one line that names the database and what to do."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise _explain(database, str(error.orig), error) from error
    except OSError as error:
        if database.path is None:
            raise
        raise DatabaseError(f"database {database.path}: {error.strerror}: its folder must be writable") from error


def _explain(database: Database, said: str, error: DBAPIError) -> DatabaseError:
    where = f"database {database.path or database.url.render_as_string(hide_password=True)}"
    lowered = said.lower()
    for words, kind, advice in _EXPLANATIONS:
        if any(word in lowered for word in words):
            return kind(f"{where}: {advice}")
    if isinstance(error, DriverError) and error.connection_invalidated:
        return DatabaseUnavailableError(f"{where}: connection lost: {said}")
    return DatabaseUnavailableError(f"{where}: {said}")


_EXPLANATIONS: tuple[tuple[tuple[str, ...], type[DatabaseError], str], ...] = (
    (
        ("locked", "busy"),
        DatabaseUnavailableError,
        f"locked by another program for over {SQLITE_BUSY_SECONDS:.0f} s: end its transaction",
    ),
    (("is full",), DatabaseUnavailableError, "no space left on its disk: free some"),
    (("disk i/o",), DatabaseUnavailableError, "disk I/O error: look at the machine's disk"),
    (("unable to open",), DatabaseError, "cannot be opened: its folder must exist and be writable"),
    (
        ("not a database", "malformed"),
        DatabaseError,
        "is corrupt or no SQLite file: restore it from a backup, or move it away",
    ),
    (
        ("readonly", "read-only"),
        DatabaseError,
        "cannot be written: check the owner and mode of the file and its folder",
    ),
    (("no such table", "no such column"), DatabaseError, "has not the tables of this version: run `jobsup db upgrade`"),
)
"""What the driver says, whether waiting may help, and what to tell a person."""
