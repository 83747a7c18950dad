"""Many clients of a portal in one cheap process: requests at a steady rate on connections that stay, and open streams.

It is a process of its own so that what it measures does not wait for it, and speaks just enough HTTP to cost little: a
thousand requests a second take a tenth of a core. What it is to do comes as JSON on standard input; what came of it
goes to standard output.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.figures import percentile

NICENESS = 10
"""Whoever asks gives way: what the asking itself costs is not the portal's doing."""
RECEIVE_BYTES = 1 << 16
CONNECT_SECONDS = 30.0
AGAIN_SECONDS = 1.0
"""Until a stream that was sent away is asked for once more."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_TAG = re.compile(rb"\r\netag: ([^\r]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Order:
    """What is asked, and for how long."""

    port: int
    seconds: float
    rate: float
    """Requests a second of all connections together."""
    connections: int
    addresses: int
    """The connections come from so many addresses in turn."""
    requests: list[tuple[str, dict[str, str]]]
    """(path, headers), asked in turn; one that was answered with an ETag is asked with it from then on."""
    streams: int = 0
    stream: tuple[str, dict[str, str]] = ("", {})


@dataclass
class Answers:
    """What came back."""

    seconds: float = 0.0
    by_status: dict[int, int] = field(default_factory=dict)
    unasked: int = 0
    """Requests that were due and not sent by the end: all clients waited for an answer still."""
    took_p50: float = 0.0
    took_p99: float = 0.0
    """From the request to the whole answer, in milliseconds."""
    cut: int = 0
    """Connections that ended before an answer was whole."""
    streamed: int = 0
    """Streams that were open at the end, each begun with a 200."""
    again: int = 0
    """Streams that were sent away and asked for once more, as a browser does."""
    cpu_seconds: float = 0.0
    """What the asking cost."""

    def rate(self, *statuses: int) -> float:
        """Return how many answers there were in a second, of these statuses or of any."""
        return (
            sum(count for status, count in self.by_status.items() if not statuses or status in statuses) / self.seconds
        )


def begin(order: Order) -> subprocess.Popen[bytes]:
    """Start to ask."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.askers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(order)).encode())
    process.stdin.close()
    return process


def end(process: subprocess.Popen[bytes]) -> Answers:
    """Wait until it has asked all, and return what came of it."""
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(process.stdout.read())
    process.wait()
    return Answers(**{**told, "by_status": {int(status): count for status, count in told["by_status"].items()}})


def main() -> int:
    os.nice(NICENESS)
    order = Order(**json.load(sys.stdin))
    json.dump(asdict(_Crowd(order).ask()), sys.stdout)
    return 0


class _Connection:
    """One client: it asks, takes the answer whole, and waits until it asks again."""

    def __init__(self, port: int, address: str) -> None:
        self.peer, self.address = ("127.0.0.1", port), address
        self.buffer = bytearray()
        self.need: int | None = None
        """Bytes of the whole answer, once its head is read."""
        self.is_asking = False
        self.asked_at = 0.0
        self.request = 0
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(self.peer, CONNECT_SECONDS, source_address=(self.address, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def take(self, data: bytes) -> bytes | None:
        """Add what came; returns the head of the answer when that is whole."""
        self.buffer += data
        if self.need is None and (at := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.buffer, 0, at)
            self.need = at + 4 + (int(length[1]) if length and self.buffer[9:12] != b"304" else 0)
        if self.need is None or len(self.buffer) < self.need:
            return None
        head = bytes(self.buffer[: self.buffer.find(b"\r\n\r\n")])
        self.buffer.clear()
        self.need, self.is_asking = None, False
        return head


class _Stream:
    """One client that follows a log."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
        self.socket.sendall(request)
        self.socket.setblocking(False)
        self.status = 0
        """What its answer began with."""

    def take(self, data: bytes) -> bool:
        """Add what came; False: it has ended, or was sent away."""
        if data and not self.status:
            self.status = int(data[9:12])
        return bool(data) and self.status == 200


class _Crowd:
    """All of them."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.answers = Answers()
        self.selector = selectors.DefaultSelector()
        self.texts = [_text(path, headers) for path, headers in order.requests]
        self.tags: dict[int, bytes] = {}
        self.took: list[float] = []
        self.idle: deque[_Connection] = deque()
        """Clients that wait for no answer, who has waited longest first."""
        self.streams: set[_Stream] = set()
        self.due_streams = [0.0] * order.streams
        """When streams that are to be opened are; a heap."""

    def ask(self) -> Answers:
        order = self.order
        for number in range(order.connections):
            client = _Connection(order.port, f"127.0.1.{number % order.addresses + 1}")
            self.selector.register(client.socket, selectors.EVENT_READ, client)
            self.idle.append(client)
        began = time.monotonic()
        stop, asked = began + order.seconds, 0
        while (now := time.monotonic()) < stop:
            due = int((now - began) * order.rate)
            while asked < due and self.idle:  # what was due while all waited is asked as soon as one does not
                self._send(self.idle.popleft(), asked % len(self.texts))
                asked += 1
            while self.due_streams and self.due_streams[0] <= now:
                heapq.heappop(self.due_streams)
                self._open_stream()
            following = began + (due + 1) / order.rate
            self._listen(max(0.0, min(following, stop) - time.monotonic()))
        self.answers.seconds = time.monotonic() - began
        self.answers.unasked = int(self.answers.seconds * order.rate) - asked
        self.answers.streamed = sum(stream.status == 200 for stream in self.streams)
        self.answers.cpu_seconds = time.process_time()
        self.answers.took_p50, self.answers.took_p99 = percentile(self.took, 0.5), percentile(self.took, 0.99)
        return self.answers

    def _send(self, client: _Connection, request: int) -> None:
        client.is_asking, client.request, client.asked_at = True, request, time.monotonic()
        tag = self.tags.get(request)
        known = b"If-None-Match: " + tag + b"\r\n" if tag else b""
        try:
            client.socket.sendall(self.texts[request] + known + b"\r\n")
        except OSError:
            self._again(client)

    def _listen(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            client = key.data
            try:
                data = key.fileobj.recv(RECEIVE_BYTES)  # type: ignore[union-attr]  # a socket was registered
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if isinstance(client, _Stream):
                if not client.take(data):
                    self._close_stream(client)
            elif not data:
                self._again(client)
            elif head := client.take(data):
                status = int(head[9:12])
                self.took.append((time.monotonic() - client.asked_at) * 1000)
                self.answers.by_status[status] = self.answers.by_status.get(status, 0) + 1
                self.idle.append(client)
                if tag := _TAG.search(head):
                    self.tags[client.request] = tag[1]

    def _again(self, client: _Connection) -> None:
        is_idle = not client.is_asking
        self.answers.cut += client.is_asking
        self.selector.unregister(client.socket)
        client.socket.close()
        client.buffer.clear()
        client.need, client.is_asking = None, False
        client.open()
        self.selector.register(client.socket, selectors.EVENT_READ, client)
        if not is_idle:
            self.idle.append(client)

    def _open_stream(self) -> None:
        stream = _Stream(self.order.port, _text(*self.order.stream) + b"\r\n")
        self.selector.register(stream.socket, selectors.EVENT_READ, stream)
        self.streams.add(stream)

    def _close_stream(self, stream: _Stream) -> None:
        self.answers.again += 1
        self.selector.unregister(stream.socket)
        stream.socket.close()
        self.streams.discard(stream)
        heapq.heappush(self.due_streams, time.monotonic() + AGAIN_SECONDS)


def _text(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode()


if __name__ == "__main__":
    sys.exit(main())
