"""Several hosts and a database, each in a network namespace of its own, and all the evidence the checker asks for."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support import cages
from tests.support.cages import Cage
from tests.support.checker import (
    Bounds,
    Fault,
    FaultKind,
    History,
    Request,
    Usage,
    Window,
    dump,
    resources,
)
from tests.support.checker.history import read_ledger
from tests.support.checker.watch import Sampler, Stillness, Witness
from tests.support.instance import Instance, Process
from tests.support.networks import Network, networked
from tests.support.postgres import PostgresServer, running
from tests.support.waiting import until
from tests.support.workload import JOBS, LedgerJob

SCHEMA = "house"
DATABASE = "db"
"""The name of the database's host."""
REPLICA = "db2"
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 10.0
"""After that everything is normal again, what processes hold as well."""
LOOK_SECONDS = 0.1
"""Between two looks at a ledger or a database: what is broken must not be kept busy by those who look on."""
SETTINGS = """\
[database]
url = "{url}"
schema = "{schema}"
timeout = "{pace.timeout:g}s"
[supervisor]
runtime_dir = "run"
node = "{node}"
drain_timeout = "10s"
[scheduler]
dispatch_lock_duration = "{pace.lease:g}s"
[worker]
count = {workers}
concurrency = {concurrency}
heartbeat_interval = "{pace.heartbeat:g}s"
[logging]
level = "DEBUG"
[defaults]
timezone = "UTC"
kill_grace = "1s"
"""


@dataclass(frozen=True)
class Pace:
    """How soon what is silent is given up, in seconds; these are the defaults of jobsup."""

    timeout: float = 7.0
    """Of the database."""
    lease: float = 8.0
    """Of the leader."""
    heartbeat: float = 5.0
    """Of workers: they are lost after four of them."""
    calm: float = 5.0
    """How long work goes on undisturbed after each ordeal; nothing of jobsup's."""


class Host(Instance):
    """One host of a fleet: its supervisor in its namespace and its cage."""

    def __init__(self, fleet: Fleet, node: str, *, workers: int, concurrency: int, pace: Pace) -> None:
        super().__init__("", node=node, is_warm=False)  # it lives in a network of its own
        self.node = node
        self._fleet = fleet
        self._network = fleet.network
        self.settings = SETTINGS.format(
            url=fleet.url, schema=SCHEMA, node=node, workers=workers, concurrency=concurrency, pace=pace
        )
        self.cage = Cage(node, lambda: fleet.network.processes(node))
        self.launcher = self.cage.launcher
        self.write("".join(job.table(fleet.ledger) for job in fleet.jobs))

    def spawn(self, *arguments: str, **environment: str) -> Process:
        with self._network.inside(self.node):
            return super().spawn(*arguments, **environment)

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with self._network.inside(self.node):
            return super().cli(*arguments, **environment)

    def run_command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with self._network.inside(self.node):
            return super().run_command(*arguments, **environment)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self._fleet.rows(query, *values)

    def cut(self) -> None:
        self._network.cut(self.node)

    def heal(self) -> None:
        self._network.heal(self.node)

    def processes(self) -> list[int]:
        return self._network.processes(self.node)

    def close(self) -> None:
        self.cage.thaw()
        self.heal()
        super().close()
        self.cage.kill()
        self.cage.remove()


class Fleet:
    """The hosts, their database and what is noted of them. `start`, break things in `fault`, then `finish`."""

    def __init__(
        self,
        network: Network,
        server: PostgresServer,
        nodes: Sequence[str],
        *,
        jobs: Sequence[LedgerJob] = JOBS,
        workers: int = 2,
        concurrency: int = 2,
        pace: Pace = Pace(),
        url: str = "",
    ) -> None:
        self.network = network
        self.server = server
        self.url = url or server.url()
        self.jobs = tuple(jobs)
        self.folder = Path(tempfile.mkdtemp(prefix="jobsup-fleet-"))
        self.ledger = self.folder / "ledger"
        self.pace = pace
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.terms: dict[int, tuple[str, float]] = {}
        """Epoch -> who led, and since when."""
        self.beats: dict[str, list[float]] = {}
        """Host -> when its workers were heard of."""
        self.hosts = [Host(self, node, workers=workers, concurrency=concurrency, pace=pace) for node in nodes]
        self._witness = Witness(self.ledger)
        self._replicas: list[PostgresServer] = []
        self._eye: psycopg.Connection[Any] | None = None
        self._stillness = Stillness()
        self._sampler: Sampler | None = None
        self._used: dict[str, Usage] = {}
        self._first = self._begin = self._end = time.time()

    def start(self) -> Fleet:
        """Start all hosts at once and wait until every process of each is ready."""
        for host in self.hosts:
            host.process = host.spawn("start")
        for host in self.hosts:
            host.wait_up()
        self._begin = time.time()
        self._sampler = Sampler(self._look)
        return self

    def add_replica(self, name: str) -> PostgresServer:
        """Give the database a streaming replica that has all it acknowledged, and name both to the hosts."""
        replica = PostgresServer(
            "max_connections=60", address=self.network.address(name), place=lambda: self.network.inside(name)
        )
        replica.port = self.server.port
        self._replicas.append(replica)
        replica.copy(self.server)
        replica.start()
        self.server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.server.execute("SELECT pg_reload_conf()")
        both = f"{self.server.address}:{self.server.port},{replica.address}:{replica.port}"
        url = f"postgresql://jobsup@{both}/postgres?target_session_attrs=read-write"
        for host in self.hosts:
            host.write(host.config.read_text(encoding="utf-8").replace(f'"{self.url}"', f'"{url}"'), settings=" ")
        self.url = url
        return replica

    def __getitem__(self, node: str) -> Host:
        return next(host for host in self.hosts if host.node == node)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Read the database as this machine can, whatever becomes of the network."""
        options = f"-c search_path={SCHEMA} -c statement_timeout=5000"
        with psycopg.connect(
            self.server.near_url(), row_factory=dict_row, autocommit=True, connect_timeout=10, options=options
        ) as connection:
            return connection.execute(query.replace("?", "%s").encode(), values).fetchall()

    def leader(self) -> Host:
        """Return the host whose scheduler leads."""
        found = until(
            lambda: self.rows("SELECT node FROM scheduler_lock WHERE holder <> ''"), 10, "a leader", self.told
        )
        return self[found[0]["node"]]

    def follower(self) -> Host:
        """Return a host whose scheduler does not."""
        leading = self.leader()
        return next(host for host in self.hosts if host is not leading)

    @contextmanager
    def fault(self, kind: FaultKind, host: Host | None = None) -> Iterator[Fault]:
        """Note what is done in here; whoever asks gets the begin at once, and the end from `faults` later."""
        self._used = self._used or self._look_at_processes()
        noted = Fault(kind, time.time(), float("inf"), host.node if host else "")
        place = len(self.faults)
        self.faults.append(noted)
        try:
            yield noted
        finally:
            self.faults[place] = replace(noted, end=time.time())

    def ask(self, host: Host, job: str = "by-hand") -> Request:
        """Ask for a run at a host, and note what it answered."""
        at = time.time()
        done = host.cli("run", job)
        run = int(done.stdout) if done.returncode == 0 else None
        # A verb that ended with an error may have been cut off after it was done.
        self.requests.append(Request(job, "ok" if run is not None else "unknown", at, run))
        return self.requests[-1]

    def wait_busy(self, host: Host | None = None, job: str = "vigil", seconds: float = 90.0) -> int:
        """Wait until a host (None: any) has just begun a run of a job of that kind; returns the run, by the ledger."""
        numbers = {self.network.number(each.node) for each in self.hosts if host in (None, each)}
        asked_at = time.time()

        def found() -> int:
            marks = [mark for mark in read_ledger(self.ledger) if mark.real > asked_at]
            begun = [m for m in marks if m.job.startswith(job) and m.network in numbers and m.kind == "start"]
            return begun[0].run if begun else 0

        return until(found, seconds, f"{host.node if host else 'somebody'} to run {job}", self.told, every=LOOK_SECONDS)

    def wait_begun_anew(self, run: int, seconds: float = 60.0) -> None:
        """Wait until the attempt that follows a run has begun."""

        def begun() -> bool:
            after = self.rows("SELECT id FROM job_dispatch WHERE retry_of = ?", run)
            return bool(after) and any(mark.run == after[0]["id"] for mark in read_ledger(self.ledger))

        until(begun, seconds, f"run {run} to begin anew", self.told, every=LOOK_SECONDS)

    def wait_working(self, *hosts: Host, seconds: float = 60.0) -> None:
        """Wait until each of these hosts has begun another run."""
        asked_at = time.time()
        numbers = {self.network.number(host.node) for host in hosts}

        def begun() -> bool:
            marks = read_ledger(self.ledger)
            return numbers <= {mark.network for mark in marks if mark.kind == "start" and mark.real > asked_at}

        until(begun, seconds, f"{', '.join(host.node for host in hosts)} to begin a run", self.told, every=LOOK_SECONDS)

    def told(self) -> str:
        return "\n".join(f"--- {host.node}\n{host.log[-3000:]}" for host in self.hosts)

    def finish(self, bounds: Bounds | None = None) -> History:
        """End the schedule, let all that waits run, stop every host, and hand the evidence over."""
        self._end = time.time()
        standing = next(host for host in self.hosts if host.process is not None and host.process.poll() is None)
        paused = standing.cli("pause", "--all", "--reason", "the end")
        assert paused.returncode == 0, paused.stderr
        with suppress(AssertionError):  # what does not end is for the checker to tell
            until(self._is_idle, IDLE_SECONDS, "all runs to end", every=LOOK_SECONDS)
        used = self._used_in_the_end()
        for host in self.hosts:
            if host.process is not None and host.process.poll() is None:
                host.process.terminate()
        for host in self.hosts:
            if host.process is not None:
                host.process.wait(timeout=30)
        survivors = tuple(pid for host in self.hosts for pid in host.processes())
        return History(
            jobs=tuple(job.law for job in self.jobs),
            window=Window(self._first, self._begin, self._end, time.time()),
            attempts=dump.attempts_of_server(self.server.near_url(), SCHEMA),
            marks=read_ledger(self.ledger),
            read_at=time.time(),
            faults=(*self.faults, *self._stillness.close()),
            requests=tuple(self.requests),
            deaths=self._witness.close(),
            samples=self._sampler.close() if self._sampler else (),
            survivors=survivors,
            hosts={self.network.number(host.node): host.node for host in self.hosts},
            used_before=self._used,
            used_after=used,
            files_left=tuple(str(path) for host in self.hosts for path in host.folder.glob("run/results/*")),
            bounds=bounds or Bounds(fence=3.5 * self.pace.heartbeat),
        )

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        if self._eye is not None:
            self._eye.close()
        for host in self.hosts:
            host.close()
        self._witness.close()
        self._stillness.close()
        for replica in self._replicas:
            replica.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _look(self) -> dict[int, str]:
        """Read who leads and what each run is, on one connection that is kept while it lasts."""
        if self._eye is None:
            self._eye = psycopg.connect(self.server.near_url(), autocommit=True, connect_timeout=10)
            self._eye.execute(f"SET search_path = {SCHEMA}".encode())
        try:
            terms = self._eye.execute("SELECT epoch, node, acquired_at FROM scheduler_lock WHERE holder <> ''")
            for epoch, node, since in terms.fetchall():
                self.terms.setdefault(epoch, (node, since.timestamp()))
            beats = self._eye.execute("SELECT node, max(last_heartbeat) FROM worker_registration GROUP BY node")
            for node, at in beats.fetchall():
                self.beats.setdefault(node, []).append(at.timestamp())
            return dict(self._eye.execute("SELECT id, status FROM job_dispatch").fetchall())
        except psycopg.Error:
            self._eye.close()
            self._eye = None
            raise

    def _look_at_processes(self) -> dict[str, Usage]:
        return resources.look(
            {
                f"{host.node}/{child['kind']}-{child['slot']}": child["pid"]
                for host in self.hosts
                for child in host.children()
                if child["pid"]
            }
        )

    def _used_in_the_end(self) -> dict[str, Usage]:
        """Look at the processes until they hold what they held before, or long enough: the last run is just over."""
        found: dict[str, Usage] = {}

        def is_normal() -> bool:
            nonlocal found
            found = self._look_at_processes()
            return found.keys() == self._used.keys() and not any(
                resources.grown(before, found[name]) for name, before in self._used.items()
            )

        with suppress(AssertionError):  # what stays is for the checker to tell
            until(is_normal, SETTLE_SECONDS, "what was held to be let go", every=LOOK_SECONDS)
        return found if self._used else {}

    def _is_idle(self) -> bool:
        with suppress(psycopg.Error):
            return not self.rows("SELECT 1 FROM job_dispatch WHERE completed_at IS NULL LIMIT 1")
        return False


@contextmanager
def fleet(*nodes: str, replica: bool = False, settings: Sequence[str] = (), **options: Any) -> Iterator[Fleet]:
    """Run a fleet of these hosts on a server of its own; nothing of it is left afterwards, whatever happened."""
    cages.sweep()
    names = (DATABASE, *((REPLICA,) if replica else ()), *nodes)
    with (
        networked(names) as network,
        running(
            "max_connections=60",
            *settings,
            address=network.address(DATABASE),
            place=lambda: network.inside(DATABASE),
        ) as server,
    ):
        made = Fleet(network, server, nodes, **options)
        try:
            yield made
        finally:
            network.heal(DATABASE)
            with suppress(AssertionError):
                server.thaw()
            made.close()
