"""Nothing survives its owner: not the children, not the jobs, not what the jobs left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jobsup.runtime import procs, trees
from tests.support.toy import ROOT, Toy, instance, tag
from tests.support.waiting import PATIENCE, until

FAMILY_MEMBERS = 5


def running_family(make_toy: Any) -> Toy:
    toy: Toy = make_toy(scheduler={}, worker={"does": "family"}).start()
    toy.until(lambda: len(procs.tagged(instance(toy.folder))) >= FAMILY_MEMBERS)
    return toy


def test_nothing_is_alive_two_seconds_after_the_supervisor_was_killed(make_toy: Any) -> None:
    toy = running_family(make_toy)
    before = toy.survivors()
    assert len(before) >= FAMILY_MEMBERS + 4  # supervisor, guardian, scheduler, worker

    toy.signal(signal.SIGKILL)
    toy.wait()

    until(lambda: not toy.survivors(), 2, "everything to be gone", lambda: f"{toy.survivors()}\n{toy.log}")
    assert [pid for pid in before if procs.is_alive(pid, None)] == []


def test_nothing_is_alive_after_supervisor_and_worker_were_killed_together(make_toy: Any) -> None:
    toy = running_family(make_toy)
    worker = toy.pid_of("worker")

    toy.signal(signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    toy.wait()

    until(lambda: not toy.survivors(), 2, "everything to be gone", lambda: f"{toy.survivors()}\n{toy.log}")


def test_killed_guardian_is_replaced_and_the_new_one_guards(make_toy: Any) -> None:
    toy = running_family(make_toy)
    guardian = toy.pid_of("guardian")

    os.kill(guardian, signal.SIGKILL)
    toy.until(lambda: [pid for pid in toy.pids("guardian") if pid != guardian])
    toy.signal(signal.SIGKILL)
    toy.wait()

    until(lambda: not toy.survivors(), 2, "everything to be gone", lambda: f"{toy.survivors()}\n{toy.log}")


def test_leftovers_of_a_predecessor_that_died_with_its_guardian_are_ended_before_children_start(make_toy: Any) -> None:
    toy = running_family(make_toy)
    guardian = toy.pid_of("guardian")
    os.kill(guardian, signal.SIGSTOP)  # so that it cannot act
    toy.signal(signal.SIGKILL)
    toy.wait()
    os.kill(guardian, signal.SIGKILL)
    leftovers = procs.tagged(instance(toy.folder))
    assert leftovers

    toy.write({"worker": {"does": "work"}})
    toy.start()

    assert [pid for pid in leftovers if procs.is_alive(pid, None)] == []
    assert "Left over from an earlier supervisor" in toy.log


def test_processes_of_another_instance_are_left_alone(make_toy: Any) -> None:
    toy = running_family(make_toy)
    stranger = subprocess.Popen(["sleep", "60"], env=os.environ | {procs.INSTANCE_VARIABLE: "another"})
    try:
        toy.signal(signal.SIGKILL)
        toy.wait()
        until(lambda: not toy.survivors(), 2, "everything to be gone", lambda: toy.log)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_ends_jobs_that_their_worker_left_behind(make_toy: Any) -> None:
    toy = running_family(make_toy)

    toy.signal(signal.SIGTERM)

    assert toy.wait() == 0
    assert toy.survivors() == []


def test_supervisor_killed_while_it_prepares_leaves_nothing(make_toy: Any) -> None:
    toy = make_toy()
    (toy.folder / "plan.json").unlink()
    os.mkfifo(toy.folder / "plan.json")  # reading it never ends
    toy.launch()
    toy.until(lambda: toy.state() == "starting" and len(procs.children(toy.pid)) == 2)

    toy.signal(signal.SIGKILL)
    toy.wait()

    until(lambda: not toy.survivors(), 2, "everything to be gone", lambda: f"{toy.survivors()}\n{toy.log}")


def test_role_that_runs_alone_has_its_jobs_ended_by_its_guardian(tmp_path: Path) -> None:
    program = (
        "import os, signal; from pathlib import Path; from jobsup.supervisor import guardian;"
        "from tests.support.toy import instance, start_family; folder = Path(os.environ['FOLDER']);"
        "guardian.start_for(os.getpid(), instance(folder)); start_family(folder); signal.pause()"
    )
    alone = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=os.environ | {"FOLDER": str(tmp_path)})
    name = tag(tmp_path)[procs.INSTANCE_VARIABLE]
    try:
        family = until(lambda: len(procs.tagged(name)) >= FAMILY_MEMBERS and procs.tagged(name), PATIENCE, "the family")
        time_of_death = time.monotonic()
        alone.kill()
        alone.wait()

        until(lambda: not procs.tagged(name), 2, "the family to be gone")
        assert time.monotonic() - time_of_death < 2
        assert [pid for pid in family if procs.is_alive(pid, None)] == []
    finally:
        alone.kill()
        alone.wait()
        trees.kill_tree(tag=name)
