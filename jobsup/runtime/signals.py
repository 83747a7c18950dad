"""Signals as a queue: a handler does nothing, its number waits in a pipe until the loop reads it."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from types import FrameType
from typing import Any

READ_BYTES_MAX = 4096

HANDLED_BY_DEFAULT = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
)


class SignalQueue:
    """Catches signals of this process; `take` returns the numbers that have come since."""

    def __init__(self, caught: Collection[int], ignored: Collection[int] = ()) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Before any handler: one that comes between a handler and this would be heard by nobody.
        self._fd_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._before: dict[int, Any] = {}
        for signum in caught:
            self._before[signum] = signal.signal(signum, _nothing)
        for signum in ignored:
            # A handler, not SIG_IGN: what we start would inherit that over exec, and could not be interrupted.
            self._before[signum] = signal.signal(signum, _nothing)
        self._caught = frozenset(self._before) - frozenset(ignored)

    def fileno(self) -> int:
        return self._read_fd

    def take(self) -> list[int]:
        """Return the signals in the order they came; empty when none has."""
        try:
            data = os.read(self._read_fd, READ_BYTES_MAX)
        except BlockingIOError:
            return []
        return [signum for signum in data if signum in self._caught]

    def close(self) -> None:
        """Put the former handlers back."""
        signal.set_wakeup_fd(self._fd_before)
        for signum, handler in self._before.items():
            with suppress(TypeError):  # None: the former handler was not Python's
                signal.signal(signum, handler)
        os.close(self._read_fd)
        os.close(self._write_fd)


def reset_signals(ignored: Collection[int] = ()) -> None:
    """Give a freshly forked child the dispositions of a new process, with nothing blocked, and ignore those named."""
    signal.set_wakeup_fd(-1)
    for signum in HANDLED_BY_DEFAULT:
        signal.signal(signum, signal.SIG_DFL)
    for deaf_to in ignored:
        signal.signal(deaf_to, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _nothing(_signum: int, _frame: FrameType | None) -> None:
    """Exist, so that the signal has no default action; the wake-up descriptor carries its number."""
