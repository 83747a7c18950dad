"""The child's end of its tie to the supervisor: readiness, messages, signs of life, and the parent's death."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import time
from typing import Any, Protocol

from jobsup.runtime import procs
from jobsup.runtime.channel import Channel

CELL = struct.Struct("dq")
"""What a child shows of itself: `time.monotonic()` at the last turn of its loop, and its database statements so far."""
BEATS_PER_WATCHDOG = 4
ALONE_BEAT_SECONDS = 60.0
"""How often a loop without a supervisor turns when nothing happens."""
PARENT_GONE_EXIT = 1


class Link(Protocol):
    """What a service's loop needs of whoever started it."""

    name: str
    """For log lines: `worker-2`, or `worker` when alone."""
    is_supervised: bool
    beat_seconds: float
    """The loop turns at least this often, so that it can be seen to live."""

    def ready(self, facts: dict[str, Any]) -> None:
        """Say that the service works; the facts come back in `child_gone` messages when it dies."""
        ...

    def say(self, **message: Any) -> None:
        """Tell the supervisor something; `facts={...}` replaces what it knows of us."""
        ...

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have come, without waiting."""
        ...

    def beat(self, statements: int = 0) -> None:
        """Show that the loop turns, and how many statements the database has been sent."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that is readable when `receive` has something; -1 for none."""
        ...

    def parent_fd(self) -> int:
        """Return the descriptor that is readable when the parent is gone; -1 for none."""
        ...

    @property
    def closed(self) -> bool:
        """True when whoever started us has hung up."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class SupervisedLink:
    """The link of a forked child; made in the parent before the fork, armed in the child first thing."""

    is_supervised = True

    def __init__(self, name: str, sock: socket.socket, cell: mmap.mmap, parent: int, watchdog_seconds: float) -> None:
        self.name = name
        self.beat_seconds = watchdog_seconds / BEATS_PER_WATCHDOG
        self._channel = Channel(sock)
        self._cell = cell
        self._parent = parent
        self._parent_fd = -1

    def arm(self) -> None:
        """Tie our life to the parent's; leaves at once when it is gone already."""
        procs.set_pdeathsig(signal.SIGKILL)
        # Compared with the recorded pid, never with 1: orphans may be adopted by a subreaper.
        if os.getppid() != self._parent:
            os._exit(PARENT_GONE_EXIT)
        self._parent_fd = os.pidfd_open(self._parent)
        self.beat()

    def ready(self, facts: dict[str, Any]) -> None:
        self.beat()
        self.say(ready=True, facts=facts)

    def say(self, **message: Any) -> None:
        self._channel.send(message)

    def receive(self) -> list[dict[str, Any]]:
        return self._channel.receive()

    def beat(self, statements: int = 0) -> None:
        CELL.pack_into(self._cell, 0, time.monotonic(), statements)
        if self._channel.backlog:
            self._channel.flush()

    def fileno(self) -> int:
        return self._channel.fileno()

    def parent_fd(self) -> int:
        return self._parent_fd

    @property
    def closed(self) -> bool:
        return self._channel.closed

    def close(self) -> None:
        self._channel.close()


class AloneLink:
    """The link of a service that runs by itself in the foreground: nobody to tell, nobody to wait for."""

    is_supervised = False
    closed = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.beat_seconds = ALONE_BEAT_SECONDS
        self.facts: dict[str, Any] = {}

    def ready(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def say(self, **message: Any) -> None:
        pass

    def receive(self) -> list[dict[str, Any]]:
        return []

    def beat(self, statements: int = 0) -> None:
        pass

    def fileno(self) -> int:
        return -1

    def parent_fd(self) -> int:
        return -1

    def close(self) -> None:
        pass


def new_cell() -> mmap.mmap:
    """Make the memory a parent and its forked child share for the child's signs of life."""
    return mmap.mmap(-1, CELL.size)


def read_cell(cell: mmap.mmap) -> tuple[float, int]:
    """Return the child's last sign of life on the monotonic clock (0.0 before the first), and its statements."""
    beat, statements = CELL.unpack_from(cell, 0)
    return float(beat), int(statements)
