"""The memory that a worker and a runner share: which calls may begin, what came of them, how much output was read.

Both write without a lock; each word has one writer. It is what lets a worker hand over several calls at once and
still take back those that have not begun, and what tells both where in the pipes one call's output ends. An answer is
laid down here for the worker to find: to wake it for each would cost both more than many a call. What was laid down
stays when the runner dies.
"""

from __future__ import annotations

import mmap
import os
import select
import termios
import threading
from array import array
from fcntl import ioctl

STDOUT, STDERR = 1, 2
"""As everywhere; the model, which names them too, would cost each runner more than all else of ours."""
PAGE_BYTES = 4096
ANSWERS_MAX = 128
"""So many calls may have been handed over, and their answers not been taken."""
ANSWER_BYTES_MAX = 254
"""A longer answer goes another way; its place is left empty."""
SPINS_MAX = 100
"""Looks at a read that is under way before we wait between them: it takes microseconds unless the worker is frozen."""
SPIN_SECONDS = 0.001

_FLOOR, _TAKEN = 0, 1
_READS = {STDOUT: 2, STDERR: 4}
"""Where a stream's two words stand: how often the worker has begun and ended to read, and how many bytes it got."""
_ANSWERED, _WAKE_AT = 6, 7
_LENGTH_BYTES = 2
_PLACE_BYTES = _LENGTH_BYTES + ANSWER_BYTES_MAX
_BYTES = PAGE_BYTES + ANSWERS_MAX * _PLACE_BYTES


class Board:
    """Either side's view of it."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _BYTES)
        self._words = memoryview(self._memory).cast("Q")
        self._barrier = threading.Lock()
        self._waiting = array("i", [0])
        self._woken_at = 0

    @staticmethod
    def open_file() -> int:
        """Make the memory; the descriptor is closed on exec unless it is handed on."""
        fd = os.memfd_create("jobsup-board", os.MFD_CLOEXEC)
        os.truncate(fd, _BYTES)
        return fd

    def close(self) -> None:
        self._words.release()
        self._memory.close()

    # The worker's side

    @property
    def taken(self) -> int:
        """How many calls have begun, or been passed over."""
        return self._words[_TAKEN]

    def take_back(self, floor: int) -> int:
        """Forbid the calls numbered below `floor` that have not begun; returns the first number that was in time.

        Numbers only grow: `floor` is never lower than before. Of a call below what is returned the runner says itself
        whether it has begun.
        """
        self._words[_FLOOR] = floor
        self._order()
        return self._words[_TAKEN]

    def read(self, stream: int, fd: int, size: int) -> bytes:
        """Read from a pipe, counted; BlockingIOError when nothing is there, empty at its end."""
        at = _READS[stream]
        self._words[at] += 1
        try:
            data = os.read(fd, size)
            self._words[at + 1] += len(data)
        finally:
            self._words[at] += 1
        return data

    def amount_read(self, stream: int) -> int:
        """Return how many bytes of a stream the worker has read."""
        return self._words[_READS[stream] + 1]

    @property
    def answered(self) -> int:
        """How many calls have an answer; the number of the first that has none."""
        return self._words[_ANSWERED]

    def answer(self, number: int) -> bytes:
        """Return the answer to a call that has one; empty: it goes another way."""
        place = _place(number)
        length = int.from_bytes(self._memory[place : place + _LENGTH_BYTES], "little")
        return self._memory[place + _LENGTH_BYTES : place + _LENGTH_BYTES + length]

    def wake_at(self, number: int) -> bool:
        """Ask to be woken as soon as so many calls have an answer; True: they have, and nobody need wake us."""
        self._words[_WAKE_AT] = number
        self._order()
        return self._words[_ANSWERED] >= number

    # The runner's side

    def begin(self, number: int) -> bool:
        """Begin a call; False: it was taken back, and must not run."""
        self._words[_TAKEN] = number + 1
        self._order()
        return self._words[_FLOOR] <= number

    def lay_down(self, number: int, answer: bytes) -> bool:
        """Lay an answer down, of calls in the order of their numbers; True: the worker waits to be woken now."""
        place = _place(number)
        data = len(answer).to_bytes(_LENGTH_BYTES, "little") + answer
        self._memory[place : place + len(data)] = data
        self._words[_ANSWERED] = number + 1
        self._order()
        wake_at = self._words[_WAKE_AT]
        if not self._woken_at < wake_at <= number + 1:
            return False
        self._woken_at = wake_at
        return True

    def amount_written(self, stream: int, fd: int) -> int:
        """Return how many bytes were ever written into a pipe: those read, and those that wait in it."""
        at, waiting, spins = _READS[stream], self._waiting, 0
        while True:
            before = self._words[at]
            if not before & 1:
                count = self._words[at + 1]
                ioctl(fd, termios.FIONREAD, waiting)
                if self._words[at] == before:
                    return count + waiting[0]
            spins += 1
            if spins > SPINS_MAX:
                select.select([], [], [], SPIN_SECONDS)

    def _order(self) -> None:
        """Have what we wrote seen by the other side before we look at what it wrote: a lock is a memory barrier."""
        with self._barrier:
            pass


def _place(number: int) -> int:
    return PAGE_BYTES + number % ANSWERS_MAX * _PLACE_BYTES
