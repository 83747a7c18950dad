"""One holder at a time: an advisory lock on a file, which the kernel lets go when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from jobsup.clock import SystemClock, rfc3339
from jobsup.errors import ConflictError, ExitCode, JobsupError

CONTENT_BYTES_MAX = 4096
HANDED_OVER_VARIABLE = "_JOBSUP_LOCKS"
"""Names, to the next image of the same process, the descriptors of the locks it goes on holding."""


class LockFileError(JobsupError):
    """The lock file cannot be made: its folder is missing, or may not be written."""

    exit_code = ExitCode.CONFIG


class Lock:
    """A lock we hold, until `release` or the end of the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd
        """-1 once it is let go of."""

    @property
    def is_in_place(self) -> bool:
        """Whoever else wants the lock finds this very file."""
        return _is_same(self.fd, self.path)

    def release(self) -> None:
        """Let go; the file stays, empty, since removing it would race with the next holder."""
        if self.fd >= 0:
            os.ftruncate(self.fd, 0)
            os.close(self.fd)
            self.fd = -1

    def close_in_child(self) -> None:
        """Forget the lock in a forked child; the parent goes on holding it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def hand_over(held: Sequence[Lock]) -> None:
    """Let the next image of this process, which `acquire`s the same paths, go on holding these locks."""
    for lock in held:
        os.set_inheritable(lock.fd, True)
    os.environ[HANDED_OVER_VARIABLE] = json.dumps({str(lock.path): lock.fd for lock in held})


def drop_handed_over() -> None:
    """Let go of what the image before us held and we did not ask for."""
    for fd in _handed_over().values():
        with suppress(OSError):
            os.close(fd)
    os.environ.pop(HANDED_OVER_VARIABLE, None)


def acquire(path: str | Path) -> Lock:
    """Take the lock at once; ConflictError says who holds it, LockFileError that the file cannot be made."""
    path = Path(path)
    fd = _take_over(path)
    try:
        if fd is None:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LockFileError(f"lock file {path}: {error.strerror}; its folder must exist and be writable") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = f"{path} is held by {_holder(fd)}; stop that one first (`jobsup stop`), or use another runtime folder"
        os.close(fd)
        raise ConflictError(text) from None
    os.ftruncate(fd, 0)
    content = {"pid": os.getpid(), "since": rfc3339(SystemClock().now().replace(microsecond=0))}
    os.pwrite(fd, f"{json.dumps(content)}\n".encode(), 0)
    return Lock(path, fd)


def _take_over(path: Path) -> int | None:
    """Return the descriptor that the image before us left for this path, if it is still that file's."""
    handed_over = _handed_over()
    fd = handed_over.get(str(path))
    if fd is None or not _is_same(fd, path):
        return None
    del handed_over[str(path)]
    os.environ[HANDED_OVER_VARIABLE] = json.dumps(handed_over)
    os.set_inheritable(fd, False)
    return fd


def _handed_over() -> dict[str, int]:
    try:
        return {str(path): int(fd) for path, fd in json.loads(os.environ.get(HANDED_OVER_VARIABLE, "{}")).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _is_same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False


def _holder(fd: int) -> str:
    """Say who wrote the file last. For display only: nothing is ever killed by a pid out of a file."""
    try:
        content = json.loads(os.pread(fd, CONTENT_BYTES_MAX, 0))
        return f"pid {int(content['pid'])} since {content['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
