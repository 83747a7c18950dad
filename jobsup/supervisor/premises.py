"""What makes an instance the only one: its runtime folder, its locks, and the sweep of all that carries its tag."""

from __future__ import annotations

import os
from collections.abc import Sequence
from logging import CRITICAL, WARNING
from pathlib import Path

from jobsup.config.places import socket_path
from jobsup.control.server import SocketError
from jobsup.events import emit
from jobsup.runtime import locks, procs, trees
from jobsup.runtime.cgroups import Groups
from jobsup.supervisor.yard import Yard

SWEEP_SECONDS = 5.0


class Premises:
    """Where one instance lives; `take` before anything is started, `leave` when nothing runs any more."""

    def __init__(
        self, folder: Path, lock_paths: Sequence[str | Path], instance: str, groups: Groups | None = None
    ) -> None:
        self.socket_path = socket_path(folder)
        self._folder = folder
        self._lock_paths = lock_paths
        self._instance = instance
        self._groups = groups
        self._locks: list[locks.Lock] = []

    def take(self) -> None:
        """Make the folder and take every lock; SocketError, LockFileError or ConflictError when that cannot be."""
        _make_private(self._folder)
        for path in self._lock_paths:
            self._locks.append(locks.acquire(path))
        locks.drop_handed_over()

    def sweep(self, whose: str, yard: Yard) -> None:
        """End every process that carries our tag; the tag says nothing before the locks are ours."""
        if not self._locks:
            return
        if self._groups is not None and (count := self._groups.end(wait_seconds=SWEEP_SECONDS)):
            emit("supervisor.swept", f"{whose}, ended: {count} control groups", level=WARNING)
        tagged = sorted({*procs.tagged(self._instance)} - {os.getpid(), *procs.ancestors(os.getpid())})
        if not tagged:
            return
        emit("supervisor.swept", f"{whose}, ended: {tagged}", level=WARNING, pids=tagged)
        guardian = [] if yard.guardian is None else [yard.guardian.pid]
        left = trees.kill_tree(tagged, tag=self._instance, deadline_seconds=SWEEP_SECONDS, keep=guardian)
        yard.clear_strangers()
        if left:
            emit("supervisor.unswept", f"These processes do not die: {left}", level=CRITICAL, pids=left)

    def mend(self) -> bool:
        """Make again what was removed of the runtime folder; True when that had to be done."""
        if self.socket_path.exists():
            return False
        emit("premises.mended", f"The runtime folder {self._folder} is made again: it was removed", level=WARNING)
        _make_private(self._folder)
        for number, lock in enumerate(self._locks):
            if not lock.is_in_place:
                self._locks[number] = locks.acquire(lock.path)
                lock.release()
        return True

    def close_in_child(self) -> None:
        """Forget the locks in a forked child; we go on holding them."""
        for lock in self._locks:
            lock.close_in_child()

    def leave(self) -> None:
        """Let others in."""
        if self._groups is not None and self._locks:
            self._groups.remove()
        for lock in self._locks:
            lock.release()
        self._locks.clear()

    def hand_over(self) -> None:
        """Leave the locks to our own next image: between the two nobody else can take them."""
        locks.hand_over(self._locks)


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise SocketError(f"runtime folder {path}: {error.strerror}; set [supervisor] runtime_dir") from error
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise SocketError(f"runtime folder {path}: others could write to it; give it to this user, with mode 0700")
