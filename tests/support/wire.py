"""What can stand between a client and PostgreSQL: a line that fails when it is told to, and a pooling proxy."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ACCEPT_SECONDS = 0.2
READ_BYTES = 1 << 16


class Line:
    """A local port that leads to a server. `fault` says what befalls the connections from now on.

    "" passes everything on; "silence" swallows what either side says and closes nothing; "lose the commit" cuts the
    client off instead of passing a COMMIT on, "lose the answer" when the server has done it.
    """

    def __init__(self, port: int) -> None:
        self.fault = ""
        self.cuts = 0
        """How often a fault cut a connection."""
        self._server_port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(ACCEPT_SECONDS)
        self._is_closing = False
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._door.getsockname()[1])

    def close(self) -> None:
        self._is_closing = True
        for each in self._sockets:
            _close(each)
        for thread in self._threads:
            thread.join()
        self._door.close()

    def _accept(self) -> None:
        while not self._is_closing:
            with suppress(TimeoutError):
                client, _ = self._door.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                answer_is_lost = threading.Event()
                for source, sink in ((client, server), (server, client)):
                    arguments = (source, sink, source is client, answer_is_lost)
                    thread = threading.Thread(target=self._pass_on, args=arguments)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, is_client: bool, answer_is_lost: threading.Event
    ) -> None:
        is_silent = False  # a connection that went silent stays so: only new ones may find a line
        with suppress(OSError):
            while data := source.recv(READ_BYTES):
                is_silent = is_silent or self.fault == "silence"
                if is_silent:
                    continue
                if not is_client and answer_is_lost.is_set():
                    break
                if is_client and b"COMMIT" in data and self.fault.startswith("lose"):
                    is_done, self.fault = self.fault == "lose the answer", ""
                    self.cuts += 1
                    if not is_done:
                        break
                    answer_is_lost.set()
                sink.sendall(data)
        if not is_silent:
            _close(source)
            _close(sink)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """Lay a line to a server's port."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()


class Pooler:
    """A proxy that hands each transaction of a client to another connection of its own, as transaction pooling does."""

    CONNECTIONS = 2
    """So many it has for each client, and takes them in turn: no two transactions in a row meet the same."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(ACCEPT_SECONDS)
        self._is_closing = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._door.getsockname()[1])

    def close(self) -> None:
        self._is_closing = True
        for thread in self._threads:
            thread.join()
        self._door.close()

    def _accept(self) -> None:
        while not self._is_closing:
            with suppress(TimeoutError):
                client, _ = self._door.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        servers: list[socket.socket] = []
        client.settimeout(30)
        with suppress(OSError, EOFError, struct.error):
            startup = _startup(client)
            servers = [self._log_in(startup) for _ in range(self.CONNECTIONS)]
            # AuthenticationOk, a key that is none of the servers' own, ReadyForQuery.
            client.sendall(b"R" + struct.pack("!II", 8, 0) + _PARAMETERS)
            client.sendall(b"K" + struct.pack("!III", 12, 1, 1) + b"Z" + struct.pack("!I", 5) + b"I")
            for turn in range(1 << 30):
                if not self._transaction(client, servers[turn % self.CONNECTIONS]):
                    break
        for each in (client, *servers):
            _close(each)

    def _log_in(self, startup: bytes) -> socket.socket:
        server = socket.create_connection(("127.0.0.1", self._server_port))
        server.sendall(startup)
        while _message(server)[0:1] != b"Z":
            pass
        return server

    def _transaction(self, client: socket.socket, server: socket.socket) -> bool:
        """Carry messages until the server says that it is idle; False: the client has left."""
        while True:
            sent = _message(client)
            if sent[0:1] == b"X":
                return False
            server.sendall(sent)
            if sent[0:1] not in (b"Q", b"S"):
                continue  # the server says nothing before a Sync
            while (heard := _message(server))[0:1] != b"Z":
                client.sendall(heard)
            client.sendall(heard)
            if heard[-1:] == b"I":
                return True


_PARAMETERS = b"".join(
    b"S" + struct.pack("!I", 4 + len(name) + len(value) + 2) + name + b"\0" + value + b"\0"
    for name, value in ((b"server_version", b"16.0"), (b"client_encoding", b"UTF8"), (b"TimeZone", b"UTC"))
)


def _startup(client: socket.socket) -> bytes:
    """Read a startup message, refusing encryption first where it is asked for."""
    while True:
        head = _exactly(client, 8)
        length, code = struct.unpack("!II", head)
        body = _exactly(client, length - 8)
        if code in (80877103, 80877104):
            client.sendall(b"N")
            continue
        return head + body


def _message(source: socket.socket) -> bytes:
    head = _exactly(source, 5)
    return head + _exactly(source, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = source.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


@contextmanager
def pooler_to(port: int) -> Iterator[Pooler]:
    """Put a pooling proxy before a server's port."""
    pooler = Pooler(port)
    try:
        yield pooler
    finally:
        pooler.close()
