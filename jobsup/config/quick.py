"""The few settings that a fast command needs, read without the schema: where the database and the socket are.

What it returns is what the full loader would; what it does not look at, it does not judge.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobsup.config import names, places, urls
from jobsup.config.durations import parse_environment
from jobsup.config.environment import find_override
from jobsup.config.keys import KEYS, Key, Kind
from jobsup.config.report import environment_problem, shown
from jobsup.config.settings import SCHEMA_DEFAULT, TIMEOUT_DEFAULT, DatabaseSettings, SupervisorSettings
from jobsup.config.source import Source, read_source
from jobsup.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Peek:
    """Where an instance is: absolute paths, and a database URL with an absolute file."""

    database_url: str
    runtime_dir: str
    set: str
    node: str
    cgroup: str
    path: str
    database: DatabaseSettings
    """As far as it says which database and how it is reached."""


def peek(path: str | Path, environ: Mapping[str, str] | None = None) -> Peek:
    """Read the main file and the environment for these keys only. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    source = read_source(Path(path), str(path))
    set_name = _value("jobs.set", source, environ) or places.DEFAULT_SET
    url = _value("database.url", source, environ) or urls.absolute(DatabaseSettings().url, source.folder)
    schema = _value("database.schema", source, environ) or SCHEMA_DEFAULT
    timeout = _value("database.timeout", source, environ)
    configured = _value("supervisor.runtime_dir", source, environ)
    return Peek(
        database_url=url,
        runtime_dir=str(places.runtime_dir(set_name, configured, environ)),
        set=set_name,
        node=places.node_name(_value("supervisor.node", source, environ)),
        cgroup=_value("supervisor.cgroup", source, environ) or SupervisorSettings().cgroup,
        path=str(source.path),
        database=DatabaseSettings(
            url=url, schema=schema, timeout=parse_environment(timeout) if timeout else TIMEOUT_DEFAULT
        ),
    )


def of_running(status: Mapping[str, Any], socket: Path) -> Peek:
    """Return where an instance is by what its supervisor says, for a file that does not say it (any more).

    The URL is empty when it has a password: that stands in the file alone.
    """
    database = status["database"]
    return Peek(
        database_url=database["url"],
        runtime_dir=str(socket.parent),
        set=status["set"],
        node=status["node"],
        cgroup=SupervisorSettings().cgroup,
        path=status["supervisor"]["config"],
        database=DatabaseSettings(
            url=database["url"], schema=database["schema"], timeout=timedelta(seconds=database["timeout_seconds"])
        ),
    )


def _value(path: str, source: Source, environ: Mapping[str, str]) -> str:
    """Return what is said of one key, made absolute where it is a path; nothing said is an empty text."""
    key = KEYS[path]
    if override := find_override(key, environ):
        if message := _fault(key, override.text):
            raise ConfigError((environment_problem(override.variable, message),))
        return _absolute(key, override.text, Path.cwd())
    return _absolute(key, _written(key, source), source.folder)


def _written(key: Key, source: Source) -> str:
    section: Any = source.data.get(key.section, {})
    place = source.place(f"[{key.section}]", key.section)
    if not isinstance(section, dict):
        raise ConfigError((place.problem(f"must be one table, [{key.section}], not {shown(section)}"),))
    value = section.get(key.name, "")
    if not isinstance(value, str):
        raise ConfigError((place.problem(f"must be text in quotes, not {shown(value)}", key.name),))
    if message := _fault(key, value):
        raise ConfigError((place.problem(message, key.name),))
    return value


def _fault(key: Key, value: str) -> str | None:
    """Judge a value as the schema does; an empty one stands for the default."""
    if key.kind is Kind.URL:
        return urls.fault(value) if value else None
    if key.kind is Kind.DURATION:
        return _duration_fault(value) if value else None
    if key.path == "supervisor.cgroup":
        return places.cgroup_fault(value) if value else None
    return names.fault(value) if value and key.kind is Kind.TEXT else None


def _duration_fault(value: str) -> str | None:
    try:
        parse_environment(value)
    except ValueError as error:
        return str(error)
    return None


def _absolute(key: Key, value: str, folder: Path) -> str:
    if value and key.kind is Kind.URL:
        return urls.absolute(value, folder)
    return places.absolute(value, folder) if value and key.kind is Kind.PATH else value
