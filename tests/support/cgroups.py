"""A place for control groups in tests, below the cgroup2 mount of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from jobsup.runtime import cgroups
from jobsup.runtime.cgroups import Groups, NoGroupsError

_numbers = iter(range(1_000_000))


def mount() -> Path | None:
    """Return where control groups of version 2 are mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


@cache
def why_not() -> str:
    """Say why no control group can be made here; empty when one can."""
    folder = mount()
    if folder is None:
        return "needs a cgroup2 mount"
    if not os.access(folder, os.W_OK):
        return f"needs the right to make groups in {folder}: root, or a delegated group"
    return ""


def why_no(controller: str) -> str:
    """Say why no control group can hold this kind of limit here; empty when one can."""
    if reason := why_not():
        return reason
    return "" if controller in _controllers() else f"needs the cgroup2 controller {controller}: version 1 has it here"


@cache
def _controllers() -> frozenset[str]:
    with place() as groups:
        return groups.controllers


@contextmanager
def place() -> Iterator[Groups]:
    """Make a folder for groups, and remove it with all that is in it afterwards."""
    folder = mount()
    assert folder is not None
    base = folder / f"jobsup-tests-{os.getpid()}-{next(_numbers)}"
    try:
        groups = cgroups.settle(str(base), "runs")
    except NoGroupsError as error:
        raise AssertionError(why_not()) from error
    try:
        yield groups
    finally:
        groups.end(wait_seconds=2)
        groups.remove()
        base.rmdir()
