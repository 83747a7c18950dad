"""What the processes of one run of the tests make once and share, in a folder that goes with the run."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "TESTS_SHARED_FOLDER"
"""Tells the folder to the processes that the one who made it has started."""


def open_folder() -> Callable[[], None]:
    """Make the folder if this process begins the run; returns what removes it again, by whoever made it."""
    if VARIABLE in os.environ:
        return lambda: None
    folder = tempfile.mkdtemp(prefix="jobsup-tests-")
    Path(folder).chmod(0o755)  # servers that do not run as root read from it
    os.environ[VARIABLE] = folder

    def remove() -> None:
        del os.environ[VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)

    return remove


def made_once(name: str, make: Callable[[Path], None]) -> Path | None:
    """Return a folder of the run that whoever comes first has had filled; None when there is no run."""
    if VARIABLE not in os.environ:
        return None
    place = Path(os.environ[VARIABLE], name)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            making = place.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            make(making)
            making.rename(place)
    return place
