"""What the kernel knows about processes: identity, descent, tags, and ending whole trees of them."""

from __future__ import annotations

import ctypes
import functools
import os
import select
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

INSTANCE_VARIABLE = "JOBSUP_INSTANCE"
"""The environment variable that marks every process a job consists of with the instance it belongs to."""

KILL_DEADLINE_SECONDS = 5.0
"""How long `kill_tree` goes on by default; a process in an unkillable sleep outlives it."""
FREEZE_ROUNDS_MAX = 8
"""How often `kill_tree` looks for new members before it stops trusting them to stand still."""
KILL_WAIT_SECONDS = 0.05
"""The longest wait for killed processes between two looks."""
EXEC_SECONDS = 0.005
"""Before the last look: a process in the middle of an exec shows no environment, and so no tag."""
PASSES_MAX = 50
"""How often one look asks for processes that have come during it: on a busy machine some always have."""
ENVIRON_BYTES_MAX = 4 << 20
"""More of a process's environment than this is not searched."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_STATES_GONE = frozenset("ZXx")


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
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def pid_namespace() -> str:
    """Return the name of our pid namespace, as `pid:[4026531836]`."""
    return str(Path("/proc/self/ns/pid").readlink())


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
    return found is not None and found.state not in _STATES_GONE and started in (None, found.start_time)


def pids() -> list[int]:
    """List every process we can see."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208  # three times as fast as paths


def children(pid: int) -> list[int]:
    """List the direct children of a process, zombies too."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text(encoding="ascii").split())
    except OSError:
        return []
    return found


def descendants(pid: int) -> list[int]:
    """List children, their children, and so on, of one look at the process table; zombies are left out."""
    return _descendants_of([pid], _table(pids()))


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
    return [pid for batch in _batches() for pid in _tagged_of(batch, value)]


def kill_tree(
    roots: Iterable[int] = (),
    *,
    tag: str | None = None,
    deadline_seconds: float = KILL_DEADLINE_SECONDS,
    keep: Collection[int] = (),
) -> list[int]:
    """SIGKILL these processes, all that are tagged, and all their descendants, until none is left.

    They are stopped first and looked for again until no new one appears, so that none forks its way out.
    Ourselves, our ancestors and `keep` are never touched. Returns the pids still alive at the deadline.
    """
    spared = {os.getpid(), *ancestors(os.getpid()), *keep}
    deadline = time.monotonic() + deadline_seconds
    members: dict[int, int] = {}  # pid -> start time: a pid that was used again is somebody else
    for pid in roots:
        _remember(pid, members, spared, stop=True)
    while True:
        for _ in range(FREEZE_ROUNDS_MAX):
            if not _grow(members, spared, tag, stop=True):
                break
        _kill(members, min(KILL_WAIT_SECONDS, deadline - time.monotonic()))
        left = [pid for pid, started in members.items() if is_alive(pid, started)]
        if not left and not _grow(members, spared, tag, stop=True):
            if tag is None:
                return []
            select.select([], [], [], EXEC_SECONDS)
            if not _grow(members, spared, tag, stop=True):
                return []
        if time.monotonic() >= deadline:
            return [pid for pid, started in members.items() if is_alive(pid, started)]


def signal_tree(roots: Iterable[int], signum: int, *, tag: str | None = None, keep: Collection[int] = ()) -> int:
    """Send one signal to these processes, all that are tagged, and their descendants; returns how many got it."""
    spared = {os.getpid(), *ancestors(os.getpid()), *keep}
    members: dict[int, int] = {}
    for pid in roots:
        _remember(pid, members, spared, stop=False)
    _grow(members, spared, tag, stop=False)
    return sum(signal_process(pid, started, signum) for pid, started in members.items())


def signal_process(pid: int, started: int | None, signum: int) -> bool:
    """Signal exactly that process; False when it is gone."""
    fd = open_pidfd(pid, started)
    if fd is None:
        return False
    try:
        return _send(fd, signum)
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
    buffer = ctypes.create_string_buffer(os.fsencode(f"jobsup:{name}")[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def pss_bytes(pid: int) -> int | None:
    """Return a process's fair share of the memory it uses with others; None when it cannot be read."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        return None
    return None


def _prctl(option: int, value: int) -> None:
    library = _libc()
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _batches() -> Iterator[list[int]]:
    """Yield every process, then those that have come since, until none has.

    One list alone would miss a process whose parent ends before it is looked at, and is not listed itself yet.
    """
    seen: set[int] = set()
    for _ in range(PASSES_MAX):
        batch = [pid for pid in pids() if pid not in seen]
        if not batch:
            return
        seen.update(batch)
        yield batch


def _tagged_of(batch: Iterable[int], value: str) -> list[int]:
    return [pid for pid in batch if environ_value(pid, INSTANCE_VARIABLE) == value and is_alive(pid, None)]


def _table(batch: Iterable[int]) -> dict[int, ProcessStat]:
    return {pid: found for pid in batch if (found := stat(pid)) is not None}


def _descendants_of(roots: Iterable[int], table: dict[int, ProcessStat]) -> list[int]:
    by_parent: dict[int, list[int]] = {}
    for process in table.values():
        by_parent.setdefault(process.parent, []).append(process.pid)
    found: list[int] = []
    queue = list(roots)
    while queue:
        for pid in by_parent.get(queue.pop(), ()):
            queue.append(pid)
            if table[pid].state not in _STATES_GONE:
                found.append(pid)
    return found


def _remember(pid: int, members: dict[int, int], spared: Collection[int], *, stop: bool) -> bool:
    """Add a process to those we mean, stopped at once if wanted; True when it is new and alive."""
    if pid in spared or pid <= 1:
        return False
    found = stat(pid)
    if found is None or found.state in _STATES_GONE or members.get(pid) == found.start_time:
        return False
    members[pid] = found.start_time
    if stop:
        signal_process(pid, found.start_time, signal.SIGSTOP)
    return True


def _grow(members: dict[int, int], spared: Collection[int], tag: str | None, *, stop: bool) -> int:
    """Look for more members: descendants of the known ones, and tagged processes with theirs."""
    count = 0
    for batch in _batches():
        roots = [pid for pid, started in members.items() if is_alive(pid, started)]
        if tag is not None:
            tagged_ones = _tagged_of(batch, tag)
            count += sum(_remember(pid, members, spared, stop=stop) for pid in tagged_ones)
            roots += tagged_ones
        if not roots:
            if tag is None:
                return count
            continue
        found = _descendants_of(roots, _table(batch))
        count += sum(_remember(pid, members, spared, stop=stop) for pid in found)
    return count


def _kill(members: dict[int, int], seconds: float) -> None:
    """Kill them all, and give them a moment to go."""
    pidfds = [fd for pid, started in members.items() if (fd := open_pidfd(pid, started)) is not None]
    try:
        for fd in pidfds:
            _send(fd, signal.SIGKILL)
        _wait_for_any(pidfds, seconds)
    finally:
        for fd in pidfds:
            os.close(fd)


def _send(pidfd: int, signum: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's process: whoever counts survivors sees it
    return True


def _wait_for_any(pidfds: list[int], seconds: float) -> None:
    """Give killed processes a moment to go: until the last handle says so, or the time is up."""
    poller = select.poll()
    waiting = set(pidfds)
    for fd in pidfds:
        poller.register(fd, select.POLLIN)
    end = time.monotonic() + max(0.0, seconds)
    while waiting and (left := end - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            poller.unregister(fd)
            waiting.discard(fd)
