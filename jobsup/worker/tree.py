"""Which processes belong to a run, wherever they went, and ending them.

The worker is a child subreaper: whatever a run's processes do (fork twice, start sessions of their own), they stay
our descendants, and orphans among them become our direct children. A direct child that is neither a run nor a runner
is therefore a stranger somebody left behind; the run's mark in its environment, or its session, tells whose.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Set
from contextlib import suppress

from jobsup.runtime import procs, trees
from jobsup.worker.environment import RUN_VARIABLE
from jobsup.worker.run import Run

KILL_SECONDS_MAX = 0.2
"""How long one attempt at killing a tree may hold up the loop."""


class Tree:
    """The process tree below this worker."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self.is_clear = False
        """There were no strangers at the last look, and no exit can have made one since."""

    def look_again(self) -> None:
        """Forget the last look: processes may have exited since.

        What a process leaves behind is ours before its exit is told. So one look serves all exits that one turn of
        the loop has heard of.
        """
        self.is_clear = False

    def terminate(self, run: Run, known: Set[int], others: Iterable[Run]) -> None:
        """Ask every process of a run to end."""
        self.end(self._roots(run, known, others), signal.SIGTERM, known - {run.pid})

    def kill(self, run: Run, known: Set[int], others: Iterable[Run]) -> None:
        """Kill every process of a run, as far as that succeeds at once."""
        if run.group is not None:
            run.group.kill(KILL_SECONDS_MAX / 2)
        self.end(self._roots(run, known, others), signal.SIGKILL, known - {run.pid})

    def left_behind(self, run: Run, known: Set[int], others: Iterable[Run]) -> list[int]:
        """List what an exited run left alive, and reap what is dead. Two short reads when that is nothing."""
        strangers = [] if self.is_clear else [pid for pid in procs.children(os.getpid()) if pid not in known]
        grouped = run.group.pids() if run.group is not None and run.group.is_populated() else []
        self.is_clear = not strangers
        if not strangers and not grouped:
            return []
        others = list(others)
        strays = [pid for pid in strangers if not _reaped(pid) and pid not in grouped]
        return [
            *(pid for pid in grouped if pid != run.pid),
            *(pid for pid in strays if self._belongs(pid, run, others)),
        ]

    def end(self, pids: Collection[int], signum: int, known: Set[int]) -> None:
        """Signal processes with all below them, sparing `known`; KILL is repeated until they are gone."""
        if signum == signal.SIGKILL:
            trees.kill_tree(pids, keep=known, deadline_seconds=KILL_SECONDS_MAX)
        else:
            trees.signal_tree(pids, signum, keep=known)
            trees.signal_tree(pids, signal.SIGCONT, keep=known)  # a stopped process hears nothing else

    def sweep(self, known: Set[int]) -> None:
        """Kill every stranger: for when no run is there that it could belong to."""
        strangers = [pid for pid in procs.children(os.getpid()) if pid not in known and not _reaped(pid)]
        if strangers:
            self.end(strangers, signal.SIGKILL, known)
            for pid in strangers:
                _reaped(pid)

    def _roots(self, run: Run, known: Set[int], others: Iterable[Run]) -> list[int]:
        alive = [run.pid] if procs.is_alive(run.pid, run.process_started) else []
        return alive + self.left_behind(run, known, others)

    def _belongs(self, pid: int, run: Run, others: list[Run]) -> bool:
        mark = self._mark(pid)
        session = _session(pid)
        if mark == run.dispatch_id or session == run.pid:
            return True
        if any(mark == other.dispatch_id or session == other.pid for other in others):
            return False
        # A mark of no live run, or none at all: it is this run's unless another may have made it.
        return mark is not None or not others

    def _mark(self, pid: int) -> int | None:
        if procs.environ_value(pid, procs.INSTANCE_VARIABLE) != self._instance:
            return None
        value = procs.environ_value(pid, RUN_VARIABLE) or ""
        return int(value) if value.isdecimal() else None


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _reaped(pid: int) -> bool:
    """Collect a stranger that has died, so that it does not stay a zombie; True when it is gone."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
