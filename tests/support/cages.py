"""A control group that holds all processes of one host, to freeze, thaw or kill them at once. Needs root.

Where the machine has no cgroup of version 2 that can be written to, the same is done signal by signal.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import until

PREFIX = "jobsup-t"
SETTLED_SECONDS = 10.0


def root() -> Path | None:
    """Find where cgroups of version 2 are mounted, if new ones can be made there."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK):
            return Path(folder)
    return None


class Cage:
    """The processes of one host. `members` lists them where there is no cgroup."""

    def __init__(self, name: str, members: Callable[[], list[int]]) -> None:
        self._members = members
        self.folder = _make(f"{PREFIX}{os.getpid()}-{name}")

    @property
    def launcher(self) -> tuple[str, ...]:
        """What to put before a command, so that it lives in here."""
        if self.folder is None:
            return ()
        return ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.folder / "cgroup.procs"))

    def freeze(self) -> None:
        """Stop all of them, as a machine that is suspended; returns when they stand."""
        self._turn("1", signal.SIGSTOP)

    def thaw(self) -> None:
        self._turn("0", signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL them all, and wait until they are gone."""
        if self.folder is not None and (self.folder / "cgroup.kill").exists():
            (self.folder / "cgroup.kill").write_text("1", encoding="utf-8")

        def is_empty() -> bool:
            found = self._members()
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not found

        until(is_empty, SETTLED_SECONDS, "all processes of the host to be gone")

    def remove(self) -> None:
        if self.folder is not None:
            _remove(self.folder)

    def _turn(self, frozen: str, signal_number: int) -> None:
        if self.folder is None:
            self._signal(signal_number)
            return
        (self.folder / "cgroup.freeze").write_text(frozen, encoding="utf-8")
        events = self.folder / "cgroup.events"
        until(lambda: f"frozen {frozen}" in events.read_text(encoding="utf-8"), SETTLED_SECONDS, "the host to stand")

    def _signal(self, number: int) -> None:
        """Send a signal to all of them, also to those that were born while it was sent."""
        reached: set[int] = set()
        while fresh := set(self._members()) - reached:
            for pid in fresh:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= fresh


def sweep() -> None:
    """Clear away the groups of tests that are gone."""
    where = root()
    for folder in where.glob(f"{PREFIX}*-*") if where is not None else ():
        found = re.match(rf"{PREFIX}(\d+)-", folder.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove(folder)


def _make(name: str) -> Path | None:
    where = root()
    if where is None:
        return None
    folder = where / name
    try:
        folder.mkdir()
    except OSError:
        return None
    return folder


def _remove(folder: Path) -> None:
    """Kill what is inside and remove it with all groups that were made below it."""
    if not folder.exists():
        return
    with suppress(OSError):
        (folder / "cgroup.freeze").write_text("0", encoding="utf-8")
    with suppress(OSError):
        (folder / "cgroup.kill").write_text("1", encoding="utf-8")
    for inner in [path for path in sorted(folder.rglob("*"), reverse=True) if path.is_dir()] + [folder]:
        until(lambda inner=inner: _is_removed(inner), SETTLED_SECONDS, f"{inner} to be removed")  # type: ignore[misc]


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
