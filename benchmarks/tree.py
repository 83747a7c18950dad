"""A process tree as the kernel accounts it: its processes, CPU time, memory and wake-ups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

NANOSECONDS = 1e9


def children(pid: int) -> list[int]:
    """Return the direct children of a process; none when it is gone."""
    return [int(child) for file in _tasks(pid, "children") for child in file.split()]


def members(root: int) -> list[int]:
    """Return the root and all its descendants."""
    found = [root]
    for pid in found:  # grows while it is walked
        found += children(pid)
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time that the processes have used, all threads together, to the nanosecond."""
    return sum(int(line.split()[0]) for pid in pids for line in _tasks(pid, "schedstat")) / NANOSECONDS


def pss_bytes(pids: list[int]) -> int:
    """Return the memory of the processes, what they share divided among those that share it."""
    return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) * 1024


def wakeups(pid: int) -> int:
    """Return how often the main thread of a process has slept and was woken."""
    return _field(f"/proc/{pid}/status", "voluntary_ctxt_switches:")


def name(pid: int) -> str:
    """Return the name a process gave itself; empty when it is gone."""
    return _or_empty(Path(f"/proc/{pid}/comm").read_text).strip()


def _tasks(pid: int, file: str) -> list[str]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    return [text for task in tasks if (text := _or_empty((task / file).read_text))]


def _field(path: str, name: str) -> int:
    for line in _or_empty(Path(path).read_text).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _or_empty(read: Callable[[], str]) -> str:
    try:
        return read()
    except OSError:  # the process is gone
        return ""
