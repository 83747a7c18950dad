"""A real worker process on a real database, and what a test wants to see of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from jobsup.config.settings import Config, DatabaseSettings, LoggingSettings, SupervisorSettings, WorkerSettings
from jobsup.runtime import logs, procs, trees
from jobsup.runtime.cgroups import Groups
from jobsup.runtime.link import AloneLink
from jobsup.store import dispatches
from jobsup.store.engine import Database
from jobsup.store.models import Job, JobDispatch, JobExecutionLog, JobOutputChunk
from jobsup.worker import service
from tests.support.store import add_job, create_database
from tests.support.waiting import PATIENCE, until

NEVER = timedelta(seconds=3600)
"""Polls so seldom that only wake-ups and timers can have done the work."""
END_SECONDS = PATIENCE
INSTANCE = "test-instance"


@dataclass
class Bench:
    """A database with a worker at it."""

    folder: Path
    database: Database
    process: Any
    log: Path
    instance: str

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def run(
        self,
        name: str | None = None,
        *,
        given: dict[str, Any] | None = None,
        at: timedelta | None = None,
        **spec: Any,
    ) -> int:
        """Define a job, ask for one run of it (`at`: so much later), and return the dispatch's id."""
        spec.setdefault("max_retries", 0)
        job = add_job(self.database, name, **spec)
        later = None if at is None else self.database.now() + at
        return dispatches.create_manual(
            self.database, job.spec.name, params=given or {}, requested_by="test", at=later
        ).dispatch_id

    def row(self, dispatch_id: int) -> dict[str, Any]:
        with self.database.read() as connection:
            statement = select(JobDispatch.__table__).where(JobDispatch.id == dispatch_id)
            return dict(connection.execute(statement).mappings().one())

    def job_of(self, row: dict[str, Any]) -> str:
        """Return the name of the job of a run's row."""
        with self.database.read() as connection:
            return connection.execute(select(Job.name).where(Job.id == row["job_id"])).scalar_one()

    def execution(self, dispatch_id: int) -> dict[str, Any] | None:
        """Return the log row of a run."""
        with self.database.read() as connection:
            statement = select(JobExecutionLog.__table__).where(JobExecutionLog.dispatch_id == dispatch_id)
            found = connection.execute(statement).mappings().one_or_none()
            return None if found is None else dict(found)

    def output(self, dispatch_id: int) -> bytes:
        found = self.execution(dispatch_id)
        return b"" if found is None else bytes(found["log_output"])

    def live(self, dispatch_id: int) -> bytes:
        """Return the live output that is in the database now."""
        with self.database.read() as connection:
            statement = (
                select(JobOutputChunk.data)
                .where(JobOutputChunk.dispatch_id == dispatch_id)
                .order_by(JobOutputChunk.offset)
            )
            return b"".join(connection.execute(statement).scalars())

    def until_ended(self, dispatch_id: int, seconds: float = END_SECONDS) -> dict[str, Any]:
        """Wait for the end of a run and return its row."""
        return (
            until(
                lambda: row if (row := self.row(dispatch_id))["completed_at"] is not None else None,
                seconds,
                f"the end of run {dispatch_id}",
                self.told,
            )
            or {}
        )

    def until_started(self, dispatch_id: int, seconds: float = END_SECONDS) -> dict[str, Any]:
        return (
            until(
                lambda: row if (row := self.row(dispatch_id))["started_at"] is not None else None,
                seconds,
                f"the start of run {dispatch_id}",
                self.told,
            )
            or {}
        )

    def until_file(self, name: str, seconds: float = END_SECONDS) -> str:
        """Wait until a job has written a line to a file in the folder, and return it."""
        path = self.folder / name
        return until(
            lambda: text if path.exists() and (text := path.read_text()).endswith("\n") else "",
            seconds,
            f"file {name}",
            self.told,
        ).strip()

    def until_logged(self, text: str, seconds: float = END_SECONDS) -> None:
        until(lambda: text in self.told(), seconds, f'"{text}" in the log', self.told)

    def told(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def join(self, seconds: float = END_SECONDS) -> int:
        """Wait for the worker's own end and return its exit code."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"the worker did not end in {seconds} s\n{self.told()}"
        return int(self.process.exitcode)

    def survivors(self) -> list[int]:
        """List live processes that carry our mark."""
        return procs.tagged(self.instance)


@contextmanager
def working(
    folder: Path,
    *,
    environ: dict[str, str] | None = None,
    before: Callable[[], object] = dict,
    groups: Groups | None = None,
    **changes: Any,
) -> Iterator[Bench]:
    """Run a worker that only wake-ups move, with settings changed by name; nothing is left of it afterwards.

    `before` is called in the worker's process before it begins.
    """
    changes = {"poll_interval": NEVER, "max_poll_interval": NEVER, **changes}
    free_space_min = changes.pop("free_space_min", 0)
    log = folder / f"worker-{len(list(folder.glob('worker-*.log')))}.log"
    config = Config(
        path=str(folder / "jobsup.toml"),
        database=DatabaseSettings(
            url=f"sqlite:///{folder}/jobsup.db", synchronous="off", free_space_min=free_space_min
        ),
        supervisor=SupervisorSettings(node="test-node", state_dir=str(folder)),
        worker=replace(WorkerSettings(), **changes),
        logging=LoggingSettings(level="DEBUG", file=str(log)),
    )
    instance = f"{INSTANCE}:{folder}"
    if not (folder / "jobsup.db").exists():
        create_database(folder / "jobsup.db").close()  # SQLite must not be open across a fork
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(config, instance, environ or {}, before, groups)
    )
    process.start()
    database = Database(config.database.url, synchronous="off")
    bench = Bench(folder, database, process, log, instance)
    try:
        bench.until_logged("registered successfully")
        until(lambda: _catches(bench.pid, signal.SIGTERM), PATIENCE, "it to listen to signals", bench.told)
        yield bench
        if process.exitcode is None:
            os.kill(bench.pid, signal.SIGTERM)
            os.kill(bench.pid, signal.SIGCONT)
            process.join(1)
            if process.exitcode is None:
                os.kill(bench.pid, signal.SIGQUIT)
                process.join(8)
        assert process.exitcode is not None, f"the worker does not end\n{bench.told()}"
    finally:
        if process.exitcode is None:
            process.kill()
            process.join(5)
        trees.kill_tree(tag=instance)
        database.close()


def _catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (signum - 1) & 1)


def quiet_seconds(seconds: float) -> None:
    """Let time pass in which something must not happen."""
    time.sleep(seconds)


def _work(
    config: Config, instance: str, environ: dict[str, str], before: Callable[[], object], groups: Groups | None
) -> None:
    os.setsid()
    os.environ.update(environ)
    before()
    logs.configure(config.logging, "worker")
    os._exit(service.run(config, AloneLink("worker"), instance=instance, groups=groups))
