"""One role alone in the foreground: the same start as under a supervisor, with a guardian where jobs run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jobsup.app import containment, places, warden
from jobsup.app.prepare import Prepared, apply, load_store, prepare
from jobsup.clock import SystemClock
from jobsup.config.settings import LoggingSettings
from jobsup.errors import ConfigError, JobsupError, Problem
from jobsup.events import emit
from jobsup.runtime import logs
from jobsup.runtime.link import AloneLink
from jobsup.runtime.service import Loop
from jobsup.supervisor.task import Outcome, Task


def run_scheduler(config_path: str) -> int:
    """Run a scheduler in this process; several on one database share the work safely, one leads."""
    up_since = SystemClock().now()
    prepared = _begin(config_path, "scheduler")
    from jobsup.scheduler import service

    tag = places.alone_tag("scheduler")
    return service.run(prepared.config, AloneLink("scheduler"), instance=tag, up_since=up_since)


def run_worker(config_path: str) -> int:
    """Run a worker in this process; whatever becomes of it, its guardian ends the jobs it leaves."""
    prepared = _begin(config_path, "worker")
    tag = places.alone_tag("worker")
    left = places.sweep_alone()
    if left:
        emit("worker.swept", f"{left} processes of dead workers were ended", level=logging.WARNING, count=left)
    groups = containment.settle(prepared.config.supervisor.cgroup, tag)
    if count := containment.sweep_alone(groups):
        emit("worker.swept", f"{count} control groups of dead workers were ended", level=logging.WARNING, count=count)
    guard = warden.start(tag, groups)
    from jobsup.worker import service

    try:
        return service.run(prepared.config, AloneLink("worker"), instance=tag, groups=groups)
    finally:
        if groups is not None:
            groups.end()
            groups.remove()
        guard.dismiss()


def run_portal(config_path: str) -> int:
    """Run a portal in this process, whatever `[portal] enabled` says."""
    os.environ["JOBSUP_PORTAL_ENABLED"] = "true"
    config = _begin(config_path, "portal").config
    from jobsup.portal import opening

    if opening.missing_libraries():
        raise ConfigError((Problem(f"the portal {opening.greeting(config)}"),))
    sys.stderr.write(f"jobsup: portal    {opening.greeting(config)}\n")
    from jobsup.portal import server

    return server.run(config, AloneLink("portal"))


def _begin(config_path: str, role: str) -> Prepared:
    """Read the configuration and bring database and definitions up to it, in children of their own."""
    logs.configure(LoggingSettings(), role)
    load_store()
    prepared: Prepared = _in_child("prepare", lambda: _prepare_alone(config_path))
    logs.configure(prepared.config.logging, role)
    _in_child("apply", lambda: apply(prepared))
    return prepared


def _prepare_alone(config_path: str) -> Prepared:
    # `@reboot` is the supervisor's start, not a further worker's.
    return replace(prepare(config_path, None), is_first=False)


def _in_child(name: str, work: Callable[[], Any]) -> Any:
    """Do a piece of work in a short-lived child and wait for it; raises the JobsupError that it raised."""
    loop = Loop()
    outcomes: list[Outcome] = []
    task = Task(name, work, outcomes.append, loop, lambda: None)
    while not outcomes:
        loop.turn(task.check(loop.monotonic()))
    loop.close()
    return _value(outcomes[0])


def _value(outcome: Outcome) -> Any:
    error: JobsupError | None = outcome.error
    if error is not None:
        raise error
    return outcome.value
