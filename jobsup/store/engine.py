"""One process's connection to the database: transactions, time, and errors a person can read.

What SQLite and PostgreSQL do differently here is in `on_sqlite` and `on_postgres`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, RootTransaction
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobsup.clock import Clock, ServerClock, SystemClock
from jobsup.config.settings import SCHEMA_DEFAULT, TIMEOUT_DEFAULT, DatabaseSettings
from jobsup.errors import DatabaseError, DatabaseUnavailableError, UsageError
from jobsup.store.addresses import parse
from jobsup.store.direct import Direct, borrow
from jobsup.store.faults import CollisionError, CommitUnknownError
from jobsup.store.on_sqlite import SqliteFile

T = TypeVar("T")
C = TypeVar("C")

# A transaction that met another one is done again at once; so many in a row mean that something is wrong.
TRIES_MAX = 8
# Processes that find a database made ready for them: one that has gone is no reason to make an empty one.
KINDS_THAT_STAY = ("scheduler", "worker", "portal")
# The unique index that says that a key's run was claimed by somebody else in this very moment.
CLAIMED_MEANWHILE = "uq_job_dispatch_one_in_progress"


class Database:
    """A handle on the tables, for one process and one thread at a time; opened after a fork, never carried over one."""

    def __init__(
        self,
        url: str,
        *,
        synchronous: str = "full",
        clock: Clock | None = None,
        schema: str = SCHEMA_DEFAULT,
        timeout: timedelta = TIMEOUT_DEFAULT,
        kind: str = "program",
    ) -> None:
        """Name the database; the first transaction connects. UsageError when the URL's driver is not installed.

        `schema` and `timeout`, the longest silence of a server, count on PostgreSQL; `kind` is how it sees us.
        """
        self.url = parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        own = clock or SystemClock()
        if self.is_sqlite:
            may_create = kind not in KINDS_THAT_STAY
            self.backend: Any = SqliteFile(self.url, synchronous=synchronous, clock=own, may_create=may_create)
        else:
            try:
                from jobsup.store.on_postgres import Server
            except ModuleNotFoundError as error:
                raise UsageError(
                    f"the database URL needs the Python package {error.name!r}: install `jobsup[postgres]`"
                ) from error
            self.backend = Server(self.url, schema=schema, timeout=timeout, kind=kind, clock=own)
        self.schema = None if self.is_sqlite else schema
        self.path: Path | None = self.backend.path
        self.engine = self.backend.engine
        self.clock: Clock = self.backend.clock
        """The clock that rules what is due and what has expired; any thread may ask it."""
        self._news: dict[str, int] | None = None

    @classmethod
    def of(cls, settings: DatabaseSettings, *, kind: str, clock: Clock | None = None) -> Database:
        """Name the database of a configuration."""
        return cls(
            settings.url,
            synchronous=settings.synchronous,
            clock=clock,
            schema=settings.schema,
            timeout=settings.timeout,
            kind=kind,
        )

    def while_waiting(self, call: Callable[[], None]) -> None:
        """Have `call` called every few seconds while an answer, or a turn to write, is waited for.

        It is called in the thread that waits; on SQLite only where that is the main one.
        """
        self.backend.waits = call

    @property
    def statements(self) -> int:
        """How many statements this handle has sent: what an idle process costs the database."""
        return int(self.backend.count.sent)

    @property
    def where(self) -> str:
        """The database as it may be shown: a path, or a URL without its password."""
        return str(self.backend.where)

    @property
    def skew(self) -> timedelta | None:
        """How far the server's clock is ahead of this machine's; None where there is none to compare."""
        return self.clock.skew if isinstance(self.clock, ServerClock) else None

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which this machine's clock is ahead of the server's; None where there is none to compare."""
        return None if self.skew is None else -self.skew.total_seconds()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it commits at the end and rolls back on any error.

        Raises CollisionError when another transaction was in the way, CommitUnknownError when the connection was
        lost at the commit, any other DatabaseUnavailableError with nothing written.
        """
        with self._transaction(is_write=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a short transaction that only reads one consistent state."""
        with self._transaction(is_write=False) as connection:
            yield connection

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do work in a transaction that writes, and once more whenever another transaction was in the way."""
        return _until_done(self.write, work)

    @contextmanager
    def directly(self, *, is_lasting: bool = True) -> Iterator[Direct]:
        """Open a transaction that writes, as `write` does, for statements that are run on the driver itself.

        One that is not `is_lasting` may be undone by a power cut, and by nothing else: SQLite does not wait for the
        disk then. It is for signs of life, which nobody needs who was not alive at that time.
        """
        with self._direct_transaction(is_write=True, is_lasting=is_lasting) as direct:
            yield direct

    @contextmanager
    def look(self) -> Iterator[Direct]:
        """Open a short transaction that only reads, as `read` does, for statements on the driver itself."""
        with self._direct_transaction(is_write=False) as direct:
            yield direct

    def transact_directly(self, work: Callable[[Direct], T], *, is_lasting: bool = True) -> T:
        """Do work as `transact` does, on the driver itself."""
        return _until_done(partial(self.directly, is_lasting=is_lasting), work)

    def settle(self, work: Callable[[Connection, bool], T]) -> T:
        """Do work as `transact` does; when its commit's outcome is not known, once more, and tell it so by True.

        The second time it has to look first whether the first one is written: one of its locks must have waited for
        the end of that. Raises CommitUnknownError when the database does not come back.
        """
        try:
            return self.transact(lambda connection: work(connection, False))
        except CommitUnknownError as unknown:
            try:
                return self.transact(lambda connection: work(connection, True))
            except DatabaseUnavailableError:
                raise unknown from None

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Let statements in here take their time: those of an upgrade, or of a move."""
        with self.backend.patiently():
            yield

    def tell(self, kind: str, count: int = 1) -> bool:
        """Have the listeners of a kind told when the transaction that is open commits; False: none is open."""
        if self._news is None:
            return False
        self._news[kind] = self._news.get(kind, 0) + count
        return True

    def now(self) -> datetime:
        """Return the instant by the clock that rules what is due and what has expired."""
        self.backend.refresh_clock()
        return self.clock.now()

    def close(self) -> None:
        """Give the connection back; safe to call twice."""
        self.backend.close()

    def hand_on(self) -> None:
        """Close it, and leave what it has compiled to the next SQLite database that is named, also after a fork."""
        self.backend.hand_on()

    @contextmanager
    def _transaction(self, *, is_write: bool) -> Iterator[Connection]:
        with self._readable_errors():
            with self.backend.turn(is_write=is_write), self.engine.connect() as connection:
                self.backend.prepare(connection, is_write=is_write)
                news = self._news = {} if is_write else None
                try:
                    with connection.begin() as transaction:
                        yield connection
                        if news:
                            self.backend.announce(Direct.of(connection), news)
                        self._commit(transaction)
                finally:
                    self._news = None
            if news:
                self.backend.announced(news)

    @contextmanager
    def _direct_transaction(self, *, is_write: bool, is_lasting: bool = True) -> Iterator[Direct]:
        with self._readable_errors():
            turn = self.backend.turn(is_write=is_write, is_lasting=is_lasting)
            with turn, closing(borrow(self.engine, self.backend.take)) as connection:
                transaction = Direct(self.engine, connection)
                self.backend.begin(transaction, is_write=is_write)
                news = self._news = {} if is_write else None
                try:
                    yield transaction
                    if news:
                        self.backend.announce(transaction, news)
                    self._commit(transaction)
                finally:
                    self._news = None
            if news:
                self.backend.announced(news)

    def _commit(self, transaction: RootTransaction | Direct) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise CommitUnknownError(
                f"database {self.where}: the connection was lost while it committed: look whether it is done"
            ) from error

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """Turn what the driver says into one line that names the database and what to do."""
        try:
            yield
        except IntegrityError as error:
            if CLAIMED_MEANWHILE in str(error.orig) and not self.is_sqlite:
                raise CollisionError(f"database {self.where}: the run was claimed by another worker") from error
            raise
        except DBAPIError as error:
            raise self.backend.explain(error) from error
        except OSError as error:
            if self.path is None:
                raise
            raise DatabaseError(f"database {self.path}: {error.strerror}: its folder must be writable") from error


def _until_done(begin: Callable[[], AbstractContextManager[C]], work: Callable[[C], T]) -> T:
    for _ in range(TRIES_MAX - 1):
        try:
            with begin() as transaction:
                return work(transaction)
        except CollisionError:
            continue
    with begin() as transaction:
        return work(transaction)
