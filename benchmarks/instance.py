"""A running jobsup of its own in a temporary folder: the installed command, a file, a database, gone at the end."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psycopg

from benchmarks import tree
from benchmarks.figures import MeasureError
from jobsup.store.engine import Database

JOBSUP = Path(sys.executable).parent / "jobsup"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.02
LOG_CHARACTERS_MAX = 2000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance keeps its rows."""

    name: str
    synchronous: str = "full"
    """On SQLite: when a commit is on the disk."""
    server: str | None = None
    """The URL of a PostgreSQL server; each instance has a schema of its own there, which is left behind."""


FULL = Place("SQLite FULL")
NORMAL = Place("SQLite NORMAL", synchronous="normal")
_schemas = itertools.count(1)


class Instance:
    """Started on entry and ready, stopped on exit; `settings` and `jobs` are TOML."""

    def __init__(
        self,
        settings: str = "",
        jobs: str = "",
        *,
        place: Place = FULL,
        parent: Path | None = None,
        launcher: Sequence[str | Path] = (JOBSUP,),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobsup-bench-", dir=parent))
        self.config = self.folder / "jobsup.toml"
        self.database = self.folder / "jobsup.db"
        self.log = self.folder / "log"
        self.seconds_to_ready = 0.0
        self._launcher = [str(word) for word in launcher]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = place.server or f"sqlite:///{self.database}"
        self.schema = f"bench_{os.getpid()}_{next(_schemas)}"
        own = f'schema = "{self.schema}"' if place.server else f'synchronous = "{place.synchronous}"'
        self.config.write_text(
            f'[database]\nurl = "{self.url}"\n{own}\n'
            f'[supervisor]\nruntime_dir = "{self.folder}/run"\n{settings}\n{jobs}'
        )
        self._is_server = place.server is not None

    def __enter__(self) -> Instance:
        begun = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._launcher, "start", "-c", str(self.config)], stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.wait(self.is_ready, START_SECONDS, "every child to be ready")
        except BaseException:
            self._close()
            raise
        self.seconds_to_ready = time.monotonic() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    def members(self) -> list[int]:
        """Return the pids of the whole tree, the supervisor's first."""
        return tree.members(self.pid)

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a `jobsup` command on this instance, with `given` to read."""
        command = [str(JOBSUP), *words, "-c", str(self.config)]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    def status(self) -> dict[str, Any]:
        """Return what `jobsup status --json` prints."""
        said = self.run("status", "--json").stdout
        return json.loads(said) if said else {}

    def is_ready(self) -> bool:
        """Tell whether the supervisor and all its children are; MeasureError when it has ended instead."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise MeasureError(f"jobsup ended with {self._process.returncode}:\n{self.said()}")
        status = self.status()
        return status.get("state") == "running" and all(child["state"] == "ready" for child in status["children"])

    def workers(self) -> dict[int, int]:
        """Return each worker's slot and pid."""
        return {child["slot"]: child["pid"] for child in self.status()["children"] if child["kind"] == "worker"}

    def said(self) -> str:
        """Return the begin of the log, where what went wrong stands, and its end."""
        log = self.log.read_text()
        most = LOG_CHARACTERS_MAX // 2
        return log if len(log) <= 2 * most else f"{log[:most]}\n...\n{log[-most:]}"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read from the tables, with a connection of our own that holds nothing afterwards."""
        if self._is_server:
            with psycopg.connect(self.url, options=f"-c search_path={self.schema}", autocommit=True) as link:
                return link.execute(query.encode(), values or None).fetchall()
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def instant(self, query: str) -> datetime:
        """Read one instant from the tables."""
        found = self.rows(query)[0][0]
        return found if isinstance(found, datetime) else instant(found)

    def open(self) -> Database:
        """Open the tables as a program of ours does."""
        return Database(self.url, schema=self.schema, kind="bench")

    def wait(self, condition: Callable[[], T], seconds: float, what: str, look: float = LOOK_SECONDS) -> T:
        """Wait until the condition is true and return its value; MeasureError with the log when it takes too long."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() >= deadline:
                raise MeasureError(f"waited {seconds:g} s for {what}; the log says:\n{self.said()}")
            time.sleep(look)
        return value

    def _close(self) -> None:
        try:
            if self._process is not None:
                _end(self._process)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def instant(text: str) -> datetime:
    """Read an instant as the tables hold it."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a supervisor; one that does not listen is killed with all that stands below it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in reversed(tree.members(process.pid)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        print(f"the supervisor did not stop in {STOP_SECONDS:g} s and was killed", file=sys.stderr)
