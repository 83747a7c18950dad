"""Stopping: work is allowed to finish, but not for ever; and every signal does what the table says."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jobsup.errors import ConflictError, ExitCode, JobsupError
from jobsup.runtime import locks


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_signals_end_everything_with_exit_code_0(make_toy: Any, signum: int) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start()

    toy.signal(signum)

    assert toy.wait(5) == 0
    assert toy.survivors() == []
    assert not toy.socket.exists()
    assert "Traceback" not in toy.log
    assert sorted((toy.folder / "closed").read_text().split()) == ["scheduler-1", "worker-1", "worker-2"]


def test_child_that_drains_is_given_the_time_it_needs(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "slow"}).start()

    toy.signal(signal.SIGTERM)
    begun_at = time.monotonic()

    assert toy.wait(5) == 0
    assert time.monotonic() - begun_at >= 1.0
    assert "worker-1 (pid" in toy.log
    assert "ended: exit code 0" in toy.log


def test_child_that_does_not_finish_is_cancelled_when_its_drain_time_is_over(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "stubborn", "drain_timeout": 1.0}).start()

    toy.signal(signal.SIGTERM)
    begun_at = time.monotonic()

    assert toy.wait(5) == 0
    assert 1.0 <= time.monotonic() - begun_at < 2.0
    assert (toy.folder / "closed").read_text() == "worker-1\n"


def test_child_deaf_to_every_request_is_killed_within_drain_time_and_a_second(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "deaf", "drain_timeout": 1.0}).start()

    toy.signal(signal.SIGTERM)
    begun_at = time.monotonic()

    assert toy.wait(5) == 0
    assert time.monotonic() - begun_at <= 2.3
    assert toy.survivors() == []
    assert "did not stop in time" in toy.log


def test_second_signal_cancels_at_once(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "stubborn", "drain_timeout": 60}).start()
    toy.signal(signal.SIGTERM)
    toy.until(lambda: toy.state() == "stopping")

    toy.signal(signal.SIGTERM)

    assert toy.wait(3) == 0
    assert toy.survivors() == []


def test_third_signal_kills(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "deaf", "drain_timeout": 60}).start()
    for state in ("draining", "cancelling"):
        toy.signal(signal.SIGTERM)
        toy.until(lambda state=state: toy.children("worker")[0]["state"] == state)

    toy.signal(signal.SIGTERM)
    begun_at = time.monotonic()

    assert toy.wait(3) == 0
    assert time.monotonic() - begun_at < 1
    assert toy.survivors() == []


def test_stopped_child_leaves_all_the_same(make_toy: Any) -> None:
    toy = make_toy(worker={}).start()
    os.kill(toy.pid_of("worker"), signal.SIGSTOP)

    toy.signal(signal.SIGTERM)

    assert toy.wait(3) == 0


def test_stop_while_children_get_ready_does_not_wait_for_them(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "never_ready"}).launch()
    toy.until(lambda: toy.spawns("worker"))

    toy.signal(signal.SIGTERM)

    assert toy.wait(3) == 0
    assert toy.survivors() == []


def test_an_error_of_its_own_before_there_are_children_ends_the_start(make_toy: Any) -> None:
    toy = make_toy(worker={}, note="cannot be understood").launch()

    assert toy.wait(10) == ExitCode.FAILED
    assert "Internal error, giving the start up" in toy.log
    assert "nobody thought of this" in toy.log
    assert toy.survivors() == []


def test_stop_request_is_answered_when_everything_has_ended(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "slow"}).start()
    worker = toy.pid_of("worker")

    answer = toy.call({"do": "stop"})

    assert answer["exit_code"] == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert toy.wait(3) == 0


def test_stop_now_cancels_what_runs(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "stubborn", "drain_timeout": 60}).start()

    assert toy.call({"do": "stop", "now": True})["exit_code"] == 0

    assert toy.wait(3) == 0


def test_signal_of_the_terminal_reaches_all_and_the_supervisor_coordinates(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "slow"}).start()

    os.killpg(toy.pid, signal.SIGINT)

    assert toy.wait(5) == 0
    assert toy.log.count("worker-1: draining") == 1


def test_a_signal_to_the_whole_group_is_a_stop_and_not_the_death_of_a_child(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "never_ready", "count": 4}).launch()
    toy.until(lambda: len(toy.spawns("worker")) == 4)

    os.killpg(toy.pid, signal.SIGTERM)

    assert toy.wait(5) == 0
    assert "restarting" not in toy.log
    assert len(toy.spawns("worker")) == 4


def test_more_and_fewer_workers_by_signal(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 1}).start()

    toy.signal(signal.SIGTTIN)
    toy.until(lambda: len(toy.pids("worker")) == 2)
    toy.signal(signal.SIGTTOU)
    toy.until(lambda: len(toy.pids("worker")) == 1)

    assert len(toy.pids("scheduler")) == 1


def test_dump_signal_writes_the_state_of_every_child_to_the_log(make_toy: Any) -> None:
    toy = make_toy().start()

    toy.signal(signal.SIGUSR2)

    toy.until(lambda: "worker-1: ready" in toy.log and "scheduler-1: ready" in toy.log)
    assert f"supervisor pid {toy.pid}" in toy.log


def test_dump_signal_to_a_child_writes_its_stack_to_the_log(make_toy: Any) -> None:
    toy = make_toy().start()
    worker = toy.pid_of("worker")

    os.kill(worker, signal.SIGUSR2)

    toy.until(lambda: "most recent call first" in toy.log and "in _dump" in toy.log)
    assert toy.pid_of("worker") == worker


def test_reopen_signal_reaches_every_child_and_ends_none(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start(TOY_LOG_FILE="yes")
    file = toy.folder / "jobsup.log"
    file.rename(toy.folder / "jobsup.log.1")

    toy.signal(signal.SIGUSR1)
    toy.until(file.exists)
    os.kill(toy.pids("worker")[0], signal.SIGTERM)

    toy.until(lambda: "worker-1: draining" in file.read_text())
    toy.until(lambda: len(toy.pids("worker")) == 2)


def test_second_start_says_who_holds_the_instance_and_disturbs_nobody(make_toy: Any) -> None:
    toy = make_toy().start()
    before = toy.pids("worker")
    log_before = len(toy.log)
    first, toy.process = toy.process, None

    code = toy.launch().wait()

    toy.process = first
    assert code == ExitCode.CONFLICT
    assert f"is held by pid {toy.pid} since " in toy.log[log_before:]
    assert toy.pids("worker") == before


def test_lock_is_free_again_after_the_supervisor_was_killed(make_toy: Any) -> None:
    toy = make_toy().start()
    toy.signal(signal.SIGKILL)
    toy.wait()

    deadline = time.monotonic() + 2
    while True:
        try:
            locks.acquire(toy.folder / "lock").release()
        except ConflictError:
            assert time.monotonic() < deadline, "a process of the dead instance holds the lock"
        else:
            break


def test_scale_by_request(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 1}).start()

    answer = toy.call({"do": "scale", "kind": "workers", "count": 3})

    assert (answer["exit_code"], answer["before"], answer["after"]) == (0, 1, 3)
    toy.until(lambda: len(toy.pids("worker")) == 3)
    refused = toy.call({"do": "scale", "kind": "scheduler", "count": 2})
    assert (refused["exit_code"], refused["error"]) == (6, '"scheduler" cannot be scaled; what can: worker')
    assert toy.call({"do": "scale", "kind": "worker", "count": -1})["exit_code"] == 6
    assert toy.call({"do": "scale", "kind": "worker", "count": "many"})["exit_code"] == 2


def test_idle_supervisor_wakes_at_most_once_a_second(make_toy: Any) -> None:
    toy = make_toy().start()

    def switches() -> int:
        text = Path(f"/proc/{toy.pid}/status").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches"))

    before = switches()
    threading.Event().wait(4)

    assert switches() - before <= 4


def test_ping_answers_while_a_slow_preparation_goes_on(make_toy: Any) -> None:
    toy = make_toy()
    (toy.folder / "plan.json").unlink()
    os.mkfifo(toy.folder / "plan.json")
    toy.launch()

    answer = toy.until(lambda: _ping(toy))

    assert (answer["pid"], answer["state"], answer["generation"]) == (toy.pid, "starting", 0)
    toy.signal(signal.SIGTERM)
    assert toy.wait(3) == 0
    assert toy.survivors() == []


def _ping(toy: Any) -> dict[str, Any] | None:
    try:
        return dict(toy.call({"do": "ping"}))
    except JobsupError:
        return None
