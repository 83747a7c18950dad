"""The guardian of a worker that runs alone: outlives it by a moment and ends the jobs it leaves.

Unlike a supervisor's guardian it is nobody's child: a worker takes every unknown child for something a job left
behind, and ends it. So it is forked twice, before the worker begins to adopt orphans.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from contextlib import suppress

from jobsup.events import emit
from jobsup.runtime import logs, procs, trees
from jobsup.runtime.cgroups import Groups
from jobsup.supervisor.spawn import assert_single_threaded, close_other_fds

KILL_ROUND_SECONDS = 2.0
KILL_ROUNDS_MAX = 30
"""After so many rounds what is left is in an unkillable sleep; it is reported and left."""
INIT = 1
_DISMISSED = b"."
_DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Warden:
    """Our end of it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def dismiss(self) -> None:
        """Send it home: nothing is left to guard."""
        if self._pipe >= 0:
            with suppress(BrokenPipeError):
                os.write(self._pipe, _DISMISSED)
            os.close(self._pipe)
            self._pipe = -1


def start(tag: str, groups: Groups | None = None) -> Warden:
    """Have everything with this tag ended when this process is gone; call it before threads and children are made."""
    if os.getpid() == INIT:
        return Warden(-1)  # of a container: the kernel ends all others with it, and every orphan would be its child
    assert_single_threaded()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    root = os.pidfd_open(os.getpid())  # opened before the fork: it means us even if we die right after
    between = os.fork()
    if between == 0:
        _between(root, read_end, tag, groups)
    os.waitpid(between, 0)
    os.close(read_end)
    os.close(root)
    return Warden(write_end)


def _between(root: int, pipe: int, tag: str, groups: Groups | None) -> None:
    """Be the process that only parts the two, and never return."""
    try:
        if os.fork() == 0:
            os.setsid()
            procs.set_name("guardian")
            for signum in _DEAF_TO:
                signal.signal(signum, signal.SIG_IGN)
            close_other_fds((root, pipe, logs.stream().fileno()))
            logs.set_child("guardian")
            _guard(root, pipe, tag, groups)
    finally:
        os._exit(0)


def _guard(root: int, pipe: int, tag: str, groups: Groups | None) -> None:
    poller = select.poll()
    poller.register(root, select.POLLIN)
    poller.register(pipe, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if pipe in ready:
            if os.read(pipe, len(_DISMISSED)):
                return
            poller.unregister(pipe)  # the worker is gone, or is about to be: its handle decides
        if root in ready:
            if groups is not None:
                groups.end()
            _end_all(tag)
            if groups is not None:
                groups.end(wait_seconds=KILL_ROUND_SECONDS)
                groups.remove()
            return


def _end_all(tag: str) -> None:
    if not procs.tagged(tag):
        return
    left: list[int] = []
    for _ in range(KILL_ROUNDS_MAX):
        left = trees.kill_tree(tag=tag, deadline_seconds=KILL_ROUND_SECONDS)
        if not left:
            text = "The worker is gone; the jobs it had started are ended"
            emit("guardian.swept", text, level=logging.WARNING)
            return
    emit("guardian.failed", f"These processes do not die: {left}", level=logging.CRITICAL, pids=left)
