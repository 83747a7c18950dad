"""What the kernel knows about processes: identity, descent, tags."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

INSTANCE_VARIABLE = "JOBSUP_INSTANCE"
"""The environment variable that marks every process a job consists of with the instance it belongs to."""

PASSES_MAX = 50
"""How often one look asks for processes that have come during it: on a busy machine some always have."""
PIECE_BYTES = 64 << 10
ENVIRON_BYTES_MAX = 4 << 20
"""More of a process's environment than this is not searched."""

EXEC_BYTES_MAX = 64 << 10
"""A process that is between two programs has a page or two; any program that runs has more than this."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
STATES_GONE = frozenset("ZXx")
STATE_RUNS = "R"
"""It has a processor, or wants one."""


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Where a process id means something: only within one boot of one machine, in one pid namespace."""

    node: str
    boot_id: str
    pid_ns: str


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The few fields of `/proc/<pid>/stat` that tell who a process is."""

    pid: int
    state: str
    """The kernel's letter: R, S, D, T, Z ..."""
    parent: int
    start_time: int
    """Clock ticks after boot; with the pid it names one process for ever."""


def host_identity(node: str) -> HostIdentity:
    """Describe this machine under the name `node`."""
    return HostIdentity(node, boot_id(), pid_namespace())


@functools.cache
def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()


def pid_namespace() -> str:
    """Return the name of our pid namespace, as `pid:[4026531836]`."""
    return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (paths would copy shared pages in each child)


def stat(pid: int) -> ProcessStat | None:
    """Read one process's stat line; None when there is no such process."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except (OSError, ValueError):
        return None
    # The name stands in parentheses and may hold anything, parentheses too: count from the last one.
    fields = data[data.rindex(b")") + 2 :].split()
    return ProcessStat(pid, fields[0].decode("ascii"), int(fields[1]), int(fields[19]))


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks after boot; None when it is gone (a zombie is not)."""
    found = stat(pid)
    return None if found is None else found.start_time


def is_alive(pid: int, started: int | None) -> bool:
    """Say whether that very process still runs; a zombie does not. Without a start time only the pid is compared."""
    found = stat(pid)
    return found is not None and found.state not in STATES_GONE and started in (None, found.start_time)


def pids() -> list[int]:
    """List every process we can see."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208  # three times as fast as paths


def children(pid: int) -> list[int]:
    """List the direct children of a process, zombies too."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  (asked at the end of each run)
    except OSError:
        return []
    for task in tasks:
        with suppress(OSError):
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    return found


def _read(path: str) -> bytes:
    """Read a small file of the kernel's whole; a library's buffers would cost more than the file does."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = [os.read(fd, PIECE_BYTES)]
        while pieces[-1]:
            pieces.append(os.read(fd, PIECE_BYTES))
        return b"".join(pieces)
    finally:
        os.close(fd)


def descendants(pid: int) -> list[int]:
    """List children, their children, and so on, of one look at the process table; zombies are left out."""
    return descendants_of([pid], table(pids()))


def ancestors(pid: int) -> list[int]:
    """List the parent, its parent, and so on."""
    found: list[int] = []
    current = stat(pid)
    while current is not None and current.parent > 0 and current.parent not in found:
        found.append(current.parent)
        current = stat(current.parent)
    return found


def environ_value(pid: int, name: str) -> str | None:
    """Read one variable of the environment a process was started with; None when unset, unreadable or gone."""
    prefix = os.fsencode(name) + b"="
    try:
        with Path(f"/proc/{pid}/environ").open("rb", buffering=0) as file:
            data = file.read(ENVIRON_BYTES_MAX) or b""
    except OSError:
        return None
    if prefix not in data:
        return None
    for item in data.split(b"\0"):
        if item.startswith(prefix):
            return os.fsdecode(item[len(prefix) :])
    return None


def tagged(value: str) -> list[int]:
    """List the live processes that were started with `JOBSUP_INSTANCE=<value>` in their environment."""
    return [pid for batch in batches() for pid in tagged_of(batch, value)]


def signal_process(pid: int, started: int | None, signum: int) -> bool:
    """Signal exactly that process; False when it is gone."""
    fd = open_pidfd(pid, started)
    if fd is None:
        return False
    try:
        return send(fd, signum)
    finally:
        os.close(fd)


def open_pidfd(pid: int, started: int | None = None) -> int | None:
    """Open a handle on exactly that process; None when it is gone, or its pid is somebody else's now."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    # Compared after opening: from here on the handle cannot come to mean another process.
    if is_alive(pid, started):
        return fd
    os.close(fd)
    return None


def set_subreaper() -> None:
    """Adopt every orphan among our descendants, so that none can hide behind a double fork."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_pdeathsig(signum: int) -> None:
    """Have the kernel send us `signum` when our parent ends; check `getppid()` afterwards, it may be gone already."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def set_name(name: str) -> None:
    """Show up in `ps` and `top` under this name, cut to the kernel's 15 characters."""
    _prctl(_PR_SET_NAME, os.fsencode(f"jobsup:{name}")[:15])


def pss_bytes(pid: int) -> int | None:
    """Return a process's fair share of the memory it uses with others; None when it cannot be read."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        return None
    return None


def peak_bytes(pid: int) -> int | None:
    """Return the most memory a process has had so far; None when it is gone, a zombie, or becomes its program now."""
    try:
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                found = int(line.split()[1]) << 10
                return found if found > EXEC_BYTES_MAX else None
    except (OSError, ValueError):
        return None
    return None


def _prctl(option: int, value: int | bytes) -> None:
    library = _libc()
    given = ctypes.c_ulong(value) if isinstance(value, int) else ctypes.c_char_p(value)
    if library.prctl(option, given, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value!r}): {os.strerror(code)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def batches() -> Iterator[list[int]]:
    """Yield the ids of every process, then those that have come since, until none has.

    One list alone would miss a process whose parent ends before it is looked at, and is not listed itself yet.
    """
    seen: set[int] = set()
    for _ in range(PASSES_MAX):
        batch = [pid for pid in pids() if pid not in seen]
        if not batch:
            return
        seen.update(batch)
        yield batch


def tagged_of(batch: Iterable[int], value: str) -> list[int]:
    """Return those of the ids that are live processes with this tag."""
    return [pid for pid in batch if environ_value(pid, INSTANCE_VARIABLE) == value and is_alive(pid, None)]


def table(batch: Iterable[int]) -> dict[int, ProcessStat]:
    """Read the stat lines of those of the ids that are processes."""
    return {pid: found for pid in batch if (found := stat(pid)) is not None}


def descendants_of(roots: Iterable[int], table: dict[int, ProcessStat]) -> list[int]:
    """Return the live children of the roots, their children, and so on, as far as a table has them."""
    by_parent: dict[int, list[int]] = {}
    for process in table.values():
        by_parent.setdefault(process.parent, []).append(process.pid)
    found: list[int] = []
    queue = list(roots)
    while queue:
        for pid in by_parent.get(queue.pop(), ()):
            queue.append(pid)
            if table[pid].state not in STATES_GONE:
                found.append(pid)
    return found


def send(pidfd: int, signum: int) -> bool:
    """Signal the process of a handle; False when it is gone, or not ours to signal."""
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's process: whoever counts survivors sees it
    return True
