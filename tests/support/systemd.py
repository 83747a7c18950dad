"""A real systemd for tests: booted in namespaces of its own, on an overlay of this machine's files.

`why_not()` says why a machine cannot be booted here; `Machine` is one that was. Its files are this machine's own, so
the interpreter and the installed `jobsup` are at their usual paths; what it writes is lost with it, except below
`folder`, which it sees as `INSIDE`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.support.waiting import until

INSIDE = Path("/srv/machine")
"""Where the machine sees its `folder`."""
TARGET = "machine.target"
ROOT = Path(__file__).resolve().parents[2]

BOOT_SECONDS = 60.0
COMMAND_SECONDS = 120.0
END_SECONDS = 20.0
LOOK_SECONDS = 0.1
"""How often the machine is asked: each question is a process in it."""

_SYSTEMD = Path("/lib/systemd/systemd")
_SCRIPT = Path(__file__).with_name("systemd-boot.sh")
_TOOLS = ("unshare", "nsenter", "setpriv", "mount", "pivot_root", "systemctl", "journalctl")
_HIDDEN = tuple(Path(folder) for folder in ("/tmp", "/run", "/dev"))
"""Folders the machine has of its own: what this machine keeps there must be bound to be seen."""
_TARGET_UNIT = """\
[Unit]
Description=A machine for one test
Wants=systemd-journald.service
After=systemd-journald.service
AllowIsolate=yes
"""


@cache
def why_not() -> str:
    """Say why no systemd can be booted here, in words for the one who runs the tests; empty when one can."""
    if os.geteuid() != 0:
        return "needs root, to boot a systemd in namespaces of its own"
    if not _SYSTEMD.exists():
        return f"needs systemd: {_SYSTEMD} is not there"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"needs {', '.join(missing)} on the PATH, to boot a systemd in namespaces of its own"
    with tempfile.TemporaryDirectory(prefix="jobsup-machine-") as base:
        probe = subprocess.run(
            _in_private_mounts("probe", base), capture_output=True, text=True, check=False, timeout=10
        )
    if probe.returncode == 0:
        return ""
    said = (probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"])[0]
    return f"needs a kernel and rights for namespaces, overlayfs and cgroup v2: {said}"


class Machine:
    """One booted systemd; use it as a context manager.

    Processes are named by the pids of this machine, not by those inside: they can be looked at and signalled from here.
    """

    def __init__(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="jobsup-machine-"))
        self.folder = self._base / "shared"
        self.name = self._base.name
        (self.folder / "units").mkdir(parents=True)
        (self._base / "mounts").mkdir()
        self.folder.chmod(0o755)
        self._base.chmod(0o755)
        self._said = self._base / "boot.log"
        self.pid = 0
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self) -> None:
        self.add_unit(TARGET, _TARGET_UNIT)
        command = _in_private_mounts("enter", self._base / "mounts", self.name, self.folder, *_folders_to_bind())
        with self._said.open("wb") as said:
            # The death signal ends the machine even when the tests are killed: its holder takes all of it along.
            self._holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=said, stderr=said)
        self.pid = until(self._find_systemd, BOOT_SECONDS, "systemd to start", self._said.read_text)
        until(self._is_booted, BOOT_SECONDS, "systemd to be up", self._said.read_text, every=LOOK_SECONDS)

    def _find_systemd(self) -> int:
        holder = self._holder
        assert holder is not None
        assert holder.poll() is None, f"the machine did not boot: {self._said.read_text()}"
        for child in Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split():
            if _command_line(int(child)).startswith(str(_SYSTEMD)):
                return int(child)
        return 0

    def _is_booted(self) -> bool:
        return self.systemctl("is-active", "--quiet", TARGET).returncode == 0

    def close(self) -> None:
        """End the machine with all that runs in it, and remove its files and its cgroup; safe to call twice."""
        if self._holder is not None:
            _end(self._holder, self.pid)
            self._holder = None
            sweep = _in_private_mounts("sweep", self._base / "mounts", self.name)
            until(
                lambda: subprocess.run(sweep, check=False, capture_output=True).returncode == 0,
                END_SECONDS,
                "its cgroup to empty",
            )
        shutil.rmtree(self._base, ignore_errors=True)

    def run(self, *command: str | Path, timeout: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, its output captured; the exit code is the caller's to judge."""
        enter = ["nsenter", "-t", str(self.pid), "-a", "-r", "-w"]
        return subprocess.run(
            [*enter, *map(str, command)], capture_output=True, text=True, check=False, timeout=timeout
        )

    def systemctl(self, *words: str, timeout: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run `systemctl` inside."""
        return self.run("systemctl", *words, timeout=timeout)

    def path(self, inside: str | Path) -> Path:
        """Return where a file of the machine is seen from here, to read it or to write it."""
        return Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def add_unit(self, name: str, text: str) -> None:
        """Install a unit file; a drop-in is named `NAME.service.d/ANY.conf`. A running systemd reads it at once."""
        path = self.folder / "units" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if self.pid:
            reloaded = self.systemctl("daemon-reload")
            assert reloaded.returncode == 0, reloaded.stderr

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return what systemd knows of a unit, e.g. `show("a.service", "ActiveState", "StatusText")`."""
        shown = self.systemctl("show", unit, f"--property={','.join(properties)}")
        assert shown.returncode == 0, shown.stderr
        return dict(line.split("=", 1) for line in shown.stdout.splitlines())

    def processes(self, unit: str) -> dict[int, str]:
        """Return the pid, as seen from here, and the command line of each process of a unit, sub-groups included."""
        group = self.path("/sys/fs/cgroup/system.slice") / unit
        return {pid: _command_line(pid) for folder, _, _ in os.walk(group) for pid in _members(Path(folder))}

    def main_pid(self, unit: str) -> int:
        """Return the pid, as seen from here, of a unit's main process; 0 when it has none."""
        inside = int(self.show(unit, "MainPID")["MainPID"])
        return next((pid for pid in self.processes(unit) if _pid_inside(pid) == inside), 0)

    def journal(self, unit: str) -> str:
        """Return all the journal has of a unit, systemd's own words on it included: what a failed test should show."""
        return self.run("journalctl", "--no-pager", "--unit", unit, "--output=short-precise").stdout


def _in_private_mounts(*words: str | Path) -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", str(_SCRIPT), *map(str, words)]


def _folders_to_bind() -> Sequence[Path]:
    """Return the folders the installed `jobsup` needs that the overlay of `/` does not show."""
    needed = dict.fromkeys(Path(folder).resolve() for folder in (ROOT, sys.prefix, sys.base_prefix))
    root = Path("/").stat().st_dev
    return [folder for folder in needed if folder.stat().st_dev != root or any(map(folder.is_relative_to, _HIDDEN))]


def _end(holder: subprocess.Popen[bytes], systemd: int) -> None:
    """Kill the first process of the machine, and the kernel everything in it; its holder then reaps it and leaves."""
    if systemd and holder.poll() is None:
        os.kill(systemd, signal.SIGKILL)
    else:
        holder.kill()
    try:
        holder.wait(END_SECONDS)
    finally:
        holder.kill()
        holder.wait(END_SECONDS)


def _members(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:  # the group went away between two looks
        return []


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _pid_inside(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[-1]) for line in lines if line.startswith("NSpid:")), 0)
