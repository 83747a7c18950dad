"""The whole with control groups: what a job hides from every list is ended all the same, and no group is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from jobsup.runtime import procs
from tests.support.cgroups import mount, why_not
from tests.support.instance import Instance, instances
from tests.support.waiting import until

__all__ = ["instances"]

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd delegates no group to tests"),
]

HIDING = """
[[job]]
name = "hiding"
command = '''
/usr/bin/python3 -c "
import os
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open('{file}', 'w').write(f'{{os.getpid()}}\\n')
os.execve('/bin/sleep', ['sleep', '300'], {{}})
"
sleep 300
'''
"""
"""Two forks, a session of its own and an empty environment."""


def make(instances: list[Instance]) -> tuple[Instance, Path]:
    instance = Instance("", workers=1, is_warm=False)
    instances.append(instance)
    file = instance.folder / "hidden"
    instance.write(HIDING.format(file=file))
    return instance, file


def groups_of(instance: Instance) -> Path:
    """Return the folder of an instance's groups, which its status does not need to name."""
    base = mount()
    assert base is not None
    name = json.loads(instance.cli("status", "--json").stdout)["supervisor"]["instance"]
    return base / f"jobsup-{name}"


def hide(instance: Instance, file: Path) -> int:
    assert instance.cli("run", "hiding").returncode == 0
    until(lambda: file.exists() and file.read_text().endswith("\n"), 10, "the hidden process", lambda: instance.log)
    return int(file.read_text())


def test_what_hides_from_session_mark_and_parent_dies_with_the_instance(instances: list[Instance]) -> None:
    instance, file = make(instances)
    instance.start()
    assert "Held by: control groups" in instance.cli("status").stdout
    groups, hidden = groups_of(instance), hide(instance, file)
    worker = next(child["pid"] for child in instance.children() if child["kind"] == "worker")
    assert instance.process is not None
    for pid in (instance.process.pid, worker):
        os.kill(pid, signal.SIGKILL)
    instance.process.wait()
    until(lambda: not procs.is_alive(hidden, None), 2, "the hidden process to be ended", lambda: instance.log)
    until(lambda: not groups.exists(), 2, "the groups to be removed", lambda: instance.log)


def test_a_killed_workers_group_ends_with_it_and_a_stop_leaves_none(instances: list[Instance]) -> None:
    instance, file = make(instances)
    instance.start()
    groups, hidden = groups_of(instance), hide(instance, file)
    worker = next(child["pid"] for child in instance.children() if child["kind"] == "worker")
    assert (groups / f"{worker}.self").is_dir()
    os.kill(worker, signal.SIGKILL)
    until(lambda: not procs.is_alive(hidden, None), 1, "the hidden process to be ended", lambda: instance.log)
    until(lambda: not (groups / f"{worker}.self").exists(), 2, "its group to be removed", lambda: instance.log)
    assert instance.stop() == 0
    assert not groups.exists()


def test_a_start_sweeps_what_a_predecessor_left_when_nobody_else_could(instances: list[Instance]) -> None:
    instance, file = make(instances)
    instance.start()
    groups, hidden = groups_of(instance), hide(instance, file)
    assert instance.process is not None
    everyone = [instance.process.pid, *procs.children(instance.process.pid)]  # its guardian too
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    for pid in everyone:
        os.kill(pid, signal.SIGKILL)
    instance.process.wait()
    assert procs.is_alive(hidden, None)
    assert groups.is_dir()
    instance.start()
    assert not procs.is_alive(hidden, None)
    assert "ended: 1 control groups" in instance.log


def test_a_killed_worker_that_ran_alone_leaves_nothing(instances: list[Instance]) -> None:
    instance, file = make(instances)
    base = mount()
    assert base is not None
    worker = instance.spawn("worker")
    until(lambda: "registered successfully" in instance.log, 30, "the worker", lambda: instance.log)
    [groups] = base.glob(f"jobsup-alone.worker.*.{worker.pid}.*")
    assert [path.name for path in groups.iterdir() if path.is_dir()] == [f"{worker.pid}.self"]
    hidden = hide(instance, file)
    worker.kill()
    worker.wait()
    until(lambda: not procs.is_alive(hidden, None), 2, "the hidden process to be ended", lambda: instance.log)
    until(lambda: not groups.exists(), 2, "the groups to be removed", lambda: instance.log)
