"""Ending or signalling whole trees of processes, however they fork and wherever they went."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Iterable

from jobsup.runtime import procs

KILL_DEADLINE_SECONDS = 5.0
"""How long `kill_tree` goes on by default; a process in an unkillable sleep outlives it."""
FREEZE_ROUNDS_MAX = 8
"""How often `kill_tree` looks for new members before it stops trusting them to stand still."""
KILL_WAIT_SECONDS = 0.05
"""The longest wait for killed processes between two looks."""
EXEC_SECONDS = 0.005
"""Before the last look: a process in the middle of an exec shows no environment, and so no tag."""


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
    spared = {os.getpid(), *procs.ancestors(os.getpid()), *keep}
    deadline = time.monotonic() + deadline_seconds
    members: dict[int, int] = {}  # pid -> start time: a pid that was used again is somebody else
    for pid in roots:
        _remember(pid, members, spared, stop=True)
    while True:
        for _ in range(FREEZE_ROUNDS_MAX):
            if not _grow(members, spared, tag, stop=True):
                break
        _kill(members, min(KILL_WAIT_SECONDS, deadline - time.monotonic()))
        left = [pid for pid, started in members.items() if procs.is_alive(pid, started)]
        if not left and not _grow(members, spared, tag, stop=True):
            if tag is None:
                return []
            select.select([], [], [], EXEC_SECONDS)
            if not _grow(members, spared, tag, stop=True):
                return []
        if time.monotonic() >= deadline:
            return [pid for pid, started in members.items() if procs.is_alive(pid, started)]


def signal_tree(roots: Iterable[int], signum: int, *, tag: str | None = None, keep: Collection[int] = ()) -> int:
    """Send one signal to these processes, all that are tagged, and their descendants; returns how many got it."""
    spared = {os.getpid(), *procs.ancestors(os.getpid()), *keep}
    members: dict[int, int] = {}
    for pid in roots:
        _remember(pid, members, spared, stop=False)
    _grow(members, spared, tag, stop=False)
    return sum(procs.signal_process(pid, started, signum) for pid, started in members.items())


def _remember(pid: int, members: dict[int, int], spared: Collection[int], *, stop: bool) -> bool:
    """Add a process to those we mean, stopped at once if wanted; True when it is new and alive."""
    if pid in spared or pid <= 1:
        return False
    found = procs.stat(pid)
    if found is None or found.state in procs.STATES_GONE or members.get(pid) == found.start_time:
        return False
    members[pid] = found.start_time
    if stop:
        procs.signal_process(pid, found.start_time, signal.SIGSTOP)
    return True


def _grow(members: dict[int, int], spared: Collection[int], tag: str | None, *, stop: bool) -> int:
    """Look for more members: descendants of the known ones, and tagged processes with theirs."""
    count = 0
    for batch in procs.batches():
        roots = [pid for pid, started in members.items() if procs.is_alive(pid, started)]
        if tag is not None:
            tagged_ones = procs.tagged_of(batch, tag)
            count += sum(_remember(pid, members, spared, stop=stop) for pid in tagged_ones)
            roots += tagged_ones
        if not roots:
            if tag is None:
                return count
            continue
        found = procs.descendants_of(roots, procs.table(batch))
        count += sum(_remember(pid, members, spared, stop=stop) for pid in found)
    return count


def _kill(members: dict[int, int], seconds: float) -> None:
    """Kill them all, and give them a moment to go."""
    pidfds = [fd for pid, started in members.items() if (fd := procs.open_pidfd(pid, started)) is not None]
    try:
        for fd in pidfds:
            procs.send(fd, signal.SIGKILL)
        _wait_for_any(pidfds, seconds)
    finally:
        for fd in pidfds:
            os.close(fd)


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
