"""systemd's timers, with the services they start, as jobs."""

from __future__ import annotations

import glob
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobsup.config.durations import format_duration
from jobsup.config.keys import JOB_VARIABLES, RESERVED_PREFIXES
from jobsup.importing import exec_lines, naming, proof, unit_files
from jobsup.importing.draft import Basket, Draft, Harvest
from jobsup.importing.exec_lines import ExecLine
from jobsup.importing.unit_files import Unit

TIMERS_MAX = 10_000
HEADER = (
    "As systemd does, a job is tried once (max_retries = 0), and has no time limit unless its service has one.",
    "What a unit says of resources, sandboxing and conditions is not taken over: it is noted above the job.",
)

_REPEATING = ("OnUnitActiveSec", "OnUnitInactiveSec")
_STARTING = ("OnBootSec", "OnStartupSec", "OnActiveSec")
_TOLD_OF_TIMERS = {
    "RandomizedDelaySec": "the random delay is not kept: it starts at the instant itself",
    "AccuracySec": "jobsup starts it at the instant itself",
    "WakeSystem": "jobsup wakes no machine that sleeps",
    "OnClockChange": "it does not start at a change of the clock",
    "OnTimezoneChange": "it does not start at a change of the time zone",
}
_READ_OF_SERVICES = frozenset(
    {
        *("Type", "ExecStart", "ExecStartPre", "ExecStartPost", "User", "WorkingDirectory", "Environment"),
        *("EnvironmentFile", "TimeoutStartSec", "TimeoutSec", "RuntimeMaxSec", "TimeoutStopSec", "SuccessExitStatus"),
        *("StandardOutput", "StandardError", "SyslogIdentifier", "RemainAfterExit", "KillMode", "Slice", "PIDFile"),
    }
)
_DANGEROUS = ("DynamicUser", "RootDirectory", "RootImage", "LoadCredential", "SetCredential", "PassEnvironment")
"""Without these a service may not be what its author meant it to be; jobs that had them are switched off."""


@dataclass
class _Job:
    """A job that is being made: what it says, and what a person should know."""

    unit: Unit
    known: dict[str, str]
    """Specifiers and what they stand for."""
    table: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """Why it is switched off."""

    def text(self, value: str) -> str:
        """Return a value with its specifiers put in."""
        text, unknown = exec_lines.specified(value, self.known)
        self.doubts += [f"the specifier {each} is not known here" for each in dict.fromkeys(unknown)]
        return text


def harvest(folders: Sequence[Path], names: naming.Names, timezone: str | None) -> Harvest:
    """Return the jobs of all timers in the folders; their services may also stand in systemd's own folders."""
    searched = [*folders, *(folder for folder in unit_files.FOLDERS if folder not in folders)]
    basket = Basket()
    for name in _timer_names(folders, basket):
        timer = unit_files.load(name, searched)
        if timer is None:
            basket.fault(name, "is masked, or empty")
            continue
        basket.add(_of_timer(timer, searched, folders, names, timezone))
    return proof.proved(basket.harvest())


def standard_folders() -> list[Path]:
    """Return the folders an administrator's own timers stand in: the system's, and the user's."""
    own = Path(os.path.expanduser("~/.config/systemd/user"))  # noqa: PTH111  # never raises, unlike Path's
    return [folder for folder in (unit_files.FOLDERS[0], own) if folder.is_dir()]


def _timer_names(folders: Iterable[Path], basket: Basket) -> list[str]:
    """Return the timers that stand in the folders, and the instances that are enabled there; templates are told of."""
    found: dict[str, None] = {}
    for folder in folders:
        links = glob.glob("*.wants/*@*.timer", root_dir=folder)  # noqa: PTH207  # needs the names below it
        instances = [Path(link).name for link in sorted(links)]
        found.update(dict.fromkeys(instances))
        for path in sorted(folder.glob("*.timer")):
            if not path.stem.endswith("@"):
                found[path.name] = None
            elif not any(name.startswith(path.stem) for name in instances):
                basket.fault(str(path), "is a template without an enabled instance")
    if len(found) > TIMERS_MAX:
        basket.fault(str(TIMERS_MAX), "more timers than this are not read at once")
    return list(found)[:TIMERS_MAX]


def _of_timer(
    timer: Unit, searched: Sequence[Path], folders: Sequence[Path], names: naming.Names, timezone: str | None
) -> Harvest:
    basket = Basket()
    for fault in timer.faults:
        basket.fault(*fault.split(": ", 1))
    wanted = timer.last("Timer", "Unit") or timer.name.removesuffix(".timer") + ".service"
    service = unit_files.load(wanted, searched)
    if service is None or not wanted.endswith(".service"):
        basket.fault(str(timer.path), f"its unit {wanted} is not there, or is no service")
        return basket.harvest()
    for fault in service.faults:
        basket.fault(*fault.split(": ", 1))
    try:
        job = _service_job(service, timer)
        schedules = _schedules(timer, timezone, job)
    except ValueError as error:
        basket.fault(str(timer.path), str(error))
        return basket.harvest()
    if not schedules:
        basket.fault(str(timer.path), "says no time at which a job could start")
    _tell_timer(timer, job, folders, several=len(schedules) > 1)
    basket.drafts += [_draft(job, timer, schedule, names) for schedule in schedules]
    return basket.harvest()


def _draft(job: _Job, timer: Unit, schedule: dict[str, Any], names: naming.Names) -> Draft:
    name = names.give(timer.name.removesuffix(".timer"))
    draft = Draft(str(timer.path), {"name": name, **job.table, **schedule}, tuple(job.notes))
    user = job.text(job.unit.last("Service", "User"))
    draft = proof.run_as(draft, user or None)
    doubts = [f"switched off: {doubt}" for doubt in dict.fromkeys(job.doubts)]
    return proof.disabled(draft, *doubts) if doubts else draft


def _schedules(timer: Unit, timezone: str | None, job: _Job) -> list[dict[str, Any]]:
    """Return the schedule keys of each job that the timer makes. ValueError for a time span that is none."""
    catch_up = {"catch_up": "latest" if timer.is_on("Timer", "Persistent") else "none", "max_retries": 0}
    zone = {"timezone": timezone} if timezone else {}
    found: list[dict[str, Any]] = []
    for expression in timer.values("Timer", "OnCalendar"):
        found.append({"on_calendar": job.text(expression), **zone, **catch_up})  # noqa: PERF401  (it reads better so)
    for key in _REPEATING:
        for value in timer.values("Timer", key):
            every = unit_files.span(value)
            if every:
                point = "start" if key == _REPEATING[0] else "end"
                job.notes.append(f"{key}={value} counts from its last {point} there; here the instants are fixed")
                found.append({"every": format_duration(every), **catch_up})
    starting = [(key, value) for key in _STARTING for value in timer.values("Timer", key)]
    for key, value in starting:
        if found:
            job.notes.append(f"{key}={value} is not kept: its first run is the first instant of its schedule")
        else:
            job.notes.append(f"{key}={value}: it runs at each start of jobsup, without that delay")
            found.append({"cron": "@reboot", "catch_up": "none", "max_retries": 0})
    return found


def _tell_timer(timer: Unit, job: _Job, folders: Sequence[Path], *, several: bool) -> None:
    for key, note in _TOLD_OF_TIMERS.items():
        value = timer.last("Timer", key)
        if value and value.lower() not in ("0", "no", "false", "off"):
            job.notes.append(f"{key}={value}: {note}")
    if several:
        job.notes.append("the timer has several schedules: each is a job, and they may run at the same time")
    if not _is_enabled(timer.name, folders):
        job.doubts.append("the timer is not enabled there")


def _is_enabled(name: str, folders: Sequence[Path]) -> bool:
    """Say whether something starts the timer; a folder that enables no timer is taken for mere files.

    What stands in systemd's own folders may be enabled in any of them.
    """
    is_installed = any(folder in unit_files.FOLDERS for folder in folders)
    searched = {*folders, *(unit_files.FOLDERS if is_installed else ())}
    wanted = [
        path.name for folder in searched for kind in ("wants", "requires") for path in folder.glob(f"*.{kind}/*.timer")
    ]
    return name in wanted or not (wanted or is_installed)


def _service_job(service: Unit, timer: Unit) -> _Job:
    """Return what the service says of the job. ValueError when its command lines cannot be read."""
    job = _Job(service, _specifiers(service))
    description = job.text(service.last("Unit", "Description") or timer.last("Unit", "Description"))
    if description:
        job.table["description"] = description
    job.table["command"] = _command(service, job)
    _add_folder(service, job)
    _add_environment(service, job)
    _add_limits(service, job)
    _tell_service(service, job)
    return job


def _specifiers(unit: Unit) -> dict[str, str]:
    stem = unit.name.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    folders = {"t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc"}
    folders |= {"T": "/tmp", "V": "/var/tmp"}  # noqa: S108  (what systemd puts there)
    user = unit.last("Service", "User")
    users = {"u": user, "h": f"~{user}"} if user and "%" not in user else {}
    if users:
        users["h"] = os.path.expanduser(users["h"])  # noqa: PTH111  # never raises, unlike Path's
    named = {"n": unit.name, "N": stem, "p": prefix, "i": instance, "I": instance.replace("-", "/")}
    return {**folders, **users, **named, "j": prefix.rpartition("-")[2], "H": socket.gethostname()}


def _command(service: Unit, job: _Job) -> str | list[str]:
    """Return what the service runs: the words of its only command, or a shell line that does all it does."""
    commands = [
        command
        for key in ("ExecStartPre", "ExecStart", "ExecStartPost")
        for value in service.values("Service", key)
        for command in exec_lines.exec_lines(job.text(value))
    ]
    if not commands:
        raise ValueError(f"its service {service.name} says nothing to run (ExecStart=)")
    _tell_prefixes(commands, job)
    if len(commands) == 1 and not commands[0].uses_variables and not commands[0].may_fail:
        return commands[0].argv()
    return exec_lines.joined(commands)


def _tell_prefixes(commands: Iterable[ExecLine], job: _Job) -> None:
    prefixes = "".join(command.prefixes for command in commands)
    if "@" in prefixes:
        job.notes.append("the name that the program is to see of itself (@) is not kept")
    if "+" in prefixes or "!" in prefixes:
        job.doubts.append("a command of it has more privileges than the others (+ or !)")


def _add_folder(service: Unit, job: _Job) -> None:
    wish = job.text(service.last("Service", "WorkingDirectory"))
    folder = os.path.expanduser(wish.removeprefix("-"))  # noqa: PTH111  # never raises, unlike Path's
    user = service.last("Service", "User")
    if folder and wish == "~" and user:
        folder = os.path.expanduser(f"~{user}")  # noqa: PTH111  # as above
    if not folder:
        job.table["cwd"] = "/"
    elif Path(folder).is_dir():
        job.table["cwd"] = folder
    elif wish.startswith("-"):
        job.notes.append(f"its folder {folder} does not exist: it starts where jobsup does")
    else:
        job.doubts.append(f"its folder {folder} does not exist here")


def _add_environment(service: Unit, job: _Job) -> None:
    variables: dict[str, str] = {}
    for value in service.values("Service", "Environment"):
        for word in exec_lines.words(job.text(value)):
            name, equals, text = word.partition("=")
            if not equals or name in JOB_VARIABLES or name.startswith(RESERVED_PREFIXES) or not name.isidentifier():
                job.notes.append(f"the variable {name} is left out: jobsup cannot hand on one of that name")
            else:
                variables[name] = text
    if variables:
        job.table["env"] = variables
    for number, value in enumerate(service.values("Service", "EnvironmentFile")):
        _add_env_file(job.text(value), job, is_first=number == 0)


def _add_env_file(value: str, job: _Job, *, is_first: bool) -> None:
    path = Path(value.removeprefix("-"))
    if path.is_file() and is_first:
        job.table["env_file"] = str(path)
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IRWXO):
            job.notes.append(f"jobsup reads only an env_file that is private: chmod 600 {path}")
    elif path.is_file():
        job.doubts.append(f"a job has one env_file: {path} is another")
    elif value.startswith("-"):
        job.notes.append(f"EnvironmentFile={value} is left out: it does not exist")
    else:
        job.doubts.append(f"its EnvironmentFile {path} does not exist here")


def _add_limits(service: Unit, job: _Job) -> None:
    """Set the time limits, and the exit codes that are fine: a `oneshot` service runs while it "starts"."""
    keys = ("TimeoutStartSec", "TimeoutSec") if service.last("Service", "Type") == "oneshot" else ("RuntimeMaxSec",)
    job.table["timeout"] = _limit(service, keys)
    grace = service.last("Service", "TimeoutStopSec")
    limit = unit_files.span(grace) if grace else None
    if limit is not None:
        job.table["kill_grace"] = format_duration(min(limit, timedelta(days=1)))
    fine = [word for value in service.values("Service", "SuccessExitStatus") for word in value.split()]
    codes = [int(word) for word in fine if word.isdecimal()]
    if codes:
        job.table["success_exit_codes"] = sorted({0, *codes})
    if len(codes) < len(fine):
        job.notes.append("SuccessExitStatus: only numbers are kept, no names and signals")


def _limit(service: Unit, keys: Iterable[str]) -> str:
    given = next((value for key in keys if (value := service.last("Service", key))), "infinity")
    return format_duration(unit_files.span(given) or None)


def _tell_service(service: Unit, job: _Job) -> None:
    given = service.keys("Service")
    left = [key for key in given if key not in _READ_OF_SERVICES and key not in _DANGEROUS]
    left += [key for key in service.keys("Unit") if key.startswith(("Condition", "Assert"))]
    if left:
        job.notes.append(f"not taken over from {service.name}: {', '.join(left)}")
    if any(key in given for key in ("ExecStartPre", "ExecStartPost")):
        job.notes.append("what runs before and after it (ExecStartPre, ExecStartPost) is part of its command")
    job.doubts += [f"{key} of its service has no counterpart" for key in _DANGEROUS if service.last("Service", key)]
