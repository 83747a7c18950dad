"""Control groups, version 2: the kernel itself knows what belongs to a worker, and to a run with limits.

    <base>/jobsup-processes          the instance itself, where the base has to be free of processes
    <base>/<instance>/<worker>.self  a worker, and the runs that ask for nothing
    <base>/<instance>/<worker>.<n>   one run that asks for limits or a user, or the runners of such

A process is born into its parent's group for nothing; one that changes its group waits for all processors to have
taken notice, up to some ten milliseconds. So the plain runs stay with their worker, and only what goes through the
exec wrapper changes over, in the wrapper.

The base is our own group where that was delegated to us, or a folder that the configuration names. A group is ended
by one write (`cgroup.kill`), which no fork escapes. Which limits it can hold (`memory`, `pids`, `cpu`) depends on the
controllers that came with the base; version 1 is left alone.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CONTROLLERS = ("memory", "pids", "cpu")
"""Those we make use of."""
LEAF = "jobsup-processes"
KILL_ROUND_SECONDS = 0.01
CPU_PERIOD_MICROSECONDS = 100_000
READ_BYTES_MAX = 64 << 10

_GONE = (FileNotFoundError, ProcessLookupError)
_DELEGATED = ("user.delegate", "trusted.delegate")
_SYSTEMD = Path("/run/systemd/system")


@dataclass(slots=True)
class Group:
    """The group of one run, or of one runner."""

    path: str
    controllers: frozenset[str]
    _oom_kills: int = 0

    @property
    def members(self) -> str:
        """The file whose writer of "0" joins the group."""
        return f"{self.path}/cgroup.procs"

    def limit(
        self, *, memory_max: int | None = None, tasks_max: int | None = None, cpu_quota: int | None = None
    ) -> None:
        """Set what its processes may use together; whatever has no controller is left to the caller."""
        if memory_max is not None and "memory" in self.controllers:
            _write(f"{self.path}/memory.max", str(memory_max))
            _write(f"{self.path}/memory.oom.group", "1")  # half a job is no use to anybody
        if tasks_max is not None and "pids" in self.controllers:
            _write(f"{self.path}/pids.max", str(tasks_max))
        if cpu_quota is not None and "cpu" in self.controllers:
            _write(f"{self.path}/cpu.max", f"{cpu_quota * CPU_PERIOD_MICROSECONDS // 100} {CPU_PERIOD_MICROSECONDS}")

    def add(self, pid: int) -> None:
        """Move a process in; one that is gone already needs no group."""
        with suppress(ProcessLookupError):
            _write(self.members, str(pid))

    def pids(self) -> list[int]:
        """List its processes, zombies left out, those in groups that it has made itself included."""
        return [pid for folder in self._folders() for pid in _pids(folder)]

    def is_populated(self) -> bool:
        """Say whether a process is left in it or below it. Costs one short read."""
        return b"populated 1" in _read(f"{self.path}/cgroup.events")

    def kill(self, wait_seconds: float = 0.0) -> bool:
        """End all its processes at once, and say whether they are gone after waiting for that so long at most."""
        try:
            _write(f"{self.path}/cgroup.kill", "1")
        except FileNotFoundError:  # a kernel before 5.14, or no group any more
            _kill_each(self)
        end = time.monotonic() + wait_seconds
        while self.is_populated():
            if time.monotonic() >= end:
                return False
            select.select([], [], [], KILL_ROUND_SECONDS / 10)
        return True

    def take_oom_kills(self) -> int:
        """Return how many of its processes the kernel has ended for want of memory since this was last asked."""
        if "memory" not in self.controllers:
            return 0
        total = next((int(line.split()[1]) for line in self._memory_events() if line.startswith(b"oom_kill ")), 0)
        before, self._oom_kills = self._oom_kills, total
        return total - before

    def memory_peak(self) -> int | None:
        """Return the most memory it has used at a time, in bytes; None where nobody counts it."""
        text = _read(f"{self.path}/memory.peak").strip()
        return int(text) if text.isdigit() else None

    def remove(self) -> bool:
        """Remove it with the groups it has made; False when a process is still in it, or about to leave."""
        for folder in self._folders():
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def _folders(self) -> Iterator[str]:
        """Yield its folders, the deepest first."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            yield folder

    def _memory_events(self) -> list[bytes]:
        return _read(f"{self.path}/memory.events").splitlines()


@dataclass(slots=True)
class Groups:
    """The folder below which the runs of an instance have their groups."""

    path: str
    controllers: frozenset[str] = frozenset()
    home: str = ""
    """The group that we were in when the place was found."""
    _unremoved: list[Group] = field(default_factory=list)
    """Ended groups that the kernel still held on to."""

    def make(self, name: str) -> Group:
        """Make a new group. OSError when the kernel will not."""
        path = f"{self.path}/{name}"
        try:
            Path(path).mkdir()
        except FileExistsError:
            pass
        except FileNotFoundError:  # somebody cleaned up
            self.make_folder()
            Path(path).mkdir()
        return Group(path, self.controllers)

    def enter(self, name: str) -> Group:
        """Move this process, all threads, into a new group."""
        group = self.make(name)
        _write(group.members, "0")
        return group

    def leave(self) -> None:
        """Move this process back to where it came from, so that all groups can be ended."""
        _write(f"{self.home}/cgroup.procs", "0")

    def drop(self, group: Group) -> None:
        """Remove a group whose processes are gone, now or as soon as the kernel lets us."""
        if not group.remove():
            self._unremoved.append(group)

    def tidy(self) -> None:
        """Try again to remove what could not be removed before."""
        self._unremoved = [group for group in self._unremoved if not group.remove()]

    def end(self, prefix: str = "", *, wait_seconds: float = 0.0) -> int:
        """Kill and remove all groups whose names begin so; returns in how many a process was."""
        found = [Group(str(each), self.controllers) for each in _children(self.path) if each.name.startswith(prefix)]
        populated = [group for group in found if group.is_populated()]
        for group in populated:
            group.kill()
        for group in populated:
            group.kill(wait_seconds)
        for group in found:
            group.remove()
        return len(populated)

    def remove(self) -> None:
        """Remove the folder itself, when nothing is left in it."""
        with suppress(OSError):
            Path(self.path).rmdir()

    def make_folder(self) -> None:
        """Make the folder, and hand on to the groups in it what controllers there are."""
        Path(self.path).mkdir(parents=True, exist_ok=True)
        self.controllers = _enable(self.path, self.controllers)


class NoGroupsError(Exception):
    """There is no place for control groups, and why."""


def settle(setting: str, name: str) -> Groups:
    """Find the place of an instance's groups and make it; call it before there are other processes or threads.

    `setting` is "auto" or a folder. Where we have controllers we leave the base for a leaf of it: the kernel lets only
    groups without processes of their own hand controllers on. NoGroupsError says why there is no place.
    """
    own = _own_folder()
    base = _delegated(own) if setting == "auto" else Path(setting)
    try:
        base.mkdir(exist_ok=True)
        if not (base / "cgroup.procs").exists():
            raise NoGroupsError(f"{base} is not in a cgroup2 file system")
        wanted = frozenset(_read(f"{base}/cgroup.controllers").decode().split()) & frozenset(CONTROLLERS)
        if wanted and own == base and (base / "cgroup.type").exists():
            (base / LEAF).mkdir(exist_ok=True)
            _write(f"{base}/{LEAF}/cgroup.procs", "0")
        groups = Groups(str(base / name), _enable(str(base), wanted), str(_own_folder()))
        groups.make_folder()
        _try_out(groups)
    except OSError as error:
        raise NoGroupsError(f"{error.filename or base}: {error.strerror}") from None
    return groups


def _own_folder() -> Path | None:
    """Return the folder of the group we are in; None where there is no version 2, or we cannot see it."""
    path = next((line[3:] for line in _read("/proc/self/cgroup").decode().splitlines() if line.startswith("0::")), None)
    for line in _read("/proc/self/mountinfo").decode().splitlines():
        fields, _, rest = line.partition(" - ")
        if path is None or not rest.startswith("cgroup2 "):
            continue
        root, mounted = fields.split()[3:5]
        if path.startswith(root.rstrip("/")) and "/.." not in path:
            return Path(mounted) / path[len(root.rstrip("/")) :].lstrip("/")
    return None


def _delegated(own: Path | None) -> Path:
    """Return the group that is ours to part: our own, or the one we have left for its leaf."""
    if own is None:
        raise NoGroupsError("this machine has no control groups of version 2")
    base = own.parent if own.name == LEAF else own
    if not _is_marked(base) and _is_marked(base.parent):
        base = base.parent  # the manager has put us into a leaf itself (DelegateSubgroup=)
    if not os.access(base, os.W_OK) or not os.access(base / "cgroup.procs", os.W_OK):
        raise NoGroupsError(f"{base} is not ours to write to: set Delegate=yes in the unit")
    if _SYSTEMD.is_dir() and not _is_marked(base):
        raise NoGroupsError(f"{base} was not delegated to us: set Delegate=yes in the unit")
    return base


def _is_marked(folder: Path) -> bool:
    """Say whether systemd has delegated a group."""
    for attribute in _DELEGATED:
        with suppress(OSError):
            if os.getxattr(folder, attribute) == b"1":
                return True
    return False


def _enable(folder: str, wanted: frozenset[str]) -> frozenset[str]:
    """Hand controllers on to the groups below; returns those that could be."""
    for name in wanted:
        with suppress(OSError):  # one that somebody else holds: the others may still work
            _write(f"{folder}/cgroup.subtree_control", f"+{name}")
    return wanted & frozenset(_read(f"{folder}/cgroup.subtree_control").decode().split())


def _try_out(groups: Groups) -> None:
    """Make and remove a group with a process in it: rights alone do not tell whether that works."""
    group = groups.make(f"try-{os.getpid()}")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        group.add(child)
        _write(f"{groups.home}/cgroup.procs", str(child))
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(child, 0)
        groups.drop(group)


def _kill_each(group: Group) -> None:
    for pid in group.pids():
        with suppress(*_GONE):
            os.kill(pid, 9)


def _children(folder: str) -> list[Path]:
    try:
        return [each for each in Path(folder).iterdir() if each.is_dir()]
    except OSError:
        return []


def _pids(folder: str) -> list[int]:
    return [int(pid) for pid in _read(f"{folder}/cgroup.procs").split()]


def _read(path: str) -> bytes:
    """Read a file of the kernel; empty when it is not there (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(fd, READ_BYTES_MAX):  # the kernel hands out a page at a time
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        if error.errno != errno.ENODEV:  # removed between the two
            raise
        return b""
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
