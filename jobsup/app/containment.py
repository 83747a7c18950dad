"""How the runs of an instance are held together: by control groups where there is a place for them."""

from __future__ import annotations

import logging
from pathlib import Path

from jobsup.app import places
from jobsup.events import emit
from jobsup.runtime import cgroups
from jobsup.runtime.cgroups import Groups

AUTO, NONE = "auto", "none"
SWEEP_SECONDS = 2.0

_PREFIX, _SLASH = "jobsup-", "."
"""No tag has a point in it, and no folder's name a slash."""


def settle(setting: str, instance: str) -> Groups | None:
    """Find the place that `[supervisor] cgroup` asks for; None when runs are held by sessions and /proc alone.

    Call it before there are other processes or threads of ours.
    """
    if setting == NONE:
        return None
    try:
        return cgroups.settle(setting, group_name(instance))
    except cgroups.NoGroupsError as error:
        level = logging.DEBUG if setting == AUTO else logging.ERROR
        emit("containment.none", f"Runs have no control groups of their own: {error}", level=level)
        return None


def group_name(instance: str) -> str:
    """Return the folder of an instance's groups."""
    return _PREFIX + instance.replace("/", _SLASH)


def _instance_of(name: str) -> str:
    return name.removeprefix(_PREFIX).replace(_SLASH, "/")


def sweep_alone(groups: Groups | None) -> int:
    """End what roles run alone left in their groups when they and their guardians died; returns how many groups."""
    if groups is None:
        return 0
    place = Path(groups.path).parent
    dead = [each for each in place.glob(f"{_PREFIX}*") if places.is_dead(_instance_of(each.name))]
    ended = 0
    for folder in dead:
        left = Groups(str(folder))
        ended += left.end(wait_seconds=SWEEP_SECONDS)
        left.remove()
    return ended


def words(groups: Groups | None) -> str:
    """Say it for `status`."""
    if groups is None:
        return "sessions and the process table"
    held = [name for name in cgroups.CONTROLLERS if name in groups.controllers]
    return f"control groups ({', '.join(held)})" if held else "control groups (no limits: no controllers)"
