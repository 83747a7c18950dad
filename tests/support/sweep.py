"""An instance whose processes are killed at places and moments that a seed draws, judged by what its jobs wrote."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.checker import Fault, FaultKind, History, JobLaw, Window, dump, ledger_job
from tests.support.checker.history import Bounds, read_ledger
from tests.support.checker.watch import Sampler, Stillness, Witness
from tests.support.instance import SETTINGS, Instance
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

WORKER_POINTS = (
    "worker.claimed",
    "worker.before_spawn",
    "worker.after_spawn",
    "worker.after_exit",
    "worker.before_finish",
    "round.before_commit",
    "round.after_commit",
)
SCHEDULER_POINTS = ("scheduler.before_dispatch", "scheduler.after_dispatch", "lease.renew", "lease.before_acquire")
MOMENT = "any moment"
"""Not a place: SIGKILL to one of the processes after a while."""
WORKER_SHARE, SCHEDULER_SHARE = 0.7, 0.15
"""How many of the kills are at a worker's place, and at a scheduler's; the others are at any moment."""
TIMES_MAX = 4
"""A place is struck when it is reached for up to the so many-th time."""
DRAWS_MAX = 100
STRUCK_SECONDS = 30.0
UP_SECONDS = 60.0
QUIET_SECONDS = 90.0
NODE = "here"
BOUNDS = Bounds(created=30.0, started=60.0, recovery=60.0, takeover=60.0)
"""How soon things happen is told by others: this is about what is lost and what is doubled."""

CALLABLE = """\
import os, sys
sys.path.insert(0, {folder!r})
import ledger_job

def testify(ledger):
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    ledger_job.write(fd, "start")
    print(ledger_job.line(1), flush=True)
    ledger_job.write(fd, "end", exit=0, lines=1)
    os.close(fd)
"""
LAWS = (
    JobLaw("tick", 1.0, attempts_max=10, overlap="allow"),
    JobLaw("steady", 2.0, attempts_max=10, lines=3),
    JobLaw("call", 1.0, attempts_max=10, overlap="allow"),
)
SECONDS = {"tick": 0.05, "steady": 0.6}


@dataclass
class Life:
    """One instance from its start to its end, and the kills it lived through."""

    instance: Instance
    random: random.Random
    statuses: Callable[[], dict[int, str]]
    attempts: Callable[[], tuple[Any, ...]]
    struck: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def armed(self) -> Path:
        return self.instance.folder / "armed"

    @property
    def ledger(self) -> Path:
        return self.instance.folder / "ledger"

    def strike(self) -> None:
        """Kill one process at a place or moment that is drawn, and wait until everything is up again."""
        point = self._draw()
        began = time.time()
        self.faults.append(Fault(FaultKind.KILL, began, float("inf"), NODE))
        if point == MOMENT:
            self._kill_at_any_moment()
        else:
            times = self.random.randint(1, 1 if point.startswith("lease") else TIMES_MAX)
            self._kill_at(point, times)
        until(self._is_up, UP_SECONDS, f"everything to be up after {point}", self.told)
        self.struck.append(point)
        self.faults[-1] = replace(self.faults[-1], end=time.time())

    def told(self) -> str:
        return f"struck: {self.struck}\n{self.instance.log[-4000:]}"

    def _draw(self) -> str:
        at = self.random.random()
        if at < WORKER_SHARE:
            return self.random.choice(WORKER_POINTS)
        return self.random.choice(SCHEDULER_POINTS) if at < WORKER_SHARE + SCHEDULER_SHARE else MOMENT

    def _kill_at(self, point: str, times: int) -> None:
        file = self.armed / point
        draft = file.with_suffix(".draft")
        draft.write_text(str(times))
        draft.rename(file)
        if point == "lease.before_acquire":  # only a new scheduler takes the lease
            self._kill("scheduler")
        until(lambda: not file.exists(), STRUCK_SECONDS, f"{point} to be reached {times} times", self.told)

    def _kill_at_any_moment(self) -> None:
        time.sleep(self.random.uniform(0.0, 1.5))  # a moment, not an event
        self._kill()

    def _kill(self, kind: str | None = None) -> None:
        """Kill a child, of one kind or any; one that has just left by itself is no victim."""
        for _ in range(DRAWS_MAX):
            alive = [pid for pid in self.instance.pids(kind) if pid]
            with suppress(ProcessLookupError):
                if alive:
                    os.kill(self.random.choice(alive), signal.SIGKILL)
                return

    def _is_up(self) -> bool:
        children = self.instance.children()
        return bool(children) and all(child["state"] == "ready" for child in children)


def sweep(points: int, seed: int, server: PostgresServer | None = None, schema: str = "") -> tuple[History, list[str]]:
    """Let an instance live through so many kills on SQLite, or on a server, and return the evidence and the places."""
    with _life(seed, server, schema) as life:
        first = time.time()
        life.instance.start(JOBSUP_FAILPOINT=str(life.armed))
        witness, stillness, sampler = Witness(life.ledger), Stillness(), Sampler(life.statuses)
        try:
            begin = time.time()
            until(life.ledger.exists, UP_SECONDS, "the first run", life.told)
            for _ in range(points):
                life.strike()
            end = time.time()
            paused = life.instance.cli("pause", "--all", "--reason", "the end")
            assert paused.returncode == 0, paused.stderr
            until(lambda: _is_quiet(life), QUIET_SECONDS, "all runs to end", life.told)
            assert life.instance.stop() == 0
        finally:
            deaths, samples, loads = witness.close(), sampler.close(), stillness.close()
        history = History(
            jobs=LAWS,
            window=Window(first, begin, end, time.time()),
            attempts=life.attempts(),
            marks=read_ledger(life.ledger),
            read_at=time.time(),
            faults=(*life.faults, *loads),
            deaths=deaths,
            samples=samples,
            survivors=tuple(life.instance.survivors()),
            hosts={Path("/proc/self/ns/net").stat().st_ino: NODE},
            bounds=BOUNDS,
        )
        return history, life.struck


@contextmanager
def _life(seed: int, server: PostgresServer | None, schema: str) -> Iterator[Life]:
    instance = Instance("", node=NODE)
    database = instance.folder / "jobsup.db"
    try:
        (instance.folder / "armed").mkdir()
        (instance.folder / "testimony.py").write_text(CALLABLE.format(folder=str(Path(ledger_job.__file__).parent)))
        instance.write("".join(_table(law, instance.folder) for law in LAWS), _settings(instance, server, schema))
        if server is None:
            yield Life(
                instance,
                random.Random(seed),
                lambda: dump.statuses_of_file(database),
                lambda: dump.attempts_of_file(database),
            )
        else:
            url = server.near_url()
            yield Life(
                instance,
                random.Random(seed),
                lambda: dump.statuses_of_server(url, schema),
                lambda: dump.attempts_of_server(url, schema),
            )
    finally:
        instance.close()


def _settings(instance: Instance, server: PostgresServer | None, schema: str) -> str:
    settings = SETTINGS.format(workers=2, watchdog="30s", node=NODE)
    settings = settings.replace('retry_backoff = "1h"', 'retry_backoff = "200ms"')
    settings = settings.replace("[worker]\n", f'[worker]\nconcurrency = 3\npython_path = ["{instance.folder}"]\n')
    # A round that is lost with its process leaves no wake-up behind.
    settings = settings.replace('poll_interval = "1h"', 'poll_interval = "2s"').replace('max_poll_interval = "1h"', "")
    if server is not None:
        settings = settings.replace('url = "sqlite:///jobsup.db"', f'url = "{server.near_url()}"\nschema = "{schema}"')
    return settings


def _table(law: JobLaw, folder: Path) -> str:
    ledger = str(folder / "ledger")
    if law.name == "call":
        runs = f'python = "testimony:testify"\nkwargs = {{ ledger = "{ledger}" }}\n'
    else:
        told = ("--seconds", f"{SECONDS[law.name]:g}", "--lines", str(law.lines))
        runs = f"command = {json.dumps([sys.executable, '-I', '-S', ledger_job.__file__, ledger, *told])}\n"
    policies = f'overlap = "{law.overlap}"\nmax_retries = {law.attempts_max - 1}\ncatch_up = "all"\n'
    return f'[[job]]\nname = "{law.name}"\n{runs}every = "{law.every:g}s"\n{policies}'


def _is_quiet(life: Life) -> bool:
    return not {"PENDING", "IN_PROGRESS"} & set(life.statuses().values())
