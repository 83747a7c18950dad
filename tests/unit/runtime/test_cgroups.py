"""Control groups: where an instance may have them, what is written to them, and that a kill reaches all of a group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobsup.runtime import cgroups, procs
from jobsup.runtime.cgroups import Group, Groups, NoGroupsError
from tests.support.cgroups import mount, place, why_not
from tests.support.waiting import until

needs_groups = pytest.mark.skipif(bool(why_not()), reason=why_not())

ESCAPES = (
    "import os, time\n"
    "for _ in range(20):\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        if os.fork() == 0:\n"
    "            os.environ.clear()\n"
    "            time.sleep(300)\n"
    "        os._exit(0)\n"
    "print('ready', flush=True)\n"
    "time.sleep(300)\n"
)
"""Twenty daemons, each forked twice into a session of its own."""


@pytest.fixture
def groups() -> Iterator[Groups]:
    with place() as found:
        yield found


def start(groups: Groups, name: str, program: str) -> tuple[Group, subprocess.Popen[str]]:
    group = groups.make(name)
    join = f"open({group.members!r}, 'w').write('0')\n"
    return group, subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", join + program], stdout=subprocess.PIPE, text=True
    )


@needs_groups
def test_a_kill_ends_everything_that_was_ever_forked_in_a_group(groups: Groups) -> None:
    group, process = start(groups, "one", ESCAPES)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    members = until(lambda: found if len(found := group.pids()) == 21 else [], 5, "the daemons")
    assert group.is_populated()
    assert group.kill(wait_seconds=2)
    process.wait()
    assert [pid for pid in members if procs.is_alive(pid, None)] == []
    assert (group.pids(), group.is_populated()) == ([], False)
    assert group.remove()
    assert not Path(group.path).exists()
    assert group.remove()  # again, because somebody else was first
    process.stdout.close()


@needs_groups
def test_groups_that_a_run_made_itself_are_ended_and_removed_with_it(groups: Groups) -> None:
    group = groups.make("nested")
    inner = Path(group.path, "a", "b")
    inner.mkdir(parents=True)
    process = subprocess.Popen(["sleep", "300"])
    (inner / "cgroup.procs").write_text(str(process.pid))
    assert group.pids() == [process.pid]
    assert not group.remove()
    assert groups.end(wait_seconds=2) == 1
    assert process.wait() == -signal.SIGKILL
    assert not Path(group.path).exists()


@needs_groups
def test_only_the_groups_of_one_worker_are_ended_when_it_is_lost(groups: Groups) -> None:
    lost, process = start(groups, "11.0", "import time; time.sleep(300)")
    kept, other = start(groups, "111.0", "import time; time.sleep(300)")
    until(lambda: lost.pids() and kept.pids(), 5, "both")
    assert groups.end("11.", wait_seconds=2) == 1
    assert process.wait() == -signal.SIGKILL
    assert kept.pids() == [other.pid]
    groups.end(wait_seconds=2)
    other.wait()
    for each in (process, other):
        assert each.stdout is not None
        each.stdout.close()


@needs_groups
def test_a_folder_that_somebody_removed_is_made_again(groups: Groups) -> None:
    groups.remove()
    assert not Path(groups.path).exists()
    assert Path(groups.make("one").path).is_dir()
    groups.end()


def test_limits_are_written_as_the_kernel_reads_them_and_only_where_there_is_a_controller(tmp_path: Path) -> None:
    for name in ("memory.max", "memory.oom.group", "pids.max", "cpu.max"):
        (tmp_path / name).touch()
    group = Group(str(tmp_path), frozenset(("memory", "cpu")))
    group.limit(memory_max=64 << 20, tasks_max=10, cpu_quota=150)
    assert (tmp_path / "memory.max").read_text() == str(64 << 20)
    assert (tmp_path / "memory.oom.group").read_text() == "1"
    assert (tmp_path / "cpu.max").read_text() == "150000 100000"
    assert (tmp_path / "pids.max").read_text() == ""


def test_each_oom_kill_is_counted_once(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    group = Group(str(tmp_path), frozenset(("memory",)))
    events.write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert group.take_oom_kills() == 1
    assert group.take_oom_kills() == 0
    events.write_text("oom 3\noom_kill 3\n")
    assert group.take_oom_kills() == 2
    assert Group(str(tmp_path), frozenset()).take_oom_kills() == 0


@pytest.mark.parametrize("setting", ["/proc/no/such", "/tmp"])
def test_a_place_that_is_none_is_refused_with_its_name(setting: str) -> None:
    with pytest.raises(NoGroupsError, match=setting):
        cgroups.settle(setting, "jobsup-test")


@needs_groups
@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd delegates no group to tests")
def test_without_systemd_a_group_we_may_write_to_is_ours() -> None:
    name = f"jobsup-test-{os.getpid()}"
    groups = cgroups.settle("auto", name)
    try:
        assert Path(groups.path).is_dir()
        assert groups.path.endswith(name)
        assert list(Path(groups.path).glob("try-*")) == []
    finally:
        groups.remove()
    assert not Path(groups.path).exists()


SETTLES = """
import json, sys
from jobsup.runtime import cgroups
cgroups.CONTROLLERS = ("hugetlb",)
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
first, second = cgroups.settle("auto", "runs"), cgroups.settle("auto", "runs")
group = first.make("one")
limits = [path.name for path in cgroups.Path(group.path).glob("hugetlb.*.max")]
first.enter("self")
first.leave()
own = open("/proc/self/cgroup").read().split("0::")[1].split()[0]
first.end()
first.remove()
print(json.dumps([own, first.path, second.path, sorted(first.controllers), bool(limits)]))
"""


@needs_groups
@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd delegates no group to tests")
def test_with_controllers_an_instance_leaves_its_group_for_a_leaf_and_hands_them_on() -> None:
    # A controller nobody uses stands in for those that other hierarchies may have taken.
    root = mount()
    assert root is not None
    control = root / "cgroup.subtree_control"
    if "hugetlb" not in (root / "cgroup.controllers").read_text().split():
        pytest.skip("needs the controller hugetlb in the cgroup2 hierarchy")
    had = "hugetlb" in control.read_text().split()
    base = root / f"jobsup-test-leaf-{os.getpid()}"
    control.write_text("+hugetlb")
    base.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SETTLES, str(base)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr
        own, path, path_again, controllers, has_limits = json.loads(done.stdout)
        assert own == f"/{base.name}/{cgroups.LEAF}"
        assert path == path_again == str(base / "runs")  # also for the next image of the same process
        assert controllers == ["hugetlb"]
        assert has_limits
    finally:
        until(lambda: "populated 0" in (base / "cgroup.events").read_text(), 2, "the group to empty")
        for folder in (base / cgroups.LEAF, base):
            folder.rmdir()
        if not had:
            with suppress(OSError):  # a neighbour that does the same is not done yet
                control.write_text("-hugetlb")
