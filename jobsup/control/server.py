"""The supervisor's side of the control socket: non-blocking, driven by its loop, unable to hold it up."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobsup.control.protocol import (
    CLIENTS_MAX,
    IDLE_SECONDS_MAX,
    MESSAGE_BYTES_MAX,
    PATH_BYTES_MAX,
    REPLY_BYTES_MAX,
)
from jobsup.errors import ExitCode, JobsupError, UsageError
from jobsup.events import emit
from jobsup.runtime.channel import Channel, ChannelError
from jobsup.runtime.service import Loop

ACCEPT_PAUSE_SECONDS = 1.0
"""How long nobody is let in when no descriptor was left for one who came."""
NEVER = float("inf")


class SocketError(JobsupError):
    """The control socket cannot be made."""

    exit_code = ExitCode.CONFIG


class Request:
    """One question of one client; answer with any number of `line` and one `done`, now or later."""

    def __init__(self, body: dict[str, Any], client: _Client) -> None:
        self.body = body
        self._client = client

    def line(self, text: str) -> None:
        """Show the client a line; it may be gone, that is its business."""
        self._client.send({"line": text})

    def done(self, exit_code: int = 0, **facts: Any) -> None:
        """Answer for good; a second answer is dropped."""
        if not self._client.is_answered:
            self._client.is_answered = True
            self._client.send({"done": True, "exit_code": int(exit_code), **facts})
            self._client.settle()

    def fail(self, error: JobsupError) -> None:
        """Answer with an error: its lines, its exit code."""
        for text in str(error).splitlines():
            self.line(text)
        self.done(error.exit_code, error=str(error))


Verb = Callable[[Request], None]


class Server:
    """Listens at `path`; the caller holds the lock that makes it the only one who may."""

    def __init__(self, loop: Loop, path: Path, verbs: Mapping[str, Verb]) -> None:
        self.path = path
        self._loop = loop
        self._verbs = dict(verbs)
        self._clients: set[_Client] = set()
        self._accept_at = NEVER
        """When to try again to take clients in; NEVER while they come by themselves."""
        self._listener = _listen(path)
        loop.watch(self._listener.fileno(), self._accept)

    def listen_again(self) -> None:
        """Make the socket anew, after its folder was removed."""
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        self._listener = _listen(self.path)
        self._loop.watch(self._listener.fileno(), self._accept)

    def poll(self) -> float:
        """Send off the clients that took too long; returns the seconds until the next one will have."""
        now = self._loop.monotonic()
        for client in [client for client in self._clients if client.expires_at <= now]:
            client.expire()
        if now >= self._accept_at:
            self._accept_at = NEVER
            self._loop.watch(self._listener.fileno(), self._accept)
        return min([client.expires_at - now for client in self._clients] + [self._accept_at - now])

    def close(self) -> None:
        """Stop listening, give answers that wait a last chance, and remove the socket."""
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        with suppress(OSError):
            self.path.unlink()
        for client in tuple(self._clients):
            client.close()

    def close_in_child(self) -> None:
        """Let go of the descriptors in a forked child, and touch nothing the parent uses."""
        self._listener.close()
        for client in self._clients:
            client.channel.close()

    def dispatch(self, client: _Client, body: dict[str, Any]) -> None:
        """Hand a request to its verb."""
        request = Request(body, client)
        verb = self._verbs.get(str(body.get("do", "")))
        if verb is None:
            known = ", ".join(sorted(self._verbs))
            request.fail(UsageError(f'unknown request "{str(body.get("do"))[:40]}"; known are: {known}'))
            return
        try:
            verb(request)
        except JobsupError as error:
            request.fail(error)

    def forget(self, client: _Client) -> None:
        self._clients.discard(client)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # gone again
        except OSError as error:
            # Whoever waits keeps the listener readable: without a pause we would turn and turn for nothing.
            emit("control.refused", f"Nobody can be let in now: {error.strerror}", level=logging.WARNING)
            self._loop.unwatch(self._listener.fileno())
            self._accept_at = self._loop.monotonic() + ACCEPT_PAUSE_SECONDS
            return
        client = _Client(self, self._loop, sock)
        self._clients.add(client)
        uid = _peer_uid(sock)
        if uid not in (0, os.geteuid()):
            client.refuse(ExitCode.DENIED, f"user {uid} may not control this instance")
        elif len(self._clients) > CLIENTS_MAX:
            client.refuse(ExitCode.UNREACHABLE, f"more than {CLIENTS_MAX} clients at once; try again")


class _Client:
    """One connection: waits for a request, then for its answer to be written."""

    def __init__(self, server: Server, loop: Loop, sock: socket.socket) -> None:
        self.channel = Channel(sock, line_bytes_max=MESSAGE_BYTES_MAX, backlog_bytes_max=REPLY_BYTES_MAX)
        self.is_answered = False
        self.expires_at = loop.monotonic() + IDLE_SECONDS_MAX
        self._server = server
        self._loop = loop
        self._has_asked = False
        loop.watch(self.channel.fileno(), self._readable)

    def send(self, message: dict[str, Any]) -> None:
        try:
            self.channel.send(message)
        except ChannelError:
            self.close()
            return
        if self.channel.backlog and not self.channel.closed:
            self._loop.watch(self.channel.fileno(), self._writable, writable=True)

    def settle(self) -> None:
        """Leave once the whole answer is written; one who does not read it in time loses it."""
        self.expires_at = self._loop.monotonic() + IDLE_SECONDS_MAX
        if not self.channel.backlog:
            self.close()

    def refuse(self, exit_code: ExitCode, text: str) -> None:
        Request({}, self).done(exit_code, error=text)

    def expire(self) -> None:
        if not self.is_answered:
            self.refuse(ExitCode.USAGE, f"no request within {IDLE_SECONDS_MAX:g} s")
        self.close()

    def close(self) -> None:
        if self.channel.fileno() >= 0:
            self._loop.unwatch(self.channel.fileno())
            self.channel.flush()
            self.channel.close()
        self._server.forget(self)

    def _readable(self) -> None:
        try:
            messages = self.channel.receive()
        except ChannelError as error:
            self.refuse(ExitCode.USAGE, str(error))
            return
        if self.channel.closed:
            self.close()
        elif messages and not self._has_asked:
            self._has_asked = True
            self.expires_at = float("inf")  # from here on we are the ones who take the time
            self._server.dispatch(self, messages[0])

    def _writable(self) -> None:
        self.channel.flush()
        if self.channel.closed:
            self.close()
        elif not self.channel.backlog:
            self._loop.watch(self.channel.fileno(), self._readable)
            if self.is_answered:
                self.close()


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise SocketError(
            f"control socket {path}: longer than {PATH_BYTES_MAX} bytes; set a shorter [supervisor] runtime_dir"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    umask = os.umask(0o177)  # the mode is right from the first moment: no chmod that comes too late
    try:
        path.unlink(missing_ok=True)  # a dead predecessor's: we hold the lock, so nobody listens there
        listener.bind(str(path))
        listener.listen(CLIENTS_MAX)
    except OSError as error:
        listener.close()
        raise SocketError(f"control socket {path}: {error.strerror}") from error
    finally:
        os.umask(umask)
    return listener


def _peer_uid(sock: socket.socket) -> int:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)
