"""What one call in a runner costs: processor time, memory, input and output."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

BLOCK_BYTES = 512
"""The unit in which the kernel tells what was read from and written to storage."""
LONG_SECONDS = 0.005
"""A call that took longer has its peak of memory looked up; of a shorter one the memory held at its end tells, or a
moment before, unless it was more than ever."""

_PAGE_BYTES = resource.getpagesize()
_RESET_PEAK = b"5"


class Meter:
    """Measures one call after the other."""

    def __init__(self) -> None:
        self._pages = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._before = _costs()
        self._held = 0
        self._looked_at = 0.0

    def end(self, began: float, ended: float) -> tuple[float, float, int, int, int, int]:
        """Return what was used since the last call's end, by a call that began and ended then.

        (user seconds, system seconds, bytes read, bytes written, peak of memory in bytes, memory held now)
        """
        before = self._before
        self._before = user, system, read, written, highest = _costs()
        is_long = ended - began > LONG_SECONDS
        if is_long or highest > before[4] or ended - self._looked_at > LONG_SECONDS:
            self._held = int(os.pread(self._pages, 100, 0).split()[1]) * _PAGE_BYTES
            self._looked_at = ended
        return (
            user - before[0],
            system - before[1],
            (read - before[2]) * BLOCK_BYTES,
            (written - before[3]) * BLOCK_BYTES,
            max(self._held, _peak_bytes()) if is_long else self._held,
            self._held,
        )


def _costs() -> tuple[float, float, int, int, int]:
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        own.ru_utime + below.ru_utime,
        own.ru_stime + below.ru_stime,
        own.ru_inblock + below.ru_inblock,
        own.ru_oublock + below.ru_oublock,
        own.ru_maxrss,
    )


def _peak_bytes() -> int:
    """Return the peak of our memory, and have the kernel count anew."""
    peak = 0
    with suppress(OSError), Path("/proc/self/status").open("rb") as file:
        for line in file:
            if line.startswith(b"VmHWM:"):
                peak = int(line.split()[1]) << 10
    with suppress(OSError), Path("/proc/self/clear_refs").open("wb") as file:
        file.write(_RESET_PEAK)
    return peak
