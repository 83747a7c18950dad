"""Wake-ups on SQLite: each listener binds a Unix datagram socket in a folder beside the file.

Waking is one datagram to each socket of a kind. A sender never waits: a full socket already holds a wake-up, a dead
one is removed. Work that waits is offered to no more listeners than can have it: if all came, those that get nothing
would keep the one that does from starting. Who is full, or takes not just anything, shows it in the socket's name.
"""

from __future__ import annotations

import errno
import os
import random
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from jobsup.errors import DatabaseError
from jobsup.store.news import Offer

# The kernel's `sun_path` without its closing NUL.
SOCKET_PATH_BYTES_MAX = 107
# Wake-ups read at once; the kernel queues fewer for one socket, so this only bounds the loop.
DRAIN_MAX = 4096
# An offer goes to so many more than there is work for: the one that was chosen may hang, or be about to die.
SPARE_OFFERS = 1
FULL, CHOOSY = "full", "choosy"
"""Endings of names: it has no slot free; it serves some queues only, so that nobody else can judge for it."""

_NEWS, _OFFER = b"\0", b"\1"


def wake(database: Path, kind: str) -> None:
    """Send a datagram to every listener of a kind; those that died are removed."""
    _tell(database, sorted(_names(database, kind)), _NEWS)


def offer(database: Path, kind: str, count: int, *, spare: int = SPARE_OFFERS) -> None:
    """Send a datagram to as many listeners of a kind as can have `count` runs, and to those that choose."""
    names = _names(database, kind)
    choosy = [name for name in names if name.endswith(f".{CHOOSY}")]
    ready = [name for name in names if name.count(".") == 2]  # kind, process, random part
    random.shuffle(ready)
    _tell(database, [*ready[: count + spare], *choosy], _OFFER)


def offer_each(database: Path, offered: Mapping[Offer, int]) -> None:
    """Offer work to workers; what needs tags, to all of them: no name of a socket tells who has which."""
    if any(offer.requires for offer in offered):
        wake(database, "worker")
    elif offered:
        offer(database, "worker", sum(offered.values()))


def _names(database: Path, kind: str) -> list[str]:
    try:
        return [name for name in os.listdir(f"{database}-wake") if name.startswith(f"{kind}.")]  # noqa: PTH208  (each run)
    except OSError:
        return []  # nobody has ever listened here


def _tell(database: Path, names: list[str], what: bytes) -> None:
    if not names:
        return
    folder = _folder(database)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender, _addresses(folder) as at:
        for name in names:
            if not _send(sender, at(name), folder / name, what):
                other = name.removesuffix(f".{FULL}") if name.endswith(f".{FULL}") else f"{name}.{FULL}"
                _send(sender, at(other), folder / other, what)  # it has just become full, or free


class Ear:
    """A bound socket that becomes readable when somebody wakes its kind."""

    def __init__(self, database: Path, kind: str, *, is_choosy: bool = False) -> None:
        self.is_offered = False
        """The last wake-ups that were taken were offers of work, and nothing else."""
        self._is_choosy = is_choosy
        self._is_full = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._owner = os.getpid()
        folder = _folder(database)
        # The random part is never used twice, so removing a dead name can never hit a living listener's.
        name = f"{kind}.{self._owner}.{secrets.token_hex(4)}" + (f".{CHOOSY}" if is_choosy else "")
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
        heard = set()
        with suppress(BlockingIOError):
            for _ in range(DRAIN_MAX):
                heard.add(self._socket.recv(1))
        self.is_offered = heard == {_OFFER}
        return bool(heard)

    def show_full(self, is_full: bool) -> None:
        """Let those who offer work see whether there is a slot for it."""
        if self._path is None or self._is_choosy or is_full == self._is_full:
            return
        path = self._path.with_name(f"{self._path.name}.{FULL}") if is_full else self._path.with_suffix("")
        with suppress(OSError):  # the folder was removed: nobody is offered anything there
            self._path.rename(path)
        self._path, self._is_full = path, is_full

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


def _send(sender: socket.socket, address: str, path: Path, what: bytes) -> bool:
    """Send one datagram; False when there is no socket of that name any more."""
    try:
        sender.sendto(what, address)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        # EAGAIN: its queue is full, so it will wake anyway. Refused: its process died without closing it.
        if error.errno == errno.ECONNREFUSED:
            with suppress(OSError):
                path.unlink()
    return True
