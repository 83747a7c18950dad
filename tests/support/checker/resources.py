"""P11: what the processes of a host hold in the end is what they held at the beginning; nothing is left on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.checker.history import History, Usage
from tests.support.checker.violation import Violation

GROWTH = 1.05
DESCRIPTORS_SPARE = 2
MEMORY_SPARE = 8 << 20
"""What a process may learn: statements it had not used before, buffers of the allocator's."""


def back_to_normal(history: History) -> Iterator[Violation]:
    """P11: the same processes, with no more descriptors, threads, memory or dead children than before; no files."""
    if not history.used_before and not history.used_after:
        return  # nobody looked
    for name in sorted(history.used_before.keys() ^ history.used_after.keys()):
        when = "at the beginning" if name in history.used_before else "in the end"
        yield Violation("P11", "", f"process {name} is there {when} only")
    for name in sorted(history.used_before.keys() & history.used_after.keys()):
        for what in grown(history.used_before[name], history.used_after[name]):
            yield Violation("P11", "", f"process {name} has {what}")
    for path in history.files_left:
        yield Violation("P11", "", f"file {path} is left")


def grown(before: Usage, after: Usage) -> list[str]:
    """Say what there is more of than there may be."""
    found = []
    if after.descriptors > before.descriptors * GROWTH + DESCRIPTORS_SPARE:
        found.append(f"{after.descriptors} descriptors, {before.descriptors} before")
    if after.threads > before.threads:
        found.append(f"{after.threads} threads, {before.threads} before")
    if after.memory > before.memory * GROWTH + MEMORY_SPARE:
        found.append(f"{after.memory >> 10} KiB of its own, {before.memory >> 10} before")
    if after.zombies:
        found.append(f"{after.zombies} dead children that nobody buried")
    return found


def look(processes: Mapping[str, int]) -> dict[str, Usage]:
    """Read what processes (name -> pid) hold right now; one that is gone is left out."""
    dead = _dead_children()
    found = {}
    for name, pid in processes.items():
        with suppress(OSError):
            folder = Path(f"/proc/{pid}")
            status = dict(line.split(":", 1) for line in (folder / "status").read_text(encoding="utf-8").splitlines())
            found[name] = Usage(
                descriptors=len(list((folder / "fd").iterdir())),
                threads=int(status["Threads"]),
                memory=int(status["RssAnon"].split()[0]) << 10,
                zombies=dead.count(pid),
            )
    return found


def _dead_children() -> list[int]:
    """Return the parents of all processes that have ended and are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, *_ = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            if state == "Z":
                found.append(int(parent))
    return found
