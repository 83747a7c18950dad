"""How a worker leaves: in order, in a hurry, and when it was given up."""

from __future__ import annotations

import signal
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from jobsup.store import workers
from jobsup.store.models import WorkerRegistration
from tests.support.waiting import until
from tests.support.worker import NEVER, working


def test_an_idle_worker_leaves_at_once_and_is_marked_offline(tmp_path: Path) -> None:
    with working(tmp_path) as bench:
        asked = time.monotonic()
        bench.signal(signal.SIGTERM)
        assert bench.join(3) == 0
        assert time.monotonic() - asked < 1.0
        assert [str(row.status) for row in workers.list_workers(bench.database, include_offline=True)] == ["OFFLINE"]
        assert workers.list_workers(bench.database) == []


def test_a_draining_worker_finishes_what_runs_and_claims_no_more(tmp_path: Path) -> None:
    with working(tmp_path) as bench:
        going = bench.run(command="sleep 0.7; echo done")
        waiting = bench.run(command="echo never")
        bench.until_started(going)
        bench.signal(signal.SIGTERM)
        until(lambda: str(workers.list_workers(bench.database)[0].status) == "DRAINING", 1, "it to say so", bench.told)
        assert bench.join(5) == 0
        assert bench.row(going)["status"] == "COMPLETED"
        assert bench.output(going) == b"done\n"
        assert bench.row(waiting)["status"] == "PENDING"


def test_a_second_signal_ends_what_runs_and_writes_it_down(tmp_path: Path) -> None:
    with working(tmp_path) as bench:
        run = bench.run(command="echo begun; sleep 60", max_retries=3)
        bench.until_started(run)
        bench.signal(signal.SIGTERM)
        bench.until_logged("draining")  # two pending signals of one kind are one
        bench.signal(signal.SIGTERM)
        assert bench.join(5) == 0
        row = bench.row(run)
        assert (row["status"], row["reason"]) == ("TIMEOUT", "shutdown")
        assert bench.output(run) == b"begun\n"
        retry = bench.row(run + 1)
        assert (retry["status"], retry["retry_count"]) == ("PENDING", 0)  # this attempt does not count


def test_quit_kills_a_job_that_ignores_term_after_its_grace(tmp_path: Path) -> None:
    with working(tmp_path) as bench:
        run = bench.run(command="trap '' TERM; while :; do sleep 0.1; done", kill_grace=timedelta(seconds=0.5))
        bench.until_started(run)
        bench.signal(signal.SIGQUIT)
        assert bench.join(5) == 0
        assert bench.row(run)["reason"] == "shutdown"
        assert bench.survivors() == []


def test_work_claimed_while_a_drain_began_is_given_back_unstarted(tmp_path: Path) -> None:
    with working(tmp_path, poll_interval=timedelta(seconds=0.05), max_poll_interval=timedelta(seconds=0.05)) as bench:
        run = bench.run(command="echo never", at=timedelta(hours=1))
        holder = sqlite3.connect(tmp_path / "jobsup.db", isolation_level=None, timeout=10)
        holder.execute("BEGIN IMMEDIATE")
        time.sleep(0.3)  # by now a claim waits for the database
        holder.execute("UPDATE job_dispatch SET available_at = created_at WHERE id = ?", (run,))
        bench.signal(signal.SIGTERM)
        bench.until_logged("draining")
        holder.execute("COMMIT")
        holder.close()
        assert bench.join(5) == 0
        assert f"Claimed job dispatch {run}" in bench.told()
        row = bench.row(run)
        assert (row["status"], row["worker_id"], row["claimed_at"], row["retry_count"]) == ("PENDING", None, None, 0)
        assert bench.execution(run) is None


def test_a_worker_whose_registration_is_gone_ends_its_runs_and_leaves_with_an_error(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.2)) as bench:
        run = bench.run(command="trap '' TERM; while :; do sleep 0.1; done")
        bench.until_started(run)
        with bench.database.write() as connection:
            connection.execute(update(WorkerRegistration).values(status="OFFLINE"))
        assert bench.join(5) == 1
        assert bench.survivors() == []
        assert "its registration is gone" in bench.told()
        assert bench.row(run)["status"] == "IN_PROGRESS"  # whoever gave it up closes it


def test_a_worker_alone_closes_what_a_dead_worker_of_this_host_left(tmp_path: Path) -> None:
    with working(tmp_path) as first:
        run = first.run(command="sleep 60", max_retries=1)
        first.until_started(run)
        first.signal(signal.SIGKILL)
        first.join()
    with working(tmp_path) as second:
        row = second.row(run)
        assert (row["status"], row["reason"]) == ("TIMEOUT", "worker_lost")
        assert second.row(run + 1)["retry_of"] == run


POINTS = ("claimed", "before_spawn", "after_spawn", "after_exit", "before_finish")


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_a_worker_leaves_a_claim_that_can_be_closed(tmp_path: Path, point: str) -> None:
    with working(tmp_path, environ={"JOBSUP_FAILPOINT": f"worker.{point}"}) as bench:
        run = bench.run(command="sleep 0.1; echo done")
        bench.process.join(5)
        assert bench.process.exitcode == -signal.SIGKILL
        assert bench.row(run)["status"] == "IN_PROGRESS"
        assert bench.execution(run) is None


def test_an_idle_worker_wakes_for_its_heartbeats_and_little_else(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.5), poll_interval=NEVER) as bench:
        before = context_switches(bench.pid)
        time.sleep(2)
        assert context_switches(bench.pid) - before < 60


def context_switches(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if "voluntary_ctxt_switches" in line)
