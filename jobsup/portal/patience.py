"""Connections whose patience ends: who does not say what they want, or does not take the answer, is hung up on.

Without it a few hundred clients that send one byte, or none, hold every place there is. The parser, in C for
the sake of a thousand requests a second, bounds nothing by itself: heads, bodies and requests sent ahead are bounded
here.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""From the connection, or from the end of the last answer, to a whole request without its body."""
BODY_SECONDS = 30.0
"""From there to the end of the body, which is at most 1 MiB."""
UNREAD_SECONDS = 30
"""How long an answer may wait to be taken."""
PER_ADDRESS_MAX = 250
"""Connections of one address; behind a proxy all have the proxy's, and it counts itself."""
HEAD_BYTES_MAX = 64 << 10
"""Of a request without its body, while it is not whole."""
WRAPPED_BYTES_MAX = 4 << 20
"""Of a body as it comes, with the chunks' own heads and what follows the last; the door allows 1 MiB of content."""
AHEAD_MAX = 64
"""Requests that one connection may send before the answer to the one before."""
REFUSED = "Invalid HTTP request received."
NICENESS = 5
"""Where processors are short the schedule goes first, and pages wait."""

SWITCH_SECONDS = 0.0002
"""How long a thread that draws a page may keep the interpreter from the loop, which asks for it after each system call:
with the usual 5 ms an answer that costs 0.1 ms takes 20 beside one page that is being drawn."""


def give_way() -> None:
    """Let this process come after those that keep the schedule, and its own threads come quickly after each other."""
    with suppress(OSError):
        os.nice(NICENESS)
    sys.setswitchinterval(SWITCH_SECONDS)


def settle() -> None:
    """Spare the collector of garbage what is loaded by now: to look through that took 50 ms in the middle of a page."""
    gc.collect()
    gc.freeze()


class RequestRefusedError(Exception):
    """A request goes against the form of requests; the parser ends at whatever its listener raises."""


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    _is_in_head = True
    """Whether the next bytes belong to a request's line and headers."""
    _taken = 0
    """Bytes of this head, or of this body, so far; those that came with its beginning are not counted."""
    _parts = 0
    """Heads and bodies that have ended."""
    _due = math.inf
    """By the loop's clock: until when the client owes us something; a part of it buys no more time."""
    _timer: asyncio.TimerHandle | None = None
    """Fires at `_due` or earlier, and then looks: it is not set anew for each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent does
        super().connection_made(transport)
        if not self.config.proxy_headers and self._is_one_too_many():
            transport.abort()
            return
        raw: Any = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
            # A body is sent behind its head: it must not wait for the acknowledgement of that, which takes 40 ms.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._owe(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        parts = self._parts
        try:
            self._parse(data)
        except HttpParserError:
            self._refuse()
            return
        if parts == self._parts:
            self._taken += len(data)
        if self._taken > (HEAD_BYTES_MAX if self._is_in_head else WRAPPED_BYTES_MAX):
            self._refuse()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # what follows a body is none: it would come behind the back of all checks
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RequestRefusedError
            return  # it comes once more, without that wish
        self._begin(is_head=False)
        if len(self.pipeline) >= AHEAD_MAX or not self._is_for_us():
            raise RequestRefusedError
        super().on_headers_complete()
        if not self.pipeline:
            self._owe(BODY_SECONDS)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._begin(is_head=True)
        if self.cycle.response_complete:
            self._owe(HEAD_SECONDS)
        else:
            self._due = math.inf

    def on_response_complete(self) -> None:
        is_next = bool(self.pipeline)
        super().on_response_complete()
        if is_next and not self.pipeline and not self._is_in_head:
            self._owe(BODY_SECONDS)
        elif self.cycle.response_complete and self._is_in_head:
            self._owe(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = math.inf
        super().connection_lost(exc)

    def _parse(self, data: bytes) -> None:
        """Read on. We speak one protocol: a wish to change to another is passed over, its body is a body like others.

        The parser would take that body for the other protocol, and give the request without it.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as wish:
                data = self._head_without_wish() + data[wish.args[0] :]
            else:
                return

    def _head_without_wish(self) -> bytes:
        version = self.parser.get_http_version().encode()
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)
        return b"\r\n".join((line, *(b"%s: %s" % each for each in self.headers if each[0] != b"upgrade"), b"", b""))

    def _is_for_us(self) -> bool:
        """Say whether a request has one host, an address of ours, and a body in a form that we read."""
        hosts = 0
        for name, value in self.headers:
            hosts += name == b"host"
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                return False
        return hosts <= 1 and self.url.startswith((b"/", b"*"))

    def _begin(self, *, is_head: bool) -> None:
        self._is_in_head, self._taken = is_head, 0
        self._parts += 1

    def _owe(self, seconds: float) -> None:
        """Begin to wait for what the client owes us."""
        self._due = self.loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.loop.time() >= self._due:
            self.transport.abort()
        elif self._due < math.inf:
            self._timer = self.loop.call_at(self._due, self._look)

    def _refuse(self) -> None:
        """Hang up on who breaks the form, or sends without end; into the middle of an answer nobody is told why."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not (cycle.response_started or self.pipeline):
            self.send_400_response(REFUSED)
        else:
            self.transport.abort()

    def _is_one_too_many(self) -> bool:
        address = self.client[0] if self.client else ""
        others = (each.client for each in self.connections if isinstance(each, HttpToolsProtocol))
        return sum(1 for client in others if client and client[0] == address) > PER_ADDRESS_MAX
