"""A whole running jobsup in a folder of its own: a real config, real processes, started warm or as installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from jobsup.runtime import procs, trees
from tests.support import warm
from tests.support.command import JOBSUP, forked
from tests.support.store import empty_file
from tests.support.waiting import PATIENCE, until

SETTINGS = """\
[database]
url = "sqlite:///jobsup.db"
[supervisor]
runtime_dir = "run"
node = "{node}"
drain_timeout = "5s"
watchdog = "{watchdog}"
[scheduler]
poll_interval = "1h"
[worker]
count = {workers}
poll_interval = "1h"
max_poll_interval = "1h"
[logging]
level = "DEBUG"
[defaults]
timezone = "UTC"
retry_backoff = "1h"
kill_grace = "1s"
"""
"""Every poll is an hour apart: what happens sooner was woken."""

Process = subprocess.Popen[bytes] | warm.Started


class Instance:
    """One supervisor and its files; `close` leaves nothing behind, whatever a test did to it."""

    def __init__(
        self, jobs: str, *, workers: int = 2, watchdog: str = "10s", node: str = "here", is_warm: bool = True
    ) -> None:
        # Not pytest's own folder: its names are too long for a socket's path.
        self.folder = Path(tempfile.mkdtemp(prefix="jobsup-"))
        self.config = self.folder / "jobsup.toml"
        self.settings = SETTINGS.format(workers=workers, watchdog=watchdog, node=node)
        self.is_warm = is_warm
        """False: a long-lived verb is the installed command itself, from its first instruction on."""
        self.launcher: tuple[str, ...] = ()
        """What stands before the command of a long-lived verb, if anything."""
        self.process: Process | None = None
        self._started: list[Process] = []
        self.write(jobs)

    def write(self, jobs: str, settings: str | None = None) -> None:
        """Write the config: the settings above, and these `[[job]]` tables."""
        self.config.write_text((settings or self.settings) + jobs, encoding="utf-8")

    @property
    def log(self) -> str:
        """All that the instance has logged."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def environment(self, **more: str) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("JOBSUP_", "NOTIFY_"))}
        return {**clean, **more}

    def spawn(self, *arguments: str, **environment: str) -> Process:
        """Start a long-lived verb in its own process group, its output going to the log."""
        words = (*arguments, "-c", str(self.config))
        complete = self.environment(**environment)
        with (self.folder / "log").open("ab") as log:
            if self.is_warm and not self.launcher and "LD_PRELOAD" not in complete:
                process: Process = warm.start(words, self.folder, complete, log)
            else:
                process = subprocess.Popen(
                    [*self.launcher, JOBSUP, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=complete,
                    start_new_session=True,
                )
        self._started.append(process)
        return process

    def start(self, **environment: str) -> Instance:
        """Start the supervisor and wait until every child is ready; a first start finds its tables made."""
        database = self.folder / "jobsup.db"
        if f'"sqlite:///{database.name}"' in self.config.read_text(encoding="utf-8") and not database.exists():
            database.touch(mode=0o600)
            database.write_bytes(empty_file())
        self.process = self.spawn("start", **environment)
        return self.wait_up()

    def wait_up(self) -> Instance:
        """Wait until every child is ready."""
        until(self._is_up, PATIENCE, "the instance to come up", lambda: self.log, every=0.05)
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"jobsup start ended with {self.process.returncode}:\n{self.log}"
        children = self.children()
        return bool(children) and all(child["state"] == "ready" for child in children)

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on this instance's config to its end, without the start of an interpreter."""
        return forked(*arguments, "-c", str(self.config), cwd=self.folder, env=environment)

    def installed(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Do the same by the installed command."""
        return self.run_command(*arguments, "-c", str(self.config), **environment)

    def run_command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the installed command with exactly these words."""
        return subprocess.run(
            [JOBSUP, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
            env=self.environment(**environment),
        )

    def json(self, *arguments: str) -> Any:
        """Run a verb with `--json` and return what it printed."""
        done = self.cli(*arguments, "--json")
        assert done.stdout, f"{arguments} printed nothing: {done.stderr}"
        return json.loads(done.stdout)

    def children(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Ask the supervisor for its children; none when it does not answer."""
        from jobsup.control import client
        from jobsup.errors import JobsupError

        try:
            answer = client.call(self.folder / "run" / "control.sock", {"do": "status"}, timeout=5)
        except JobsupError:
            return []
        children = [child for child in answer["status"]["children"] if child["kind"] != "guardian"]
        return [child for child in children if kind in (None, child["kind"])]

    def pids(self, kind: str | None = None) -> list[int]:
        """Return the children's process ids, in order of their slots."""
        return [child["pid"] for child in self.children(kind)]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Read the database as anybody could."""
        with closing(sqlite3.connect(f"file:{self.folder}/jobsup.db?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def runs(self, job: str) -> list[dict[str, Any]]:
        """Read a job's attempts, the oldest first."""
        return self.rows(
            "SELECT d.* FROM job_dispatch d JOIN job j ON j.id = d.job_id WHERE j.name = ? ORDER BY d.id", job
        )

    def wait_run(self, job: str, status: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until the job's latest attempt has that status, and return its row."""

        def found() -> dict[str, Any] | None:
            rows = self.runs(job)
            return rows[-1] if rows and rows[-1]["status"] == status else None

        row = until(found, seconds, f"{job} to be {status}", lambda: f"{self.runs(job)}\n{self.log[-4000:]}")
        assert row is not None
        return row

    def survivors(self) -> list[int]:
        """List the live processes that anything started here has left: ours, and those of jobs."""
        marker = os.fsencode(self.folder)
        found = []
        for pid in procs.pids():
            if pid == os.getpid() or not procs.is_alive(pid, None):
                continue
            with suppress(OSError):
                environ = Path(f"/proc/{pid}/environ").read_bytes()
                cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
                folder = Path(f"/proc/{pid}/cwd").readlink()  # all that shows of one that was started warm
                if marker in environ or marker in cmdline or folder == self.folder:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """SIGKILL the supervisor and wait for it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)

    def stop(self) -> int:
        """SIGTERM the supervisor; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._started:
            try:
                process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=PATIENCE)
        trees.kill_tree(self.survivors())
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    """A list to put instances into; all are closed at the end."""
    opened: list[Instance] = []
    yield opened
    for instance in opened:
        instance.close()
