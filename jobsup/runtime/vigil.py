"""Whether one of some processes has ended, at the price of one question to the kernel however many they are."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable

from jobsup.runtime import procs

Process = tuple[int, int]
"""A pid, and when it started in clock ticks since the boot."""


class Vigil:
    """Handles on processes that are none of ours; `close` lets go of them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handles: dict[Process, int] = {}
        self._missed = False

    @property
    def has_ended(self) -> bool:
        """One of those that are watched is gone, or was when its watch began."""
        return self._missed or bool(self._epoll.poll(0, 1))

    def watch(self, processes: Iterable[Process]) -> None:
        """Watch these from now on, and no others."""
        wanted = set(processes)
        for process in self._handles.keys() - wanted:
            os.close(self._handles.pop(process))  # which takes it out of the epoll
        self._missed = False
        for process in wanted - self._handles.keys():
            handle = procs.open_pidfd(*process)
            if handle is None:
                self._missed = True
                continue
            self._epoll.register(handle, select.EPOLLIN)
            self._handles[process] = handle

    def close(self) -> None:
        """Watch none any more; safe to call twice."""
        self.watch(())
        self._epoll.close()
