"""A database that does not answer stops no output, no deadline and no sign of life, and no result is lost."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from jobsup.errors import ExitCode
from jobsup.runtime import procs
from jobsup.runtime.service import Loop
from jobsup.store import notifier
from jobsup.worker.service import WorkerService
from tests.support.waiting import PATIENCE, until
from tests.support.worker import Bench, quiet_seconds, working

MIB = 1 << 20


@contextmanager
def held_exclusive(bench: Bench) -> Iterator[None]:
    """Hold the database so that nobody else can write, as a foreign program would."""
    holder = sqlite3.connect(bench.folder / "jobsup.db", isolation_level=None, timeout=10)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.execute("COMMIT")
        holder.close()


def test_output_deadlines_and_kills_go_on_while_the_database_is_held_for_four_seconds(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=2, heartbeat_interval=timedelta(seconds=0.2)) as bench:
        size = 1024 * MIB
        loud = bench.run(
            command=f"until [ -e go ]; do sleep 0.05; done; head -c {size} /dev/zero; echo > read",
            cwd=str(tmp_path),
            output_limit=MIB,
        )
        deaf = bench.run(
            command=f"trap '' TERM; echo $$ > {tmp_path}/deaf; while :; do sleep 0.1; done",
            timeout=timedelta(seconds=1.5),
            kill_grace=timedelta(seconds=0.5),
        )
        pid = int(bench.until_file("deaf"))
        bench.until_started(loud)
        bench.until_started(deaf)
        with held_exclusive(bench):
            began = time.monotonic()
            (tmp_path / "go").touch()
            until(lambda: not procs.is_alive(pid, None), 3, "the deadline to be kept", bench.told)
            assert time.monotonic() - began < 3.5
            bench.until_file("read", PATIENCE)  # two seconds on a quiet machine; it is held until then
            until(lambda: time.monotonic() - began > 4, PATIENCE, "four seconds to pass")
            assert bench.process.exitcode is None
        row = bench.until_ended(deaf, 8)
        assert (row["status"], row["reason"]) == ("TIMEOUT", "deadline")
        assert (row["completed_at"] - row["started_at"]).total_seconds() < 3
        assert bench.until_ended(loud, 8)["status"] == "COMPLETED"
        assert (bench.execution(loud) or {})["output_bytes"] == size


def test_a_database_away_for_longer_is_told_once_and_the_result_comes_through(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.2)) as bench:
        run = bench.run(command=f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo done")
        bench.until_started(run)
        with held_exclusive(bench):
            (tmp_path / "go").touch()
            bench.until_logged("locked by another program", 9)
        assert bench.until_ended(run, 8)["status"] == "COMPLETED"
        bench.until_logged("the database answers again")
        assert bench.told().count("locked by another program") == 1
        assert bench.output(run) == b"done\n"


def test_below_the_floor_of_free_space_nothing_is_claimed_and_it_is_said_once(tmp_path: Path) -> None:
    with working(tmp_path, free_space_min=1 << 60, poll_interval=timedelta(seconds=0.1)) as bench:
        run = bench.run(command="true")
        bench.until_logged("nothing is claimed")
        notifier.wake(bench.database, "worker")
        quiet_seconds(0.5)
        assert bench.row(run)["status"] == "PENDING"
        assert bench.told().count("nothing is claimed") == 1


def test_a_worker_told_to_leave_at_once_does_not_wait_for_ever_for_the_database(tmp_path: Path) -> None:
    with working(tmp_path) as bench:
        run = bench.run(command="sleep 60")
        bench.until_started(run)
        with held_exclusive(bench):
            bench.signal(signal.SIGQUIT)
            until(lambda: not bench.survivors(), 3, "the job to be gone", bench.told)
        assert bench.join(15) in (0, 1)


def test_what_ended_while_the_database_was_away_is_written_by_the_next_worker(tmp_path: Path) -> None:
    with working(tmp_path, concurrency=2) as bench:
        runs = [
            bench.run(command=f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo done; exit {code}")
            for code in (0, 3)
        ]
        for run in runs:
            bench.until_started(run)
        with held_exclusive(bench):
            (tmp_path / "go").touch()
            until(lambda: len(list(tmp_path.glob("results/*.result"))) == 2, PATIENCE, "both to be kept", bench.told)
            bench.signal(signal.SIGQUIT)
            began = time.monotonic()
            assert bench.join() == ExitCode.UNREACHABLE
            assert time.monotonic() - began < 8, "it does not wait for a database whose absence it knows of"
        bench.until_logged("2 results wait in")
        assert [bench.row(run)["status"] for run in runs] == ["IN_PROGRESS", "IN_PROGRESS"]
    with working(tmp_path) as bench:
        ended = [bench.until_ended(run) for run in runs]
        assert [row["status"] for row in ended] == ["COMPLETED", "FAILED"]
        assert [bench.output(run) for run in runs] == [b"done\n", b"done\n"]
        assert list(tmp_path.glob("results/*")) == []


def fence() -> None:
    """Treat the file as a server that other hosts use as well."""
    start = WorkerService.start

    def fenced(self: WorkerService, loop: Loop) -> dict[str, Any]:
        facts = start(self, loop)
        self._is_fenced = True
        return facts

    WorkerService.start = fenced  # type: ignore[method-assign]


def test_cut_off_from_a_shared_database_a_worker_ends_its_runs_before_others_start_them(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.3), before=fence) as bench:
        run = bench.run(command="sleep 60")
        bench.until_started(run)
        with held_exclusive(bench):
            until(lambda: not bench.survivors(), 4 * 0.3 + 0.2, "its job to be ended in time", bench.told)
        row = bench.until_ended(run, 8)
        assert (row["status"], row["reason"]) == ("TIMEOUT", "worker_lost")


def test_on_one_host_a_worker_lets_its_runs_go_on_however_long_the_database_is_away(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.2)) as bench:
        run = bench.run(command="sleep 1.5; echo done")
        bench.until_started(run)
        with held_exclusive(bench):
            quiet_seconds(1.6)
        assert bench.until_ended(run, 8)["status"] == "COMPLETED"


def test_a_database_that_is_broken_for_good_ends_the_worker_and_its_runs(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.2)) as bench:
        run = bench.run(command="sleep 60")
        bench.until_started(run)
        with bench.database.write() as connection:
            connection.execute(text("DROP TABLE worker_registration"))
        assert bench.join(8) == ExitCode.CONFIG
        assert "run `jobsup db upgrade`" in bench.told()
        assert bench.survivors() == []
