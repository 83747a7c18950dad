"""The sections of settings: file and environment put together, key by key, each with its origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobsup.config import environment, places, urls
from jobsup.config.durations import format_duration
from jobsup.config.keys import KEYS, SETTING_KEYS, Kind
from jobsup.config.locate import Lines
from jobsup.config.report import Place, Report, environment_problem, hint, shown
from jobsup.config.schema import SECTIONS, TOP_LEVEL, check_table
from jobsup.config.settings import (
    DEFAULT_ORIGIN,
    DatabaseSettings,
    LoggingSettings,
    PortalSettings,
    SchedulerSettings,
    SupervisorSettings,
    WorkerSettings,
)
from jobsup.config.source import Source
from jobsup.errors import Problem

LOCK_TAKEOVER_PROMISE = timedelta(seconds=8)
HEARTBEATS_UNTIL_LOST = 4


@dataclass
class Given:
    """What was said, by file or environment, and is right; what was not said is not in it."""

    values: dict[str, Any] = field(default_factory=dict)
    """`worker.count` -> 6"""
    origins: dict[str, str] = field(default_factory=dict)
    """`worker.count` -> `jobsup.toml:12`"""
    _problems: dict[str, Callable[[str, bool], Problem]] = field(default_factory=dict)

    def add(self, path: str, value: Any, origin: str, problem: Callable[[str, bool], Problem]) -> None:
        """Take a value in; a later one of the same key replaces it."""
        self.values[path] = value
        self.origins[path] = origin
        self._problems[path] = problem

    def has(self, path: str) -> bool:
        return path in self.values

    def section(self, name: str) -> dict[str, Any]:
        """Return what was said in one section, by the keys' short names."""
        prefix = f"{name}."
        return {path[len(prefix) :]: value for path, value in self.values.items() if path.startswith(prefix)}

    def problem(self, path: str, message: str, *, warning: bool = False) -> Problem:
        """Return a problem at the place where the value of `path` was given."""
        if path in self._problems:
            return self._problems[path](message, warning)
        section, _, key = path.partition(".")
        return Problem(message, table=f"[{section}]", key=key, warning=warning)


def read_sections(source: Source, environ: Mapping[str, str], folder: Path, report: Report) -> Given:
    """Return the settings and `[defaults]` of the main file, with the environment's over them.

    `folder` is what relative paths in the environment start from.
    """
    given = Given()
    _check_top_level(source, report)
    for section in SECTIONS:
        _read_section(source, section, given, report)
    _read_environment(environ, folder, given, report)
    report.add(*environment.warnings(environ))
    return given


def resolve_paths(section: str, values: dict[str, Any], folder: Path) -> None:
    """Make the paths among checked values absolute, from `folder`, in place; an empty one stays empty."""
    for name, value in values.items():
        if name == "secrets" and value:
            values[name] = {variable: _resolved(source, folder) for variable, source in value.items()}
            continue
        key = KEYS.get(f"{section}.{name}")
        if key is None or not value:
            continue
        if key.kind is Kind.PATH:
            values[name] = places.absolute(value, folder)
        elif key.kind is Kind.PATHS:
            values[name] = [places.absolute(each, folder) for each in value]
        elif key.kind is Kind.URL:
            values[name] = urls.absolute(value, folder)


def _resolved(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the file of a secret absolute."""
    return {**source, "file": places.absolute(source["file"], folder)} if "file" in source else source


def database_settings(given: Given, folder: Path) -> DatabaseSettings:
    """Return `[database]`; the default file lies beside the main file."""
    url = urls.absolute(DatabaseSettings().url, folder)
    return DatabaseSettings(**{"url": url, **given.section("database")})


def supervisor_settings(given: Given, set_name: str, environ: Mapping[str, str]) -> SupervisorSettings:
    """Return `[supervisor]`, with the machine's own folder and name where none was said."""
    said = given.section("supervisor")
    said["state_dir"] = str(places.state_dir(set_name, said.get("state_dir", ""), said.get("runtime_dir", ""), environ))
    said["runtime_dir"] = str(places.runtime_dir(set_name, said.get("runtime_dir", ""), environ))
    said["node"] = places.node_name(said.get("node", ""))
    return SupervisorSettings(**said)


def scheduler_settings(given: Given) -> SchedulerSettings:
    """Return `[scheduler]`."""
    return SchedulerSettings(**given.section("scheduler"))


def worker_settings(given: Given) -> WorkerSettings:
    """Return `[worker]`; a poll interval above the default maximum raises that maximum with it."""
    said = given.section("worker")
    for name in ("queues", "tags", "python_path", "preload"):
        said[name] = tuple(said.get(name, ()))
    if "poll_interval" in said and "max_poll_interval" not in said:
        said["max_poll_interval"] = max(said["poll_interval"], WorkerSettings().max_poll_interval)
    return WorkerSettings(**said)


def portal_settings(given: Given) -> PortalSettings:
    """Return `[portal]`."""
    said = given.section("portal")
    said["allowed_hosts"] = tuple(said.get("allowed_hosts", ()))
    return PortalSettings(**said)


def logging_settings(given: Given) -> LoggingSettings:
    """Return `[logging]`."""
    return LoggingSettings(**given.section("logging"))


def origins(given: Given) -> dict[str, str]:
    """Return where each setting comes from, in the order of the keys; `[defaults]` only as far as it was said."""
    settings = {key.path: given.origins.get(key.path, DEFAULT_ORIGIN) for key in SETTING_KEYS}
    return {**settings, **given.origins}


def check_together(given: Given, database: DatabaseSettings, supervisor: SupervisorSettings, report: Report) -> None:
    """Report what only shows when settings are seen together, or with the machine they are for."""
    _check_places(given, database, supervisor, report)
    _check_worker(given, worker_settings(given), report)
    _check_scheduler(given, scheduler_settings(given), worker_settings(given), report)
    _check_portal(given, portal_settings(given), report)


def _check_top_level(source: Source, report: Report) -> None:
    for key, value in source.data.items():
        if key == "jobs" and isinstance(value, list):
            report.add(source.place().problem("a job's table is written [[job]]", key))
        elif key not in TOP_LEVEL:
            report.add(source.place().problem(f"unknown {_kind(value)}{hint(key, TOP_LEVEL)}", key))


def _kind(value: Any) -> str:
    return "table" if isinstance(value, dict | list) else "key"


def _read_section(source: Source, section: str, given: Given, report: Report) -> None:
    written = source.data.get(section, {})
    place = source.place(f"[{section}]", section)
    if not isinstance(written, dict):
        if section != "jobs" or not isinstance(written, list):
            report.add(place.problem(f"must be one table, [{section}], not {shown(written)}"))
        return
    checked = check_table(SECTIONS[section], written, place)
    report.add(*checked.problems)
    resolve_paths(section, checked.values, source.folder)
    for name, value in checked.values.items():
        line = place.line(name)
        given.add(
            f"{section}.{name}",
            value,
            f"{source.file}:{line}",
            lambda message, warning, name=name: place.problem(message, name, warning=warning),  # type: ignore[misc]  # default argument binds the loop's name
        )


def _read_environment(environ: Mapping[str, str], folder: Path, given: Given, report: Report) -> None:
    nowhere = Place("", "", Lines(""))
    for path, override in environment.overrides(environ).items():
        key, variable = KEYS[path], override.variable
        try:
            value = environment.read_value(key.kind, override.text)
        except ValueError as error:
            report.add(environment_problem(variable, str(error)))
            continue
        checked = check_table(SECTIONS[key.section], {key.name: value}, nowhere)
        report.add(*(environment_problem(variable, problem.message) for problem in checked.problems))
        resolve_paths(key.section, checked.values, folder)
        if key.name in checked.values:
            given.add(
                path,
                checked.values[key.name],
                f"environment {variable}",
                lambda message, warning, variable=variable: environment_problem(  # type: ignore[misc]  # as above
                    variable, message, warning=warning
                ),
            )


def _check_places(given: Given, database: DatabaseSettings, supervisor: SupervisorSettings, report: Report) -> None:
    if message := places.socket_fault(supervisor.runtime_dir):
        report.add(given.problem("supervisor.runtime_dir", message))
    file = urls.sqlite_file(database.url)
    if file is not None and not file.parent.is_dir():
        report.add(given.problem("database.url", f"folder {file.parent} does not exist: create it with mkdir -p"))
    elif file is not None and file.is_dir():
        report.add(given.problem("database.url", f"{file} is a folder: name a file in it"))
    for folder in worker_settings(given).python_path:
        if not Path(folder).is_dir():
            report.add(given.problem("worker.python_path", f"folder {folder} does not exist"))
    log_file = logging_settings(given).file
    if log_file and not Path(log_file).parent.is_dir():
        report.add(given.problem("logging.file", f"folder {Path(log_file).parent} does not exist: create it"))


def _check_worker(given: Given, worker: WorkerSettings, report: Report) -> None:
    if worker.poll_interval > worker.max_poll_interval:
        path = "worker.poll_interval" if given.has("worker.poll_interval") else "worker.max_poll_interval"
        report.add(
            given.problem(
                path,
                f"poll_interval {format_duration(worker.poll_interval)} is longer than max_poll_interval "
                f"{format_duration(worker.max_poll_interval)}: swap or raise them",
            )
        )
    if worker.count == 0:
        report.add(given.problem("worker.count", "is 0: no job runs on this host", warning=True))


def _check_portal(given: Given, portal: PortalSettings, report: Report) -> None:
    """Refuse to send passwords over a network in the clear."""
    if not portal.enabled:
        return
    if bool(portal.tls_cert) != bool(portal.tls_key):
        report.add(given.problem("portal.tls_cert", "tls_cert and tls_key are given together, or neither is"))
    for path, file in (("portal.tls_cert", portal.tls_cert), ("portal.tls_key", portal.tls_key)):
        if file and not Path(file).is_file():
            report.add(given.problem(path, f"file {file} does not exist"))
    if not places.is_loopback(portal.host) and not portal.behind_proxy and not portal.tls_cert:
        report.add(
            given.problem(
                "portal.host",
                f"{portal.host} is open to the network, and passwords would go over it in the clear: set tls_cert and "
                'tls_key, or behind_proxy = true when a proxy speaks TLS, or host = "127.0.0.1"',
            )
        )


def _check_scheduler(given: Given, scheduler: SchedulerSettings, worker: WorkerSettings, report: Report) -> None:
    if scheduler.dispatch_lock_duration > LOCK_TAKEOVER_PROMISE:
        length = format_duration(scheduler.dispatch_lock_duration)
        report.add(
            given.problem(
                "scheduler.dispatch_lock_duration",
                f"is {length}: when a scheduler dies, another host takes over only after up to {length}",
                warning=True,
            )
        )
    lost_after = HEARTBEATS_UNTIL_LOST * worker.heartbeat_interval
    if scheduler.worker_offline_threshold < lost_after:
        said = [path for path in _OFFLINE_KEYS if given.has(path)]
        report.add(
            given.problem(
                said[0],
                f"worker_offline_threshold {format_duration(scheduler.worker_offline_threshold)} is shorter "
                f"than {HEARTBEATS_UNTIL_LOST} heartbeats ({format_duration(lost_after)}): "
                "a worker is shown as OFFLINE before it counts as lost",
                warning=True,
            )
        )


_OFFLINE_KEYS = ("scheduler.worker_offline_threshold", "worker.heartbeat_interval")
