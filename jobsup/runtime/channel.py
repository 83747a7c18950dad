"""JSON lines over a stream socket, non-blocking and bounded in both directions."""

from __future__ import annotations

import json
import socket
from typing import Any

from jobsup.errors import JobsupError

LINE_BYTES_MAX = 64 << 10
"""The longest message that may come in."""
BACKLOG_BYTES_MAX = 1 << 20
"""How much may wait for a peer that does not read; the longest message that may go out."""
READ_BYTES_MAX = 64 << 10
"""How much is read at a time; what is left makes the socket readable again."""


class ChannelError(JobsupError):
    """The other side broke the protocol, or does not read what it is sent."""


class Channel:
    """One end of a conversation: `send` queues and writes what it can, `receive` returns the whole messages."""

    def __init__(
        self, sock: socket.socket, *, line_bytes_max: int = LINE_BYTES_MAX, backlog_bytes_max: int = BACKLOG_BYTES_MAX
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._line_bytes_max = line_bytes_max
        self._backlog_bytes_max = backlog_bytes_max
        self._incoming = b""
        self._outgoing = bytearray()
        self.closed = False
        """The other side is gone; nothing more will come."""

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def backlog(self) -> int:
        """Bytes that wait until the other side reads."""
        return len(self._outgoing)

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message and write what the socket takes; ChannelError when it is too long, or too much waits."""
        line = json.dumps(message, separators=(",", ":"), default=str).encode() + b"\n"
        if len(self._outgoing) + len(line) > self._backlog_bytes_max:
            waiting = f"{len(self._outgoing)} bytes wait already, {self._backlog_bytes_max} are the limit"
            raise ChannelError(f"a message of {len(line)} bytes cannot be sent: {waiting}")
        self._outgoing += line
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as the socket takes it."""
        while self._outgoing and not self.closed:
            try:
                count = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            del self._outgoing[:count]

    def receive(self) -> list[dict[str, Any]]:
        """Read once and return the whole messages; ChannelError on a line that is too long or no JSON object."""
        try:
            data = self._socket.recv(READ_BYTES_MAX)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return []
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        if len(self._incoming) > self._line_bytes_max:
            raise ChannelError(f"a line of more than {self._line_bytes_max} bytes came in")
        return [self._parse(line) for line in lines if line.strip()]

    def close(self) -> None:
        self._hang_up()
        self._socket.close()

    def _hang_up(self) -> None:
        self.closed = True
        self._outgoing.clear()

    def _parse(self, line: bytes) -> dict[str, Any]:
        if len(line) > self._line_bytes_max:
            raise ChannelError(f"a line of more than {self._line_bytes_max} bytes came in")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise ChannelError("a line that is no JSON came in") from None
        if not isinstance(message, dict):
            raise ChannelError("a line that is no JSON object came in")
        return message
