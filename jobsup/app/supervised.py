"""`jobsup start`: a supervisor whose children are a scheduler and workers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobsup.app import children, containment, places
from jobsup.app.prepare import Prepared, apply, load_store, prepare
from jobsup.clock import SystemClock
from jobsup.config.quick import peek
from jobsup.config.settings import Config, LoggingSettings
from jobsup.config.urls import masked
from jobsup.errors import ConfigError, Problem
from jobsup.runtime import logs
from jobsup.runtime.cgroups import Groups
from jobsup.supervisor.spec import Plan
from jobsup.supervisor.supervisor import Supervisor


def start(config_path: str) -> int:
    """Supervise until told to stop; returns the exit code of the process.

    Raises ConfigError when not even the place of the instance can be read from the file.
    """
    logs.configure(LoggingSettings(), "supervisor")
    place = peek(config_path)
    load_store()
    instance = places.instance_tag(place.runtime_dir)
    groups = containment.settle(place.cgroup, instance)
    composer = _Composer(instance, groups)
    return Supervisor(
        prepare=lambda old: prepare(config_path, old),
        compose=composer.compose,
        apply=apply,
        runtime_dir=place.runtime_dir,
        lock_paths=places.lock_paths(place.runtime_dir, place.database_url),
        instance=instance,
        groups=groups,
        reexec_argv=(sys.executable, "-m", "jobsup", "start", "-c", str(Path(config_path).absolute())),
        on_ready=composer.greet,
    ).run()


class _Composer:
    """Makes each generation's plan; remembers the first, for what no reload may change."""

    def __init__(self, instance: str, groups: Groups | None) -> None:
        self._instance = instance
        self._groups = groups
        self._first: Prepared | None = None

    def compose(self, prepared: Prepared) -> Plan:
        """Make the plan; ConfigError for a change that needs a restart."""
        if self._first is not None:
            refuse_immovable(self._first.config, prepared.config)
        if self._first is None:
            children.preload(prepared.config)
            self._first = prepared
        plan = children.compose(prepared, self._instance, SystemClock().now(), self._groups)
        return replace(plan, begin=lambda: logs.configure(prepared.config.logging, "supervisor"))

    def greet(self, _status: dict[str, Any]) -> None:
        """Tell whoever started it what has begun, once all of it has."""
        if self._first is not None:
            lines = [*self._first.lines, *_portal_lines(self._first.config)]
            sys.stderr.write("".join(f"jobsup: {line}\n" for line in lines))
            sys.stderr.flush()


def _portal_lines(config: Config) -> list[str]:
    """Say where the portal is: at the first start, with the token that lets one in."""
    if not config.portal.enabled:
        return []
    from jobsup.portal import opening

    return [f"portal    {opening.greeting(config)}"]


def refuse_immovable(old: Config, new: Config) -> None:
    """Refuse a change of what every process was started with: where the instance is, and what it is called."""
    pairs = {
        "database.url": (old.database.url, new.database.url),
        "supervisor.runtime_dir": (old.supervisor.runtime_dir, new.supervisor.runtime_dir),
        "supervisor.state_dir": (old.supervisor.state_dir, new.supervisor.state_dir),
        "supervisor.cgroup": (old.supervisor.cgroup, new.supervisor.cgroup),
        "supervisor.node": (old.supervisor.node, new.supervisor.node),
        "jobs.set": (old.set, new.set),
    }
    if old.supervisor.runtime_dir != new.supervisor.runtime_dir:
        del pairs["supervisor.state_dir"]  # it follows the other, which is told
    problems = tuple(
        Problem(f"needs `jobsup restart` to become {masked(after)!r}, it is {masked(before)!r} now", new.path, key=key)
        for key, (before, after) in pairs.items()
        if before != after
    )
    if problems:
        raise ConfigError(problems)
