"""The database as a SQLite file: one connection, and a fair queue of all processes that want to write.

Every writing transaction waits its turn on a lock file beside the database and then begins with BEGIN IMMEDIATE: no
busy retries, and never an upgrade of a reading transaction that fails half-way.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from sqlite3 import dbapi2
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from jobsup.clock import Clock
from jobsup.errors import DatabaseError, DatabaseUnavailableError
from jobsup.store import faults, wake_sockets
from jobsup.store.counting import StatementCount
from jobsup.store.direct import BEGIN, Direct, Held
from jobsup.store.faults import Words
from jobsup.store.news import kinds, offers
from jobsup.store.writer_queue import WriterQueue

# How long SQLite itself waits for a lock that a foreign program holds; our own writers queue on the lock file.
BUSY_SECONDS = 5.0
# Who has waited in our queue, behind others that wait for such a program, has waited for it too, and asks this long.
BUSY_SECONDS_MIN = 0.2
# Pages of WAL after which a commit checkpoints by itself, as a bound behind the supervised checkpoints.
AUTOCHECKPOINT_PAGES = 4000
# Bytes the WAL file is cut back to after a checkpoint.
JOURNAL_SIZE_LIMIT = 8 << 20


class SqliteFile:
    """What `Database` does in its own way on SQLite."""

    def __init__(self, url: URL, *, synchronous: str, clock: Clock, may_create: bool = True) -> None:
        self.clock = clock
        self.path = Path(url.database or "")
        self._opener = _spare.pop() if _spare else _Opener()
        self._opener.point_at(url, synchronous, may_create=may_create)
        self.engine = self._opener.engine
        self.count = self._opener.count
        self._queue = WriterQueue(Path(f"{self.path}-queue"))

    @property
    def where(self) -> str:
        return str(self.path)

    @property
    def waits(self) -> Callable[[], None]:
        """Called every few seconds while the main thread waits for its turn to write."""
        return self._queue.waits

    @waits.setter
    def waits(self, call: Callable[[], None]) -> None:
        self._queue.waits = call

    @contextmanager
    def turn(self, *, is_write: bool, is_lasting: bool = True) -> Iterator[None]:
        """Wait until this process may begin its transaction; DatabaseError when the file is not the one it opened."""
        if not is_write:
            self._check_in_place()
            yield
            return
        waited = self._queue.enter()
        try:
            self._check_in_place()
            with self._opener.waited(waited), nullcontext() if is_lasting else self._opener.unhurried():
                yield
        finally:
            self._queue.leave()

    def prepare(self, connection: Connection, *, is_write: bool) -> None:
        """Say how the transaction that follows begins."""
        connection.execution_options(**{BEGIN: "BEGIN IMMEDIATE" if is_write else "BEGIN"})  # changes it in place

    def take(self) -> Held:
        """Take the driver's connection for one transaction."""
        return self._opener.take()

    def begin(self, direct: Direct, *, is_write: bool) -> None:
        """Begin the transaction."""
        direct.say("BEGIN IMMEDIATE" if is_write else "BEGIN")

    def patiently(self) -> AbstractContextManager[None]:
        """Nothing here is given up before its end."""
        return nullcontext()

    def refresh_clock(self) -> None:
        """The machine's own clock needs no reading."""

    def announce(self, direct: Direct, news: Mapping[str, int]) -> None:
        """Nothing to do before the commit: who is woken too early would see nothing."""

    def announced(self, news: Mapping[str, int]) -> None:
        """Tell the listeners of each kind what has been committed."""
        for kind in kinds(news):
            wake_sockets.wake(self.path, kind)
        if "worker" not in news:
            wake_sockets.offer_each(self.path, offers(news))

    def explain(self, error: DBAPIError) -> DatabaseError:
        """Turn what the driver says into one line that names the database and what to do."""
        found = faults.find(str(error.orig), _EXPLANATIONS)
        if found is not None:
            return found[0](f"database {self.where}: {found[1]}")
        return DatabaseUnavailableError(f"database {self.where}: {faults.one_line(error)}")

    def close(self) -> None:
        self.engine.dispose()
        self._opener.let_go()
        self._queue.close()

    def _check_in_place(self) -> None:
        """SQLite would write on into a file that has no name any more, and all of it would be lost at the end."""
        opened = self._opener.opened
        if opened is None:
            return
        try:
            if os.path.samestat(opened, self.path.stat()):
                return
        except OSError:
            pass
        raise DatabaseError(
            f"database {self.path}: was removed or replaced while it was in use: put it back and `jobsup restart`"
        )

    def hand_on(self) -> None:
        """Leave the engine, with all it has compiled, to the next file that is named in this process or its forks."""
        self.close()
        _spare[:] = [self._opener]


class _Connection(sqlite3.Connection):
    """One that can say that it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True
        super().close()


class _Opener:
    """An engine and the file that its connections are opened on, which may be said later than the engine is made."""

    def __init__(self) -> None:
        self.engine: Engine = create_engine(
            "sqlite://",
            creator=self.hold,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            hide_parameters=True,  # what a job prints, and its environment, belong into no error text
        )
        event.listen(self.engine, "begin", _begin)
        self._held: _Connection | None = None
        self._has_met = False
        self.count = StatementCount(self.engine)

    def point_at(self, url: URL, synchronous: str, *, may_create: bool) -> None:
        """Have the connections that follow opened on this file."""
        self.count.sent = 0
        self.opened: os.stat_result | None = None
        """The file that the last connection was opened on."""
        words, options = _plain(url) or self.engine.dialect.create_connect_args(url)
        self._file: str = words[0]
        self._patience = float(options.pop("timeout", BUSY_SECONDS))
        self._options: dict[str, Any] = {**options, "check_same_thread": False}
        self._synchronous = synchronous
        self._may_create = may_create

    def hold(self) -> _Connection:
        """Return the one connection that a process has, which Core closes as well when it has given it up."""
        if self._held is None or self._held.is_closed:
            self._held = self._open()
        return self._held

    def take(self) -> Held:
        """Return it for one transaction."""
        if not self._has_met:
            self.engine.connect().close()  # Core ends its first meeting with a driver by a ROLLBACK: let it be now
            self._has_met = True
        return Held(self.hold(), self.engine)

    @contextmanager
    def waited(self, seconds: float) -> Iterator[None]:
        """Have SQLite wait for a foreign program only for what is left when so long was waited in the queue."""
        if seconds < BUSY_SECONDS_MIN:
            yield
            return
        whole = self._patience
        self._have_patience(max(BUSY_SECONDS_MIN, whole - seconds))
        try:
            yield
        finally:
            self._have_patience(whole)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Have what is committed in here brought to the disk with what comes after it."""
        if self._synchronous not in ("full", "extra"):
            yield
            return
        self._set("synchronous=NORMAL")
        try:
            yield
        finally:
            self._set(f"synchronous={self._synchronous.upper()}")

    def _have_patience(self, seconds: float) -> None:
        self._patience = seconds
        self._set(f"busy_timeout={seconds * 1000:.0f}")

    def _set(self, pragma: str) -> None:
        """Change a setting of the connection, where one is open; one that is opened has the usual ones."""
        if self._held is not None and not self._held.is_closed:
            self._held.execute(f"PRAGMA {pragma}").close()

    def let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _open(self) -> _Connection:
        if not self._options.get("uri"):
            self._find()
        connection: _Connection = dbapi2.connect(
            self._file, factory=_Connection, timeout=self._patience, **self._options
        )
        connection.isolation_level = None  # BEGIN is ours
        try:
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={self._synchronous.upper()}",
                "foreign_keys=ON",
                f"wal_autocheckpoint={AUTOCHECKPOINT_PAGES}",
                f"journal_size_limit={JOURNAL_SIZE_LIMIT}",
                "temp_store=MEMORY",
            ):
                connection.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            connection.close()
            raise
        with suppress(OSError):  # a name only SQLite understands: there is nothing to compare
            self.opened = Path(self._file).stat()
        return connection

    def _find(self) -> None:
        if self._may_create:
            _make_private(self._file)
        elif not Path(self._file).exists():
            raise DatabaseError(
                f"database {self._file}: is not there: put it back, or `jobsup restart` begins a new one"
            )


def _plain(url: URL) -> tuple[list[str], dict[str, Any]] | None:
    """Read a URL that is a path and nothing else, as Core would with many more words; None for any other."""
    if not url.database or url.database == ":memory:" or any((url.username, url.host, url.port, url.query)):
        return None
    return [str(Path(url.database).absolute())], {}


_spare: list[_Opener] = []
"""At most one engine that was warmed before a fork, for the first database that is named after it."""


def _make_private(path: str) -> None:
    """Make a file that is not there, readable for its owner alone; SQLite gives its companions the same mode."""
    with suppress(OSError):  # it is there, or SQLite itself says why it cannot be
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _begin(connection: Connection) -> None:
    if words := connection.get_execution_options().get(BEGIN, "BEGIN IMMEDIATE"):
        connection.exec_driver_sql(words)


_EXPLANATIONS: tuple[Words, ...] = (
    (
        ("locked", "busy"),
        DatabaseUnavailableError,
        f"locked by another program for over {BUSY_SECONDS:.0f} s: end its transaction",
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
