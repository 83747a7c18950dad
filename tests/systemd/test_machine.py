"""The test machine itself: a toy unit is started, restarted, read about, and gone with its machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import systemd
from tests.support.waiting import PATIENCE, until

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(systemd.why_not()), reason=systemd.why_not())]

TOY = """\
import os, socket, sys, time
print("toy begins", flush=True)
while not os.path.exists("/srv/machine/go"):
    time.sleep(0.01)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.connect(os.environ["NOTIFY_SOCKET"])
    notify.send(b"READY=1\\nSTATUS=as ready as a toy can be")
time.sleep(600)
"""
UNIT = f"""\
[Unit]
Description=Toy
DefaultDependencies=no
[Service]
Type=notify
ExecStart={sys.executable} /srv/machine/toy.py
Restart=always
RestartSec=50ms
"""


@pytest.fixture
def machine() -> Iterator[systemd.Machine]:
    with systemd.Machine() as booted:
        (booted.folder / "toy.py").write_text(TOY)
        booted.add_unit("toy.service", UNIT)
        yield booted


def test_a_toy_unit_is_started_when_it_says_so_and_restarted_when_it_is_killed(machine: systemd.Machine) -> None:
    machine.systemctl("start", "--no-block", "toy.service")
    until(
        lambda: "toy begins" in machine.journal("toy.service"),
        PATIENCE,
        "the toy to run",
        lambda: machine.journal("toy.service"),
        every=systemd.LOOK_SECONDS,
    )
    assert machine.show("toy.service", "ActiveState") == {"ActiveState": "activating"}
    (machine.folder / "go").touch()
    assert machine.systemctl("start", "toy.service").returncode == 0
    assert machine.show("toy.service", "StatusText") == {"StatusText": "as ready as a toy can be"}

    first = machine.main_pid("toy.service")
    assert machine.processes("toy.service") == {first: f"{sys.executable} /srv/machine/toy.py"}
    os.kill(first, signal.SIGKILL)
    second = until(lambda: machine.main_pid("toy.service") not in (0, first), PATIENCE, "the restart")
    assert second


def test_nothing_of_a_machine_is_left_when_it_is_closed(machine: systemd.Machine) -> None:
    (machine.folder / "go").touch()
    machine.systemctl("start", "toy.service")
    toy, base = machine.main_pid("toy.service"), machine.folder.parent
    assert toy
    machine.close()
    assert not Path(f"/proc/{toy}").exists()
    assert not Path(f"/proc/{machine.pid}").exists()
    assert not base.exists()
    assert machine.name not in Path("/proc/self/mountinfo").read_text()
    assert (
        machine.name
        not in subprocess.run(
            ["find", "/sys/fs/cgroup", "-name", machine.name], capture_output=True, text=True, check=False
        ).stdout
    )
