"""The database as a PostgreSQL server: its connection, its session's settings, its clock, and who listens.

The connection's own deadlines are in `link`; the server has some as well, because what froze on our side in the
middle of a transaction must not hold its locks.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import IsolationLevel
from sqlalchemy import URL, Connection, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError

from jobsup.clock import Clock, ServerClock, SystemClock
from jobsup.errors import DatabaseError, DatabaseUnavailableError
from jobsup.events import emit
from jobsup.store import addresses, server_words, wake_channels
from jobsup.store.counting import StatementCount
from jobsup.store.direct import Direct, Held
from jobsup.store.link import Link
from jobsup.store.wake_channels import Ear

# The server's clock is read again at the first transaction after this long: clocks drift by some 0.1 ms a second.
CLOCK_AGE_SECONDS_MAX = 10.0
# The server gives a statement up a little before we give the server up, so that the connection survives it.
STATEMENT_SHARE = 0.9
# A lock that is waited for longer than this is held by somebody who hangs.
LOCK_SHARE = 0.5
# Shorter than a leader's lease: a leader that froze in the middle of a dispatch must not keep the next one out.
IDLE_IN_TRANSACTION_MAX = timedelta(seconds=5)
# The driver takes whole seconds for each of the hosts that a URL names, and at least these.
CONNECT_SECONDS_MIN = 2
# What could not be opened by then is tried anew: a lost first packet is sent again after 1 and 3 seconds.
CONNECT_SECONDS_MAX = 5
# When we, and the server, ask whether the other side is still there: a host that is cut off holds no connection long.
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT = 10, 3, 3


# Who sends the same few statements all day, each of which has an index that is right however many rows there are.
KINDS_BY_INDEX = ("worker", "scheduler")

# What an upgrade or a move may take at the longest, statement by statement.
PATIENT = timedelta(hours=6)
# Longer than any transaction of ours; only a mistake in the program waits for it.
TURN_SECONDS_MAX = 60.0
# A loop that reads what has come holds the connection for a moment only.
CLOSE_SECONDS_MAX = 1.0


class Server:
    """What `Database` does in its own way on PostgreSQL."""

    path = None

    def __init__(self, url: URL, *, schema: str, timeout: timedelta, kind: str, clock: Clock) -> None:
        # A test's clock stands in for the server's; the machine's own never does.
        self.clock: Clock = ServerClock(clock) if isinstance(clock, SystemClock) else clock
        self.schema = schema
        self.where = addresses.shown(url)
        self.engine = create_engine(
            url,
            pool_size=1,
            max_overflow=0,
            use_native_hstore=False,
            hide_parameters=True,  # what a job prints, and its environment, belong into no error text
            connect_args=_parameters(url, timeout, kind),
        )
        self.waits: Callable[[], None] = lambda: None
        """Called about once a second, and around each attempt to connect, while an answer is waited for."""
        self.is_pooled = False
        """A proxy hands our transactions to connections of its own: nothing outlives a transaction."""
        self._timeout = self._patience = timeout
        self._planning = _planning(kind)
        self._link: Link | None = None
        self._has_connected = False
        self._ears: list[Ear] = []
        self._busy = threading.Lock()
        """Held in a transaction, and while the socket is read between two."""
        event.listen(self.engine, "do_connect", self._connect)
        event.listen(self.engine, "checkout", self._replace_lost)
        event.listen(self.engine, "begin", self._opened)
        self.count = StatementCount(self.engine)

    @contextmanager
    def turn(self, *, is_write: bool, is_lasting: bool = True) -> Iterator[None]:  # noqa: ARG002  (on SQLite they matter)
        """Keep the connection for one transaction; what is heard in the meantime is told the ears in between."""
        if not self._busy.acquire(timeout=TURN_SECONDS_MAX):
            raise DatabaseUnavailableError(f"database {self.where}: this process has not ended its last transaction")
        try:
            for ear in self._ears:
                ear.hush()
            yield
        finally:
            self._listen_on()
            self._busy.release()

    def prepare(self, connection: Connection, *, is_write: bool) -> None:
        """Say how the transaction that follows begins: one that reads sees one state throughout."""
        self._prepare(_link_of(connection.connection), is_write=is_write)

    def take(self) -> PoolProxiedConnection | Held:
        """Take the driver's connection for one transaction: the one there is, or from the pool, which opens another."""
        link = self._link
        if link is None or link.closed or not link.hear(self._heard):
            return self.engine.raw_connection()
        return Held(link, self.engine)

    def begin(self, direct: Direct, *, is_write: bool) -> None:
        """Say how the transaction begins that the first statement begins, with the clock read where it is due."""
        link = _link_of(direct.connection)
        self._prepare(link, is_write=is_write)
        self._look_at_clock(lambda text, values: direct.say(text, values).fetchone())

    def _prepare(self, link: Link, *, is_write: bool) -> None:
        link.patience = self._patience.total_seconds()
        level = None if is_write else IsolationLevel.REPEATABLE_READ
        if link.isolation_level != level:
            link.isolation_level = level
            link.read_only = None if is_write else True

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Wait as long as it takes for what is sent in here; whoever does this says so to the server as well."""
        self._patience = PATIENT
        try:
            yield
        finally:
            self._patience = self._timeout

    def refresh_clock(self) -> None:
        """Read the server's clock if it never was; a server that does not answer leaves us with the machine's."""
        if isinstance(self.clock, ServerClock) and self.clock.skew is None and not self._busy.locked():
            with suppress(DBAPIError), self.turn(is_write=False), self.engine.connect():
                pass

    def announce(self, direct: Direct, news: Mapping[str, int]) -> None:
        """Have the listeners of each kind told at the commit."""
        if news:
            wake_channels.announce(direct, self.schema, news)

    def announced(self, news: Mapping[str, int]) -> None:
        """The server has told them."""

    def explain(self, error: DBAPIError) -> DatabaseError:
        """Turn what the driver says into one line that names the database and what to do."""
        if server_words.is_read_only(error) and self._link is not None:
            self._link.pgconn.finish()  # of several hosts another may be the one that writes by now
        return server_words.explain(error, self.where)

    def close(self) -> None:
        """Let go of the connection, when no other thread is reading from it."""
        is_ours = self._busy.acquire(timeout=CLOSE_SECONDS_MAX)
        try:
            for ear in self._ears:
                ear.hush()
            self._link = None
            self.engine.dispose()
        finally:
            if is_ours:
                self._busy.release()

    # Listening

    def add_ear(self, ear: Ear) -> None:
        """Let an ear hear on the connection that is there, or can be had at once, and on each one that follows."""
        with self._busy:
            self._ears = [*self._ears, ear]
            if self._link is None:
                with suppress(DBAPIError), self.engine.connect():
                    pass  # to connect is to listen; else the next transaction does it
            elif not self.is_pooled and not self._link.closed:
                self._tell_server(self._link, f'LISTEN "{ear.channel}"')
            self._listen_on()

    def remove_ear(self, ear: Ear) -> None:
        """Let it hear no more; the server is not told, for it may be one that does not answer."""
        self._ears = [other for other in self._ears if other is not ear]

    def collect(self) -> None:
        """Take what has come between two transactions; a connection that was lost rings every ear."""
        if self._busy.acquire(blocking=False):  # else the one who has it does so
            try:
                self._listen_on()
            finally:
                self._busy.release()

    def _listen_on(self) -> None:
        link = self._link
        if link is None or not self._ears:
            return
        if not link.closed and link.hear(self._heard):
            for ear in self._ears:
                ear.attend(link.pgconn.socket)
            return
        self._link = None
        for ear in self._ears:
            ear.hush()
            ear.ring()

    def _heard(self, channel: str, names: str) -> None:
        for ear in self._ears:
            ear.hear(channel, names)

    def _tell_server(self, link: Link, statement: str) -> None:
        """Run a statement of its own; a connection that fails at it is replaced by the next transaction."""
        try:
            link.autocommit = True
            link.execute(statement.encode())
            link.autocommit = False
        except psycopg.Error:
            link.pgconn.finish()

    # Connecting

    def _connect(self, _: Any, __: Any, arguments: Any, parameters: dict[str, Any]) -> Link:
        """Open a connection with its session as we need it, and listen on it."""
        self.waits()
        try:
            link: Link = Link.connect(*arguments, autocommit=True, **parameters)
        except psycopg.Error as error:
            # Its frames hold the half-open socket, in a circle: one more would pile up each time a server is away.
            traceback.clear_frames(error.__traceback__)
            raise
        self.waits()
        link.waits = self.waits
        link.patience = self._patience.total_seconds()
        try:
            self._set_up(link)
            link.autocommit = False
        except BaseException:
            link.close()
            raise
        for ear in self._ears if self._has_connected else ():
            ear.ring()  # what was told since the connection before nobody heard
        self._link = link
        self._has_connected = True
        return link

    def _set_up(self, link: Link) -> None:
        link.add_notify_handler(lambda note: self._heard(note.channel, note.payload))
        own_pid = link.info.backend_pid
        asked_at = SystemClock().boottime()
        found = link.execute(
            f"SELECT pg_backend_pid() = %(own)s, clock_timestamp(), "
            f"CASE WHEN pg_backend_pid() = %(own)s THEN {self._settings('false')} END".encode(),
            {"own": own_pid, **self._values()},
        ).fetchone()
        is_direct, instant = found[:2] if found else (True, None)
        self._read_clock(instant, asked_at)
        if not is_direct:
            self._be_pooled(link)
            return
        for channel in sorted({ear.channel for ear in self._ears}):
            link.execute(f'LISTEN "{channel}"'.encode())

    def _be_pooled(self, link: Link) -> None:
        """Rely on nothing that lasts longer than a transaction: no session settings, prepared statements, LISTEN."""
        link.prepare_threshold = None
        if not self.is_pooled:
            emit(
                "database.pooled",
                f"The database {self.where} is reached through a pooling proxy, which lets no wake-up through: "
                "new work is seen at the next poll; name the server itself in [database] url for less waiting",
                level=logging.WARNING,
            )
        self.is_pooled = True

    def _opened(self, connection: Connection) -> None:
        self._look_at_clock(lambda text, values: connection.exec_driver_sql(text, values).one())

    def _look_at_clock(self, ask: Callable[[str, dict[str, str]], Any]) -> None:
        """As a transaction begins, read the clock where it is due; behind a proxy, say all settings anew."""
        is_due = isinstance(self.clock, ServerClock) and self.clock.age > CLOCK_AGE_SECONDS_MAX
        if not is_due and not self.is_pooled:
            return
        more = f", {self._settings('true')}" if self.is_pooled else ""
        asked_at = SystemClock().boottime()
        found = ask(f"SELECT clock_timestamp(){more}", self._values())
        self._read_clock(found[0], asked_at)

    def _replace_lost(self, link: Any, _: Any, __: Any) -> None:
        """Tell the pool of a connection that was lost while nobody used it; it opens another."""
        if isinstance(link, Link) and not link.hear(self._heard):
            raise DisconnectionError("the connection was lost")

    def _read_clock(self, instant: datetime | None, asked_at: float) -> None:
        if isinstance(self.clock, ServerClock) and instant is not None:
            self.clock.read(instant, asked_at, self.clock.boottime())

    def _values(self) -> dict[str, str]:
        """Return what a session of ours is set to; time-outs in milliseconds."""
        patience = self._timeout
        return {
            "search_path": f'"{self.schema}"',
            "TimeZone": "UTC",
            "statement_timeout": _milliseconds(patience * STATEMENT_SHARE),
            "lock_timeout": _milliseconds(patience * LOCK_SHARE),
            "idle_in_transaction_session_timeout": _milliseconds(min(patience, IDLE_IN_TRANSACTION_MAX)),
            "tcp_keepalives_idle": str(KEEPALIVE_IDLE_SECONDS),
            "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_SECONDS),
            "tcp_keepalives_count": str(KEEPALIVE_COUNT),
            **self._planning,
        }

    def _settings(self, is_local: str) -> str:
        calls = (f"set_config('{name}', %({name})s, {is_local})" for name in self._values())
        return " || ".join(calls)


def _planning(kind: str) -> dict[str, str]:
    """Return how the server plans the statements of a process of this kind, where that is not by its own lights.

    A plan that was made while the tables were new is kept until the server next counts their rows: up to a minute in
    which each claim reads them whole. To compile a plan costs more than that ever saves here, and so does to make a
    worker's few statements a new one each time, which the server does where it takes the other for ten rows.
    """
    if kind not in KINDS_BY_INDEX:
        return {}
    by_index = dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "jit"), "off")
    return {**by_index, "plan_cache_mode": "force_generic_plan"} if kind == "worker" else by_index


def _parameters(url: URL, timeout: timedelta, kind: str) -> dict[str, Any]:
    """Return what the driver is told beside the URL, whose own words win."""
    hosts = url.query.get("host", "")
    count = max(1, len(hosts) if isinstance(hosts, tuple) else hosts.count(",") + 1)
    ours: dict[str, Any] = {
        "application_name": f"jobsup/{kind}",
        "connect_timeout": max(CONNECT_SECONDS_MIN, int(min(timeout.total_seconds(), CONNECT_SECONDS_MAX) / count)),
        "client_encoding": "utf8",
        "keepalives": 1,
        "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": KEEPALIVE_COUNT,
        "tcp_user_timeout": int(_milliseconds(timeout)),
    }
    return {name: value for name, value in ours.items() if name not in url.query}


def _milliseconds(duration: timedelta) -> str:
    return str(max(1, duration // timedelta(milliseconds=1)))


def _link_of(connection: PoolProxiedConnection | Held) -> Link:
    link = connection.dbapi_connection
    if not isinstance(link, Link):
        raise TypeError(f"not one of our connections: {link!r}")
    return link
