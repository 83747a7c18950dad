"""One holder at a time: an advisory lock on a file, which the kernel lets go when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from jobsup.clock import SystemClock, rfc3339
from jobsup.errors import ConflictError, ExitCode, JobsupError

CONTENT_BYTES_MAX = 4096


class LockFileError(JobsupError):
    """The lock file cannot be made: its folder is missing, or may not be written."""

    exit_code = ExitCode.CONFIG


class Lock:
    """A lock we hold, until `release` or the end of the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def release(self) -> None:
        """Let go; the file stays, empty, since removing it would race with the next holder."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def close_in_child(self) -> None:
        """Forget the lock in a forked child; the parent goes on holding it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def acquire(path: str | Path) -> Lock:
    """Take the lock at once; ConflictError says who holds it, LockFileError that the file cannot be made."""
    path = Path(path)
    try:
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


def _holder(fd: int) -> str:
    """Say who wrote the file last. For display only: nothing is ever killed by a pid out of a file."""
    try:
        content = json.loads(os.pread(fd, CONTENT_BYTES_MAX, 0))
        return f"pid {int(content['pid'])} since {content['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
