"""Wake-ups on PostgreSQL: NOTIFY in the transaction that makes the news, LISTEN on the connection there is anyway.

An `Ear` is what a loop watches. It hears its channel between transactions, when the connection would be quiet, and is
told by the connection's owner what came in the middle of one; so a thread that waits for an answer and a loop that
waits for news never read from the same socket.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import Connection, text

from jobsup.store.news import OFFER

# Names of listeners in one notification, which may have 8,000 bytes.
NAMES_MAX = 200


class Ear:
    """A descriptor that becomes readable when its channel, or the state of the connection, has news."""

    def __init__(self, channel: str, name: str = "") -> None:
        self.channel = channel
        self._name = name
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._watched: int | None = None

    def fileno(self) -> int:
        return self._epoll.fileno()

    def attend(self, fd: int) -> None:
        """Begin to watch the connection's socket: nobody else reads from it now."""
        if self._watched is None and not self._epoll.closed:
            with suppress(OSError):
                self._epoll.register(fd, select.EPOLLIN)
                self._watched = fd

    def hush(self) -> None:
        """Leave the socket to a transaction."""
        if self._watched is not None:
            with suppress(OSError, ValueError):  # it was closed, which has ended the watch as well
                self._epoll.unregister(self._watched)
            self._watched = None

    def hear(self, channel: str, names: str) -> None:
        """Take a notification; one that names others is not for us."""
        if channel == self.channel and (not names or self._name in names.split()):
            self.ring()

    def ring(self) -> None:
        """Become readable; safe from any thread."""
        with suppress(BlockingIOError, OSError):  # it rings already, or is closed
            os.eventfd_write(self._bell, 1)

    def drain(self) -> bool:
        """Stop ringing; say whether it rang."""
        with suppress(BlockingIOError):
            return os.eventfd_read(self._bell) > 0
        return False

    def close(self) -> None:
        if not self._epoll.closed:
            self.hush()
            self._epoll.close()
            os.close(self._bell)


def channel(schema: str, kind: str) -> str:
    """Return what the listeners of a kind listen to: instances in other schemas hear nothing of it."""
    return f"{schema}.{kind}"


def announce(connection: Connection, schema: str, news: Mapping[str, int]) -> None:
    """Have the server tell the listeners of each kind at the commit, all in one statement."""
    kinds = sorted({"worker" if kind == OFFER else kind for kind in news})  # who is free only the listeners know
    calls = ", ".join(f"pg_notify(:channel_{number}, '')" for number in range(len(kinds)))
    channels = {f"channel_{number}": channel(schema, kind) for number, kind in enumerate(kinds)}
    connection.execute(text(f"SELECT {calls}"), channels)
