"""The process that outlives its root by a moment: when the root is gone, it ends everything that belonged to it.

It is forked first, sits in a session of its own, holds nothing but a handle on its root and a pipe, and waits.
The root tells it which children there are (`+<pid> <start time>`, `-<pid>`); jobs are found by their tag.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkProcess

from jobsup.events import emit
from jobsup.runtime import logs, procs, trees
from jobsup.runtime.cgroups import Groups
from jobsup.supervisor.exits import Exit, look
from jobsup.supervisor.spawn import close_other_fds, fork

READ_BYTES_MAX = 64 << 10
KILL_ROUND_SECONDS = 2.0
KILL_ROUNDS_MAX = 30
"""After so many rounds what is left is in an unkillable sleep; it is reported and left."""
QUIT_SECONDS = 1.0
_DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Guardian:
    """Our end: the running guardian of this process."""

    def __init__(self, process: ForkProcess, pipe: int) -> None:
        assert process.pid is not None  # noqa: S101  # it has been started
        self.pid = process.pid
        self.pidfd = os.pidfd_open(self.pid)
        self._process = process
        self._pipe = pipe

    def add(self, pid: int, start_time: int) -> None:
        """Have it end this child, too."""
        self._write(f"+{pid} {start_time}\n")

    def remove(self, pid: int) -> None:
        """Forget a child that is gone."""
        self._write(f"-{pid}\n")

    def dismiss(self) -> None:
        """Send it home: nothing is left to guard."""
        self._write("quit\n")
        if not select.select([self.pidfd], [], [], QUIT_SECONDS)[0]:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.bury()

    def look(self) -> Exit | None:
        """Look whether it ended, and how."""
        return look(self._process)

    def bury(self) -> None:
        """Reap it and close what we had of it."""
        self._process.join()
        self._process.close()
        os.close(self.pidfd)
        os.close(self._pipe)

    def _write(self, line: str) -> None:
        # A guardian that is gone or stuck is replaced as soon as that is noticed, and told everything again.
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self._pipe, line.encode())


def start(instance: str, release: Callable[[], None] = lambda: None, groups: Groups | None = None) -> Guardian:
    """Fork a guardian of this process. `release` closes, in it, what belongs to this process alone."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(write_end, False)
    root = os.pidfd_open(os.getpid())  # opened before the fork: it means us even if we die right after

    def main() -> int:
        release()
        os.setsid()
        procs.set_name("guardian")
        for signum in _DEAF_TO:
            signal.signal(signum, signal.SIG_IGN)
        close_other_fds((read_end, root, logs.stream().fileno()))
        logs.set_child("guardian")
        return _guard(root, read_end, instance, groups)

    try:
        process = fork(main, "guardian")
    finally:
        os.close(read_end)
        os.close(root)
    return Guardian(process, write_end)


def start_for(pid: int, instance: str) -> Guardian:
    """Guard a role that runs alone: `pid` must be this process, before it has threads or children."""
    if pid != os.getpid():
        raise ValueError(f"pid {pid} is not this process: only its own process can start its guardian")
    return start(instance)


def _guard(root: int, pipe: int, instance: str, groups: Groups | None) -> int:
    children: dict[int, int] = {}
    poller = select.poll()
    poller.register(root, select.POLLIN)
    poller.register(pipe, select.POLLIN)
    waiting = b""
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if pipe in ready:
            data = os.read(pipe, READ_BYTES_MAX)
            if not data:
                poller.unregister(pipe)  # the root is gone, or is about to be: its handle decides
            *lines, waiting = (waiting + data).split(b"\n")
            if b"quit" in lines:
                return 0
            for line in lines:
                _note(line, children)
        elif root in ready:
            _end_everything(children, instance, groups)
            return 0


def _note(line: bytes, children: dict[int, int]) -> None:
    if line.startswith(b"+"):
        pid, start_time = line[1:].split()
        children[int(pid)] = int(start_time)
    elif line.startswith(b"-"):
        children.pop(int(line[1:]), None)


def _end_everything(children: dict[int, int], instance: str, groups: Groups | None) -> None:
    if groups is not None:
        groups.end()  # at once: the workers' own end takes longer to be seen by them
    for _ in range(KILL_ROUNDS_MAX):
        roots = [pid for pid, start_time in children.items() if procs.is_alive(pid, start_time)]
        left = trees.kill_tree(roots, tag=instance, deadline_seconds=KILL_ROUND_SECONDS)
        if not left:
            if groups is not None:
                groups.end(wait_seconds=KILL_ROUND_SECONDS)
                groups.remove()
            emit("guardian.swept", "The supervisor is gone; everything it had started is ended", level=logging.WARNING)
            return
    emit("guardian.failed", f"These processes do not die: {left}", level=logging.CRITICAL, pids=left)
