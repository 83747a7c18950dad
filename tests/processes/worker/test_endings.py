"""How runs are ended: deadlines, cancels, and what they leave behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from jobsup.runtime import procs
from jobsup.store import dispatches, workers
from jobsup.store.models import JobDispatch
from tests.support.waiting import until
from tests.support.worker import Bench, working

DAEMON = "setsid sh -c 'sleep 300 & echo $! > {file}; wait' & sleep 0.1; "
"""A grandchild in a session of its own that holds our stdout open."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker"), concurrency=4) as bench:
        yield bench
        assert bench.survivors() == [], bench.told()


def seconds(row: dict[str, object]) -> float:
    started, ended = row["started_at"], row["completed_at"]
    return float((ended - started).total_seconds())  # type: ignore[operator]


def test_a_run_past_its_timeout_is_ended(bench: Bench) -> None:
    run = bench.run(command="echo begun; sleep 60", timeout=timedelta(seconds=0.4))
    row = bench.until_ended(run, 5)
    assert (row["status"], row["reason"]) == ("TIMEOUT", "deadline")
    assert row["error_message"] == "ran longer than its timeout of 400ms"
    assert 0.4 <= seconds(row) < 1.5
    assert bench.output(run) == b"begun\n"
    assert (bench.execution(run) or {})["signal"] == signal.SIGTERM


def test_a_job_that_ignores_term_is_killed_with_its_whole_tree(bench: Bench) -> None:
    command = DAEMON.format(file=bench.folder / "grandchild") + "trap '' TERM; while :; do sleep 1; done"
    run = bench.run(command=command, timeout=timedelta(seconds=0.5), kill_grace=timedelta(seconds=0.5))
    grandchild = int(bench.until_file("grandchild"))
    row = bench.until_ended(run, 5)
    assert (row["status"], row["reason"]) == ("TIMEOUT", "deadline")
    assert "did not end on SIGTERM and was killed" in row["error_message"]
    assert 1.0 <= seconds(row) < 2.5
    assert (bench.execution(run) or {})["signal"] == signal.SIGKILL
    assert not procs.is_alive(grandchild, None)


def test_a_grandchild_that_ignores_term_does_not_outlive_the_run(bench: Bench) -> None:
    stubborn = "setsid sh -c 'trap \"\" TERM; echo $$ > {file}; while :; do sleep 1; done' & sleep 0.1; sleep 60"
    run = bench.run(
        command=stubborn.format(file=bench.folder / "stubborn"),
        timeout=timedelta(seconds=0.4),
        kill_grace=timedelta(seconds=0.3),
    )
    grandchild = int(bench.until_file("stubborn"))
    row = bench.until_ended(run, 6)
    assert row["status"] == "TIMEOUT"
    assert not procs.is_alive(grandchild, None)


def test_what_outlives_its_shell_after_term_keeps_its_grace(bench: Bench) -> None:
    tidy = "(trap 'sleep 0.7; echo tidied; exit' TERM; echo > {file}; while :; do sleep 0.05; done) & wait"
    run = bench.run(
        command=tidy.format(file=bench.folder / "tidy"),
        timeout=timedelta(seconds=0.5),
        kill_grace=timedelta(seconds=5),
    )
    row = bench.until_ended(run, 5)
    assert (row["reason"], row["error_message"]) == ("deadline", "ran longer than its timeout of 500ms")
    assert bench.output(run).endswith(b"tidied\n")


def test_a_stopped_job_is_ended_too(bench: Bench) -> None:
    run = bench.run(command="kill -STOP $$; sleep 60", timeout=timedelta(seconds=0.3))
    assert bench.until_ended(run, 5)["reason"] == "deadline"


def test_a_run_ends_with_its_process_though_a_daemon_holds_its_output(bench: Bench) -> None:
    command = DAEMON.format(file=bench.folder / "daemon") + "echo done"
    run = bench.run(command=command)
    daemon = int(bench.until_file("daemon"))
    asked = time.monotonic()
    row = bench.until_ended(run, 5)
    assert time.monotonic() - asked < 2.5
    assert row["status"] == "COMPLETED"
    assert row["error_message"] == "2 processes left behind were ended"
    assert bench.output(run) == b"done\n"
    assert not procs.is_alive(daemon, None)


def test_what_a_run_left_behind_is_killed_when_it_ignores_term(bench: Bench) -> None:
    command = "(trap '' TERM; echo $$ > {file}; exec sleep 300) & sleep 0.1; echo done"
    run = bench.run(command=command.format(file=bench.folder / "deaf"))
    row = bench.until_ended(run, 5)
    assert row["status"] == "COMPLETED"
    assert row["error_message"] == "1 process left behind was ended"


def test_one_runs_daemon_is_left_alone_while_another_run_ends(bench: Bench) -> None:
    holder = bench.run(command=DAEMON.format(file=bench.folder / "helper") + "sleep 1.5")
    helper = int(bench.until_file("helper"))
    short = bench.run(command="true")
    assert bench.until_ended(short)["error_message"] is None
    assert procs.is_alive(helper, None)
    assert bench.until_ended(holder)["status"] == "COMPLETED"
    assert not procs.is_alive(helper, None)


def test_a_cancelled_run_ends_at_once_though_every_poll_is_an_hour_away(bench: Bench) -> None:
    run = bench.run(command="echo begun; exec sleep 60")
    bench.until_started(run)
    asked = time.monotonic()
    dispatches.cancel(bench.database, run, "tester")
    row = bench.until_ended(run, 5)
    assert time.monotonic() - asked < 1.0
    assert (row["status"], row["reason"], row["error_message"]) == ("CANCELLED", "cancelled", "cancelled")
    assert bench.output(run) == b"begun\n"


def test_a_job_that_kills_by_name_of_its_group_hurts_nobody_else(bench: Bench) -> None:
    other = bench.run(command="sleep 0.6; echo fine")
    run = bench.run(command="kill -TERM 0; sleep 5")
    assert bench.until_ended(run)["reason"] == "signal"
    assert bench.until_ended(other)["status"] == "COMPLETED"
    assert procs.is_alive(bench.pid, None)


def test_a_result_that_comes_too_late_changes_nothing(bench: Bench) -> None:
    run = bench.run(command="sleep 0.8; echo late")
    bench.until_started(run)
    with bench.database.write() as connection:
        connection.execute(
            update(JobDispatch)
            .where(JobDispatch.id == run)
            .values(status="TIMEOUT", reason="worker_lost", completed_at=bench.database.now())
        )
    bench.until_logged(f"Dispatch {run}: its end came too late")
    row = bench.row(run)
    assert (row["status"], row["reason"]) == ("TIMEOUT", "worker_lost")
    assert bench.execution(run) is None


def test_a_long_run_is_reported_as_started_and_the_worker_as_busy(bench: Bench) -> None:
    run = bench.run("long", command="sleep 1")
    row = bench.until_started(run, 1)
    assert row["status"] == "IN_PROGRESS"
    busy = workers.list_workers(bench.database)[0]
    assert (str(busy.status), busy.current_job_id) == ("BUSY", row["job_id"])
    bench.until_ended(run)
    until(lambda: str(workers.list_workers(bench.database)[0].status) == "IDLE", 2, "the worker to be idle")
