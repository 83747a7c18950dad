"""Runs in control groups of their own: nothing of them gets away, and nothing of their groups is left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.model import JobKind, Overlap
from jobsup.runtime import procs
from jobsup.runtime.cgroups import Groups
from tests.processes.worker.test_many import ask_for, statuses
from tests.support.cgroups import mount, place, why_no, why_not
from tests.support.store import add_job
from tests.support.waiting import until
from tests.support.worker import Bench, working

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
needs_memory, needs_pids, needs_cpu = (
    pytest.mark.skipif(bool(why_no(controller)), reason=why_no(controller)) for controller in ("memory", "pids", "cpu")
)

DAEMON = (
    "import os, time\n"
    "if os.fork():\n    os.wait(); time.sleep({seconds}); os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "open({file!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
    "os.execve('/bin/sleep', ['sleep', '300'], {{}})\n"
)
"""Forks twice into a session of its own and forgets its environment: neither session nor mark tell whose it is."""


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with place() as found:
        yield found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, groups: Groups) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker"), concurrency=4, groups=groups) as bench:
        yield bench
        assert bench.survivors() == [], bench.told()
        until(lambda: left_in(groups, bench) == [], 2, "the groups to be removed", bench.told)


def left_in(groups: Groups, bench: Bench) -> list[str]:
    """List the groups of a worker's runs; its own goes with it."""
    found = Path(groups.path).glob(f"{bench.pid}.*")
    return [path.name for path in found if path.name != f"{bench.pid}.self" or not procs.is_alive(bench.pid, None)]


def daemon(bench: Bench, name: str, seconds: float) -> tuple[str, ...]:
    return ("/usr/bin/python3", "-c", DAEMON.format(file=str(bench.folder / name), seconds=seconds))


def test_a_run_that_asks_for_something_has_a_group_of_its_own_and_a_plain_one_its_workers(
    bench: Bench, groups: Groups
) -> None:
    place_of_runs = f"/{Path(groups.path).parent.name}/runs/{bench.pid}"
    asked: tuple[dict[str, Any], ...] = ({"nice": 1}, {"user": "nobody"}) if os.geteuid() == 0 else ({"nice": 1},)
    seen = set()
    for more in ({}, *asked):
        run = bench.run(command="grep ^0:: /proc/self/cgroup", **more)
        bench.until_ended(run)
        group = bench.output(run).decode().strip().removeprefix(f"0::{place_of_runs}.")
        assert group.isdigit() if more else group == "self"
        seen.add(group)
    assert len(seen) == 1 + len(asked)


def test_a_daemon_without_a_mark_is_ended_with_the_run_it_came_from(bench: Bench) -> None:
    # Another run goes on, so that the daemon could be that one's as well for all that /proc tells.
    other = bench.run(command="sleep 1.5; echo fine")
    run = bench.run(command=daemon(bench, "unmarked", 0.2), nice=1)
    pid = int(bench.until_file("unmarked"))
    row = bench.until_ended(run)
    assert (row["status"], row["error_message"]) == ("COMPLETED", "1 process left behind was ended")
    assert not procs.is_alive(pid, None)
    assert bench.until_ended(other)["status"] == "COMPLETED"


def test_a_tree_that_never_stands_still_is_gone_at_its_deadline(bench: Bench) -> None:
    restless = "trap '' TERM; while :; do (setsid sh -c \"trap '' TERM; sleep 0.05; sleep 30\" &) ; sleep 0.01; done"
    run = bench.run(command=restless, nice=1, timeout=timedelta(seconds=0.7), kill_grace=timedelta(seconds=0.2))
    row = bench.until_ended(run)
    assert (row["status"], row["reason"]) == ("TIMEOUT", "deadline")
    assert (row["completed_at"] - row["started_at"]).total_seconds() < 2.5
    assert bench.survivors() == []


def test_term_reaches_what_left_the_session_and_the_mark(bench: Bench) -> None:
    run = bench.run(
        command=daemon(bench, "polite", 60), nice=1, timeout=timedelta(seconds=0.6), kill_grace=timedelta(seconds=30)
    )
    pid = int(bench.until_file("polite"))
    assert bench.until_ended(run, 5)["reason"] == "deadline"
    assert not procs.is_alive(pid, None)


def test_a_runner_with_limits_has_a_group_that_stays_for_its_next_call(
    tmp_path_factory: pytest.TempPathFactory, groups: Groups
) -> None:
    with working(tmp_path_factory.mktemp("worker"), groups=groups) as bench:
        (bench.folder / "grouped.py").write_text("def where():\n    print(open('/proc/self/cgroup').read())\n")
        python = {"kind": JobKind.PYTHON, "python": "grouped:where", "command": None, "cwd": str(bench.folder)}
        runs = [bench.run(**python, nice=1), bench.run(**python, nice=1), bench.run(**python)]
        for run in runs:
            assert bench.until_ended(run)["status"] == "COMPLETED"
        first, second, plain = (bench.output(run).decode().split("0::")[1].split()[0] for run in runs)
        assert f"/runs/{bench.pid}." in first
        assert first == second
        assert plain.endswith(".self")
    assert left_in(groups, bench) == []


def test_many_runs_leave_no_group(bench: Bench, groups: Groups) -> None:
    job = add_job(bench.database, command=("/bin/true",), overlap=Overlap.ALLOW, nice=1)
    ids = ask_for(bench, job.job_id, 40)
    until(lambda: statuses(bench, ids) == {"COMPLETED": 40}, 30, "the runs", lambda: bench.told()[-3000:])
    assert len(left_in(groups, bench)) <= 1  # a group whose last process is just leaving


def test_a_worker_that_is_killed_leaves_runs_that_one_write_ends(
    tmp_path_factory: pytest.TempPathFactory, groups: Groups
) -> None:
    with working(tmp_path_factory.mktemp("worker"), groups=groups) as bench:
        run = bench.run(command=daemon(bench, "orphan", 300))
        pid = int(bench.until_file("orphan"))
        bench.process.kill()
        bench.process.join()
        assert procs.is_alive(pid, None)  # nobody would find it by its mark
        assert bench.row(run)["status"] == "IN_PROGRESS"
        begun = time.monotonic()
        assert groups.end(f"{bench.pid}.", wait_seconds=2) == 1  # the worker's own, with all plain runs
        assert time.monotonic() - begun < 1
        assert not procs.is_alive(pid, None)


@needs_memory
def test_a_run_that_takes_more_memory_than_it_may_says_so(bench: Bench) -> None:
    code = "blocks = []\nwhile True: blocks.append(bytearray(b'x' * (8 << 20)))"
    run = bench.run(command=(sys.executable, "-c", code), memory_max=64 << 20)
    row = bench.until_ended(run)
    assert (row["status"], row["reason"]) == ("FAILED", "oom")
    assert "memory_max is 64MiB" in row["error_message"]


@needs_pids
def test_a_fork_bomb_is_held_by_its_group(bench: Bench) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 60"
    run = bench.run(command=bomb, tasks_max=30, timeout=timedelta(seconds=1), kill_grace=timedelta(0))
    bench.until_started(run)
    assert len(bench.survivors()) <= 31
    assert bench.until_ended(run)["reason"] == "deadline"


@needs_pids
def test_a_run_that_may_have_no_more_processes_fails_at_the_fork_and_not_its_neighbour(bench: Bench) -> None:
    code = """
import os, signal
held = []
try:
    while len(held) < 50:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        held.append(pid)
except OSError as error:
    print(len(held), error.strerror, flush=True)
for pid in held:
    os.kill(pid, 9)
"""
    other = bench.run(command="for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2 & done; wait", nice=1)
    run = bench.run(command=(sys.executable, "-S", "-c", code), tasks_max=10)
    row = bench.until_ended(run)
    assert (row["status"], bench.output(run)) == ("COMPLETED", b"9 Resource temporarily unavailable\n")
    assert bench.until_ended(other)["status"] == "COMPLETED"


@needs_cpu
def test_a_run_gets_no_more_of_the_processors_than_it_may_have(bench: Bench) -> None:
    code = """
import time
while time.process_time() < 0.1: pass
group = "{mount}" + open("/proc/self/cgroup").read().split("0::")[1].split()[0]
print(open(group + "/cpu.max").read().split(), "nr_throttled 0" in open(group + "/cpu.stat").read())
"""
    run = bench.run(command=(sys.executable, "-S", "-c", code.format(mount=mount())), cpu_quota="5%")
    row = bench.until_ended(run, 20)
    assert (row["status"], bench.output(run)) == ("COMPLETED", b"['5000', '100000'] False\n")
    # A tenth of a second of work, at a twentieth of one processor.
    assert (row["completed_at"] - row["started_at"]).total_seconds() > 1
