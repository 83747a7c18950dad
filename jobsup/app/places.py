"""What makes an instance one: the tag its processes carry, and the files whose lock lets only one of it run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from jobsup.config.urls import sqlite_file
from jobsup.runtime import procs, trees

TAG_HEX_DIGITS = 16
ALONE = "alone"


def instance_tag(runtime_dir: str) -> str:
    """Return the tag of everything that belongs to the supervisor of a runtime folder; the same after a restart.

    A container's supervisor with the same folder is another one, though the host sees its processes.
    """
    return hashlib.sha256(os.fsencode(runtime_dir) + procs.pid_namespace().encode()).hexdigest()[:TAG_HEX_DIGITS]


def alone_tag(role: str) -> str:
    """Return the tag of what belongs to this very process, which runs a role alone."""
    pid = os.getpid()
    return "/".join((ALONE, role, procs.pid_namespace(), str(pid), str(procs.start_time(pid))))


def lock_paths(runtime_dir: str, database_url: str) -> tuple[str, ...]:
    """Return what a supervisor locks: its runtime folder, and its database file if that is local.

    A database in a folder that does not exist is left to the configuration's own check, which says it better.
    """
    paths = [str(Path(runtime_dir) / "supervisor.lock")]
    file = sqlite_file(database_url)
    if file is not None and file.parent.is_dir():
        paths.append(f"{file}-supervisor")
    return tuple(paths)


def sweep_alone() -> int:
    """End the jobs that roles run alone left behind when they and their guardians died; returns how many."""
    tags = {tag for pid in procs.pids() if (tag := procs.environ_value(pid, procs.INSTANCE_VARIABLE))}
    dead = [tag for tag in tags if is_dead(tag)]
    left = [pid for tag in dead for pid in procs.tagged(tag)]
    for tag in dead:
        trees.kill_tree(tag=tag)
    return len(left)


def is_dead(tag: str) -> bool:
    """Say whether a tag is that of a role alone, in this pid namespace, whose process has ended."""
    name, *fields = tag.split("/")
    if name != ALONE or len(fields) != 4 or fields[1] != procs.pid_namespace():
        return False
    pid, started = fields[2:]
    return pid.isdigit() and started.isdigit() and not procs.is_alive(int(pid), int(started))
