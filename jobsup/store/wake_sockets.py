"""Wake-ups on SQLite: each listener binds a Unix datagram socket in a folder beside the file.

Waking is one datagram to each socket of a kind. A sender never waits: a full socket already holds a wake-up, a dead
one is removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobsup.errors import DatabaseError

# The kernel's `sun_path` without its closing NUL.
SOCKET_PATH_BYTES_MAX = 107
# Wake-ups read at once; the kernel queues fewer for one socket, so this only bounds the loop.
DRAIN_MAX = 4096


def wake(database: Path, kind: str) -> None:
    """Send a datagram to every listener of a kind; those that died are removed."""
    folder = _folder(database)
    paths = list(folder.glob(f"{kind}.*"))
    if not paths:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender, _addresses(folder) as at:
        for path in paths:
            _send(sender, at(path.name), path)


def listeners(database: Path, kind: str) -> frozenset[str]:
    """Name those of a kind that listen, or died listening."""
    try:
        return frozenset(entry.name for entry in _folder(database).iterdir() if entry.name.startswith(f"{kind}."))
    except OSError:
        return frozenset()  # nobody has ever listened here


class Ear:
    """A bound socket that becomes readable when somebody wakes its kind."""

    def __init__(self, database: Path, kind: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._owner = os.getpid()
        folder = _folder(database)
        # The random part is never used twice, so removing a dead name can never hit a living listener's.
        name = f"{kind}.{self._owner}.{secrets.token_hex(4)}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            with _addresses(folder) as at:
                self._socket.bind(at(name))
        except OSError as error:
            self._socket.close()
            raise DatabaseError(f"{folder}: cannot listen for wake-ups: {error.strerror}: make it writable") from error
        self._path: Path | None = folder / name

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take all wake-ups that are waiting; say whether there were any."""
        woken = False
        with suppress(BlockingIOError):
            for _ in range(DRAIN_MAX):
                self._socket.recv(1)
                woken = True
        return woken

    def close(self) -> None:
        """Stop listening; in a forked copy that leaves the owner's socket in place."""
        self._socket.close()
        if self._path is not None and os.getpid() == self._owner:
            self._path.unlink(missing_ok=True)
            self._path = None


def _folder(database: Path) -> Path:
    return Path(f"{database}-wake")


class _Addresses:
    """Names in a folder as socket addresses; a path too long for the kernel goes through the folder's descriptor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd: int | None = None

    def __call__(self, name: str) -> str:
        path = str(self._folder / name)
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
            return path
        if self._fd is None:
            self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{name}"

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


@contextmanager
def _addresses(folder: Path) -> Iterator[_Addresses]:
    addresses = _Addresses(folder)
    try:
        yield addresses
    finally:
        addresses.close()


def _send(sender: socket.socket, address: str, path: Path) -> None:
    try:
        sender.sendto(b"\0", address)
    except OSError as error:
        # EAGAIN: its queue is full, so it will wake anyway. Refused: its process died without closing it.
        if error.errno == errno.ECONNREFUSED:
            with suppress(OSError):
                path.unlink()
