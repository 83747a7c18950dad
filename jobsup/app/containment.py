"""How the runs of an instance are held together: by control groups where there is a place for them."""

from __future__ import annotations

import logging

from jobsup.events import emit
from jobsup.runtime import cgroups
from jobsup.runtime.cgroups import Groups

AUTO, NONE = "auto", "none"


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
    """Return the folder of an instance's groups; `instance_of` reads it back."""
    return f"jobsup-{instance.replace('/', '.')}"


def words(groups: Groups | None) -> str:
    """Say it for `status`."""
    if groups is None:
        return "sessions and the process table"
    held = [name for name in cgroups.CONTROLLERS if name in groups.controllers]
    return f"control groups ({', '.join(held)})" if held else "control groups (no limits: no controllers)"
