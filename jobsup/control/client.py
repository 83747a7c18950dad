"""The asking side of the control socket, blocking, for commands."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobsup.control.protocol import MESSAGE_BYTES_MAX, PATH_BYTES_MAX, REPLY_BYTES_MAX
from jobsup.errors import DeniedError, UnreachableError, UsageError

READ_BYTES_MAX = 64 << 10


def call(
    path: str | Path,
    request: dict[str, Any],
    on_line: Callable[[str], None] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Ask a running supervisor and return its final answer, `{"done": true, "exit_code": n, ...}`.

    Lines that come before it go to `on_line`. `timeout` bounds the whole conversation in seconds; None waits as long
    as the other side works on it. UnreachableError when nobody is there or no answer comes, DeniedError if we may not.
    """
    data = json.dumps(request).encode() + b"\n"
    if len(data) > MESSAGE_BYTES_MAX:
        raise UsageError(f"a request of {len(data)} bytes is over the limit of {MESSAGE_BYTES_MAX}")
    deadline = None if timeout is None else time.monotonic() + timeout
    with _connect(Path(path), timeout) as sock:
        with suppress(OSError):  # it may have hung up with an answer: read that
            sock.sendall(data)
        for reply in _replies(sock, Path(path), deadline):
            if reply.get("done"):
                return reply
            if on_line is not None and "line" in reply:
                on_line(str(reply["line"]))
    raise UnreachableError(f"{path}: the supervisor ended the conversation without an answer; see its log")


def _connect(path: Path, timeout: float | None) -> socket.socket:
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise UsageError(f"{path}: the path of a socket has at most {PATH_BYTES_MAX} bytes")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        sock.close()
        raise UnreachableError(f"nothing is running at {path}: begin with `jobsup start`") from None
    except PermissionError:
        sock.close()
        raise DeniedError(f"{path}: permission denied; ask as the user who started it, or as root") from None
    except OSError as error:
        sock.close()
        raise UnreachableError(f"{path}: {error.strerror or 'no answer in time'}") from error
    return sock


def _replies(sock: socket.socket, path: Path, deadline: float | None) -> Iterator[dict[str, Any]]:
    waiting = b""
    while True:
        if deadline is not None:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = sock.recv(READ_BYTES_MAX)
        except TimeoutError:
            raise UnreachableError(f"{path}: the supervisor did not answer in time; see its log") from None
        except OSError:
            return
        if not data:
            return
        *lines, waiting = (waiting + data).split(b"\n")
        if len(waiting) > REPLY_BYTES_MAX:
            raise UnreachableError(f"{path}: an answer of more than {REPLY_BYTES_MAX} bytes")
        for line in lines:
            yield _parse(line, path)


def _parse(line: bytes, path: Path) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise UnreachableError(f"{path}: what answers there is no jobsup supervisor")
    return reply
