"""The queue of all processes that want to write to one SQLite file: a lock file beside it."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import FrameType

from jobsup.errors import DatabaseUnavailableError

TURN_SECONDS_MAX = 10.0
"""A turn that has not come after this long is told as trouble; any of ours takes milliseconds."""
TICK_SECONDS = 3.0
"""Between two signs of life. Each costs the place in the queue, so that nobody whose turn comes in time gives one."""


class WriterQueue:
    """The writers' turn: a blocking flock, which the kernel grants in the order of asking.

    Where the main thread waits, it shows now and then by `waits` that it is alive, and gives up in the end: who has
    the turn may be stopped. Any other thread waits for as long as it takes, and its process goes on beside it.
    """

    def __init__(self, path: Path) -> None:
        self.waits: Callable[[], None] = lambda: None
        self._path = path
        self._fd: int | None = None

    def enter(self) -> float:
        """Wait for the turn and return the seconds that took; DatabaseUnavailableError when it does not come."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._wait(self._fd)
        return 0.0

    def leave(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _wait(self, fd: int) -> float:
        began = monotonic()

        def tick(_signum: int, _frame: FrameType | None) -> None:
            if monotonic() - began >= TURN_SECONDS_MAX:
                raise DatabaseUnavailableError(self._told(fd))
            self.waits()

        try:
            with _ticking(tick):
                fcntl.flock(fd, fcntl.LOCK_EX)
        except BaseException:
            self.leave()  # the turn may have come at the same moment
            raise
        return monotonic() - began

    def _told(self, fd: int) -> str:
        holder = _holder(os.fstat(fd).st_ino)
        who = "another process" if holder is None else f"process {holder}"
        database = str(self._path).removesuffix("-queue")
        return (
            f"database {database}: no turn to write came in {TURN_SECONDS_MAX:.0f} s, {who} has it: continue or end it"
        )


@contextmanager
def _ticking(tick: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Interrupt what blocks the main thread at intervals; what `tick` raises ends it, else it goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _holder(inode: int) -> int | None:
    """Return the process that has a file locked, as /proc/locks tells; None when it does not."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()  # number, kind, ADVISORY, WRITE, process, major:minor:inode, ...; waiters have "->"
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
                return int(fields[4])
    return None
