"""A child that ends is started again: at once, then ever later, and never in a storm."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from jobsup.runtime import procs


def test_killed_child_is_replaced_at_once_and_the_scheduler_hears_of_it(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2}).start()
    first, other = toy.pids("worker")

    os.kill(first, signal.SIGKILL)
    killed_at = time.monotonic()
    toy.until(lambda: len(toy.spawns("worker")) == 3)

    assert toy.spawns("worker")[-1] - killed_at < 0.5  # typically a few milliseconds
    toy.until(lambda: len(toy.pids("worker")) == 2)
    assert first not in toy.pids("worker")
    assert other in toy.pids("worker")
    (message,) = toy.until(toy.messages)
    assert message["do"] == "child_gone"
    assert message["facts"] == {"worker_id": f"worker-1@{first}"}
    assert message["exit"].startswith("signal 9")
    assert message["heard_by"] == "scheduler-1"
    entry = toy.children("worker")[0]
    assert (entry["restarts"], entry["last_exit"]) == (1, message["exit"])


def test_death_of_the_scheduler_is_told_to_the_next_one(make_toy: Any) -> None:
    toy = make_toy().start()
    scheduler = toy.pid_of("scheduler")

    os.kill(scheduler, signal.SIGKILL)

    (message,) = toy.until(toy.messages)
    assert (message["kind"], message["pid"]) == ("scheduler", scheduler)
    assert message["heard_by"] == "scheduler-1"


def test_what_a_dead_child_left_is_ended_before_its_death_is_told(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"does": "family"}).start()
    worker = toy.pid_of("worker")
    family = toy.until(lambda: (found := procs.descendants(worker)) and len(found) >= 5 and found)
    (toy.folder / "worker.does").write_text("work")

    os.kill(worker, signal.SIGKILL)
    toy.until(toy.messages)

    assert [pid for pid in family if procs.is_alive(pid, None)] == []
    zombies = [pid for pid in procs.children(toy.pid) if (found := procs.stat(pid)) and found.state == "Z"]
    assert zombies == []


def test_two_crashing_children_are_started_at_most_20_times_in_10_seconds_and_the_state_is_degraded(
    make_toy: Any,
) -> None:
    toy = make_toy(scheduler={"does": "crash"}, worker={"does": "crash"}).launch()
    toy.until(lambda: toy.state() == "degraded")

    begun_at = toy.spawns("worker")[0]
    toy.until(lambda: time.monotonic() - begun_at >= 10, seconds=11)

    spawns = [at for kind in ("scheduler", "worker") for at in toy.spawns(kind) if at - begun_at < 10]
    assert 4 <= len(spawns) <= 20
    (entry,) = toy.children("worker")
    assert entry["state"] == "degraded"
    assert entry["next_start_in"] > 0
    assert entry["last_exit"] == "exit code 3"


def test_crash_loop_of_one_kind_does_not_keep_the_other_from_its_restart(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"does": "crash", "count": 3}).launch()
    toy.until(lambda: toy.state() == "degraded")

    os.kill(toy.pid_of("scheduler"), signal.SIGKILL)
    killed_at = time.monotonic()

    toy.until(lambda: len(toy.spawns("scheduler")) == 2)
    assert toy.spawns("scheduler")[1] - killed_at < 0.5


def test_degraded_child_that_is_mended_runs_again_by_itself(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "crash"}).launch()
    toy.until(lambda: toy.state() == "degraded")

    (toy.folder / "worker.does").write_text("work")

    toy.until(lambda: toy.state() == "running")


def test_configuration_fault_of_a_child_is_not_retried_for_long_and_does_not_count_as_a_crash(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "config_fault"}).launch()

    entry = toy.until(lambda: toy.state() == "degraded" and toy.children("worker")[0])

    assert entry["state"] == "config_fault"
    assert 50 < entry["next_start_in"] <= 60
    assert entry["last_exit"] == "exit code 7"
    assert len(toy.spawns("worker")) == 1


def test_kind_that_does_not_degrade_leaves_the_state_as_it_is(make_toy: Any) -> None:
    toy = make_toy(worker={}, portal={"does": "config_fault", "is_degrading": False}).launch()

    toy.until(lambda: toy.state() != "absent" and toy.children("portal"))
    entry = toy.until(lambda: (found := toy.children("portal")[0])["state"] == "config_fault" and found)

    assert entry["kind"] == "portal"
    assert toy.state() != "degraded"


def test_stopped_child_is_noticed_dumped_killed_and_replaced(make_toy: Any) -> None:
    toy = make_toy(scheduler={}, worker={"watchdog": 1.0}).start()
    worker = toy.pid_of("worker")

    os.kill(worker, signal.SIGSTOP)

    toy.until(lambda: toy.messages() and toy.pids("worker"), seconds=4)
    assert toy.pid_of("worker") != worker
    (message,) = toy.messages()
    assert "hung" in message["exit"]
    assert "Fatal Python error: Aborted" in toy.log
    assert "jobsup/runtime/service.py" in toy.log  # where its loop stood


def test_child_that_never_gets_ready_is_killed_at_its_boot_deadline_which_then_grows(make_toy: Any) -> None:
    toy = make_toy(worker={"does": "never_ready", "boot_timeout": 0.4}).launch()

    toy.until(lambda: len(toy.spawns("worker")) == 3)

    first, second, third = toy.spawns("worker")
    assert second - first >= 0.35  # written a moment after the fork
    assert third - second >= 0.75
    assert "worker-1 (pid" in toy.log
    assert "is slow to get ready" in toy.log
    assert "not ready after 0.4 s" in toy.log
    assert "not ready after 0.8 s" in toy.log


def test_children_are_not_judged_for_a_time_when_the_supervisor_itself_stood_still(make_toy: Any) -> None:
    toy = make_toy(worker={"watchdog": 1.0}).start()
    worker = toy.pid_of("worker")

    for pid in (toy.pid, worker):
        os.kill(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    while time.monotonic() - stopped_at < 2.5:
        assert procs.is_alive(worker, None)
        signal.sigtimedwait((), 0.05)
    for pid in (toy.pid, worker):
        os.kill(pid, signal.SIGCONT)

    toy.until(lambda: "stood still" in toy.log)
    assert toy.pid_of("worker") == worker
