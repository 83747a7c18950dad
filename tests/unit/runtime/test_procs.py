"""Processes are told apart by pid and start time, and whole trees of them are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jobsup.runtime import procs, trees
from tests.support.waiting import PATIENCE, until

TAG = f"test-procs-{os.getpid()}"


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a child, and a grandchild in a session of its own; all tagged."""
    script = "(setsid sh -c 'sleep 901 & sleep 902' &) ; sleep 903"
    process = subprocess.Popen(["sh", "-c", script], env=os.environ | {procs.INSTANCE_VARIABLE: TAG})
    until(lambda: len(procs.tagged(TAG)) == 5, PATIENCE, "five processes")
    yield process
    trees.kill_tree([process.pid], tag=TAG)
    process.kill()
    process.wait()


def test_start_time_names_one_process_for_ever() -> None:
    own = procs.start_time(os.getpid())

    assert own is not None
    assert procs.is_alive(os.getpid(), own)
    assert not procs.is_alive(os.getpid(), own + 1)
    assert procs.is_alive(os.getpid(), None)


def test_name_with_spaces_and_parentheses_does_not_confuse_the_stat_line() -> None:
    program = "open('/proc/self/comm', 'w').write('a) S 1 (b'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = procs.stat(process.pid)
        process.kill()
    assert found is not None
    assert found.parent == os.getpid()


def test_zombie_is_not_alive_but_has_a_start_time() -> None:
    process = subprocess.Popen(["true"])
    until(lambda: (found := procs.stat(process.pid)) is not None and found.state == "Z", PATIENCE, "a zombie")

    assert not procs.is_alive(process.pid, None)
    assert procs.start_time(process.pid) is not None
    assert procs.open_pidfd(process.pid) is None
    process.wait()
    assert procs.start_time(process.pid) is None


def test_environment_of_another_process_is_read_exactly() -> None:
    with subprocess.Popen(["sleep", "900"], env={"A": "1=2", "LONG_A": "no", "EMPTY": ""}) as process:
        until(lambda: procs.environ_value(process.pid, "A") is not None, PATIENCE, "the exec")
        assert procs.environ_value(process.pid, "A") == "1=2"
        assert procs.environ_value(process.pid, "EMPTY") == ""
        assert procs.environ_value(process.pid, "G_A") is None
        process.kill()


def test_whole_tree_is_found_by_descent_and_by_tag(tree: subprocess.Popen[bytes]) -> None:
    tagged = procs.tagged(TAG)

    assert tree.pid in tagged
    assert set(procs.descendants(tree.pid)) < set(tagged)
    assert procs.children(tree.pid) != []
    assert os.getpid() in procs.ancestors(tree.pid)


def test_killed_tree_leaves_nothing_even_what_left_its_session(tree: subprocess.Popen[bytes]) -> None:
    members = procs.tagged(TAG)

    assert trees.kill_tree([tree.pid], tag=TAG) == []

    assert [pid for pid in members if procs.is_alive(pid, None)] == []


SLOW_FORKS = ["sh", "-c", "spin() { (sleep 0.01; spin) & }; spin; spin; spin; wait; sleep 904"]
QUICK_FORKS = [sys.executable, "-Sc", "import os\nwhile True:\n if os.fork(): os._exit(0)"]
"""Processes that live for no longer than it takes to make the next one."""


@pytest.mark.parametrize("command", [SLOW_FORKS, QUICK_FORKS])
def test_tree_that_forks_all_the_time_does_not_escape(command: list[str]) -> None:
    for _ in range(5):
        process = subprocess.Popen(command, env=os.environ | {procs.INSTANCE_VARIABLE: TAG}, stderr=subprocess.DEVNULL)
        until(lambda: procs.tagged(TAG), PATIENCE, "a family")

        assert trees.kill_tree([process.pid], tag=TAG) == []

        process.wait()
        assert procs.tagged(TAG) == []


def test_kept_processes_and_ourselves_are_spared(tree: subprocess.Popen[bytes]) -> None:
    trees.kill_tree([os.getpid(), os.getppid(), 1, 0, -1, tree.pid], keep=procs.tagged(TAG))

    assert len(procs.tagged(TAG)) == 5


def test_signal_reaches_every_member(tree: subprocess.Popen[bytes]) -> None:
    assert trees.signal_tree([tree.pid], signal.SIGTERM, tag=TAG) == 5

    until(lambda: not procs.tagged(TAG), PATIENCE, "all to leave")


def test_signal_to_a_pid_that_is_somebody_else_now_is_not_sent() -> None:
    with subprocess.Popen(["sleep", "900"]) as process:
        started = procs.start_time(process.pid)
        assert started is not None
        assert not procs.signal_process(process.pid, started - 1, signal.SIGKILL)
        assert process.poll() is None
        assert procs.signal_process(process.pid, started, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_host_identity_is_the_same_each_time_and_names_boot_and_namespace() -> None:
    identity = procs.host_identity("here")

    assert identity == procs.host_identity("here")
    assert len(identity.boot_id) == 36
    assert identity.pid_ns.startswith("pid:[")


def test_share_of_memory_is_known_for_us_and_unknown_for_nobody() -> None:
    assert (procs.pss_bytes(os.getpid()) or 0) > 1 << 20
    assert procs.pss_bytes(2**22 + 1) is None
