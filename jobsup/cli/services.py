"""The commands that stay, without the library of all others: each process of an instance would carry it for life."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jobsup.cli.here import Here
from jobsup.errors import JobsupError

SERVICES = {"start": "start", "scheduler": "run_scheduler", "worker": "run_worker", "portal": "run_portal"}
"""A verb, and what of `jobsup.app` it runs."""
_CONFIG = ("-c", "--config")


def run(args: Sequence[str]) -> int:
    """Do what the words say; return the exit code. All that is not plainly a service goes to the whole command line."""
    config = _plain(args)
    if config is None:
        from jobsup.cli import main

        return main.run(args)
    mend_streams()
    try:
        serve: Callable[[str], int] = getattr(importlib.import_module("jobsup.app"), SERVICES[args[0]])
        return serve(str(config()))
    except (JobsupError, OSError, KeyboardInterrupt) as error:
        from jobsup.cli import main

        return main.fault(error)


def _plain(args: Sequence[str]) -> Callable[[], Path] | None:
    """Return what finds the configuration of a service that is started with no other word than its file."""
    verb, *words = args or [""]
    is_plain = not words or (len(words) == 2 and words[0] in _CONFIG)
    if verb not in SERVICES or not is_plain or "_JOBSUP_COMPLETE" in os.environ:
        return None
    here = Here()
    here.option = words[1] if words else None
    return here.path


def mend_streams() -> None:
    """Put something in place of closed streams, and let no name of a file be too odd to print."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: PTH123, SIM115  (for good)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
