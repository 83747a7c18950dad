"""Forking: the only place where a new process of ours comes from, and what it is given and denied."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkProcess
from multiprocessing.popen_fork import Popen
from multiprocessing.process import BaseProcess
from pathlib import Path

from jobsup.clock import Clock
from jobsup.errors import ExitCode
from jobsup.events import emit
from jobsup.runtime import logs, procs
from jobsup.runtime.channel import Channel
from jobsup.runtime.link import SupervisedLink, new_cell
from jobsup.runtime.signals import reset_signals
from jobsup.supervisor.child import Child
from jobsup.supervisor.spec import ChildSpec

_STANDARD_FDS = (0, 1, 2)
_context = multiprocessing.get_context("fork")
_NO_SENTINEL = -1
"""A child's end is told by its pidfd, and its parent's by one of its own."""


class _Launch(Popen):
    """The fork alone: what multiprocessing does besides in a child copies half a megabyte of pages, in each of them."""

    pid: int
    sentinel: int

    def _launch(self, process_obj: BaseProcess) -> None:
        self.sentinel = _NO_SENTINEL
        self.pid = os.fork()
        if self.pid == 0:
            try:
                process_obj.run()
            finally:
                os._exit(ExitCode.FAILED)  # whatever happened: the parent's own code must not go on in its child


class Process(_context.Process):  # type: ignore[misc,name-defined]  # a class, though it is reached through an object
    """A process of the `fork` context."""

    _Popen = staticmethod(_Launch)


def spawn_child(spec: ChildSpec, slot: int, release: Callable[[], None], clock: Clock, boot_timeouts: int) -> Child:
    """Fork a child that runs `spec.run`. `release` closes, in the child, what belongs to the parent alone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    cell = new_cell()
    name = f"{spec.kind}-{slot}"
    link = SupervisedLink(name, theirs, cell, os.getpid(), spec.watchdog)

    def main() -> int:
        ours.close()
        link.arm()
        procs.set_subreaper()  # its orphans stay below it, so that those we inherit are known to be a dead child's
        release()
        procs.set_name(name)
        close_other_fds((link.fileno(), link.parent_fd(), logs.stream().fileno()))
        logs.set_child(name)
        return spec.run(link)

    try:
        process = fork(main, name)
    except OSError:
        ours.close()
        theirs.close()
        raise
    theirs.close()
    return Child(spec, slot, process, Channel(ours), cell=cell, clock=clock, boot_timeouts=boot_timeouts)


def fork(main: Callable[[], int], name: str) -> ForkProcess:
    """Fork a process that ends with `main`'s result; only ever from a process of one thread."""
    assert_single_threaded()
    sys.stdout.flush()
    sys.stderr.flush()
    process = Process(target=_run, args=(main,), name=name, daemon=False)
    with _signals_blocked():
        process.start()
    return process


def freeze_memory() -> None:
    """Move all objects out of the collector's sight, so that children share their pages instead of copying them."""
    gc.collect()
    sys._clear_type_cache()  # else each name it drops later for another one is written to, wherever it lies
    gc.freeze()


def assert_single_threaded() -> None:
    """Refuse to fork beside other threads: a lock one of them holds would stay locked in the child for ever."""
    tasks = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threading.active_count() != 1 or tasks != 1:
        raise RuntimeError(f"{tasks} threads run in the supervisor, which forks and must have one")


def close_other_fds(keep: Iterable[int]) -> None:
    """Close every descriptor but standard ones and those kept."""
    kept = {*_STANDARD_FDS, *keep}
    # One by one: an empty range handed to `os.closerange` closes everything from there on.
    for fd in {int(entry) for entry in os.listdir("/proc/self/fd")} - kept:  # noqa: PTH208  (a path copies shared pages)
        with suppress(OSError):  # the descriptor of the listing itself is gone by now
            os.close(fd)


def _run(main: Callable[[], int]) -> None:
    reset_signals(ignored=(signal.SIGINT,))  # the terminal sends it to all of us; the supervisor coordinates
    try:
        code = main()
    except BaseException as error:  # noqa: BLE001  # the edge of the process: nobody above us is ours
        text = "".join(traceback.format_exception(error)).rstrip()
        emit("child.crashed", text, level=logging.CRITICAL, error=repr(error))
        code = int(ExitCode.FAILED)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # not through exit handlers that the parent registered


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Hold signals back across a fork: until it has reset them, a child would write them into our own queue."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
