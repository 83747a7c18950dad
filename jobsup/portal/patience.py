"""Connections whose patience ends: who does not say what they want, or does not take the answer, is hung up on.

Without it a few hundred clients that send one byte, or none, hold every place there is.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""From the connection, or from the end of the last answer, to a whole request without its body."""
BODY_SECONDS = 30.0
"""From there to the end of the body, which is at most 1 MiB."""
UNREAD_SECONDS = 30
"""How long an answer may wait to be taken."""
PER_ADDRESS_MAX = 250
"""Connections of one address; behind a proxy all have the proxy's, and it counts itself."""
NICENESS = 5
"""Where processors are short the schedule goes first, and pages wait."""


def give_way() -> None:
    """Let this process come after those that keep the schedule."""
    with suppress(OSError):
        os.nice(NICENESS)


def settle() -> None:
    """Spare the collector of garbage what is loaded by now: to look through that took 50 ms in the middle of a page."""
    gc.collect()
    gc.freeze()


class PatientProtocol(H11Protocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None
    _owed: tuple[object, int] | None = None
    """What the client owes us, and since which request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent does
        super().connection_made(transport)
        if not self.config.proxy_headers and self._is_one_too_many():
            transport.abort()
            return
        raw: Any = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Begin to wait for what the client owes us; a part of it buys no more time."""
        state = self.conn.their_state
        if state not in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing():
            self._forget()
            return
        owed = (state, id(self.cycle))
        if owed != self._owed:
            self._forget()
            seconds = HEAD_SECONDS if state is h11.IDLE else BODY_SECONDS
            self._owed, self._timer = owed, self.loop.call_later(seconds, self.transport.abort)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._owed = self._timer = None

    def _is_one_too_many(self) -> bool:
        address = self.client[0] if self.client else ""
        others = (each.client for each in self.connections if isinstance(each, H11Protocol))
        return sum(1 for client in others if client and client[0] == address) > PER_ADDRESS_MAX
