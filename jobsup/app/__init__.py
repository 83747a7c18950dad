"""Composition: the only room that knows every kind of process, and hands each what it uses.

`start` is the supervisor with a scheduler, workers and a portal under it; `run_scheduler`, `run_worker` and
`run_portal` are one role alone in the foreground, for containers and further hosts. All of them read the configuration
and touch the schema in a short-lived child (`prepare`), so that what only that needs (the schema's validator, the
migrations) is never loaded into a process that stays; all of them synchronise the definitions by the same rules.
"""

from __future__ import annotations


def start(config_path: str) -> int:
    """Run the supervisor in the foreground until it is told to stop; returns its exit code."""
    from jobsup.runtime import lazy

    lazy.leave_out_openssl()
    from jobsup.app.supervised import start as run

    return run(config_path)


def run_scheduler(config_path: str) -> int:
    """Run a scheduler alone in the foreground; returns its exit code."""
    from jobsup.app.alone import run_scheduler as run

    return run(config_path)


def run_worker(config_path: str) -> int:
    """Run a worker alone in the foreground; returns its exit code."""
    from jobsup.app.alone import run_worker as run

    return run(config_path)


def run_portal(config_path: str) -> int:
    """Run a portal alone in the foreground; returns its exit code."""
    from jobsup.app.alone import run_portal as run

    return run(config_path)
