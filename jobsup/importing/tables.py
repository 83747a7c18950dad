"""A stored definition as the `[[job]]` table that gives it back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobsup.config.durations import NONE, format_duration
from jobsup.config.params import written
from jobsup.model import CalendarSpec, JobKind, JobSpec, ScheduleSpec

PLAIN = JobSpec("", JobKind.COMMAND)
"""What a job says nothing about, where no `[defaults]` say otherwise."""

_DURATIONS = ("timeout", "kill_grace", "retry_backoff", "retry_backoff_max", "misfire_grace", "jitter", "limit_cpu")
_CLEARED_BY_EMPTY = ("env_file", "cwd", "user", "group", "umask", "cpu_quota", "pool")
POLICIES = (
    *("description", "enabled", "tags", "queue", "priority", "timeout", "kill_grace", "max_retries", "retry_backoff"),
    *("retry_backoff_max", "retry_on_lost", "overlap", "catch_up", "catch_up_limit", "misfire_grace"),
    *("queue_limit", "jitter", "pool", "depends_on", "depends_when", "depends_mode"),
    *(
        "requires",
        "on",
        "stdin",
        "group",
        "umask",
        "nice",
        "io_scheduling_class",
        "io_scheduling_priority",
        "oom_score_adjust",
    ),
    *("memory_max", "tasks_max", "cpu_quota", "limit_nofile", "limit_cpu", "limit_fsize", "limit_core"),
    *("env_file", "cwd", "user", "success_exit_codes", "output_limit", "stderr"),
)
_UNITS = ("days", "weeks", "months", "years", "business_days")


def table_of(job: JobSpec, defaults: Iterable[JobSpec] = ()) -> dict[str, Any]:
    """Return the keys in which a job differs from what any of the `defaults`, or no defaults at all, would give it.

    So the table means the same below the configuration's own `[defaults]` and in a file of its own.
    """
    bases = (PLAIN, *defaults)
    table: dict[str, Any] = {"name": job.name, **_work(job), **_schedule(job, bases)}
    for key in POLICIES:
        value = getattr(job, key)
        if any(getattr(base, key) != value for base in bases):
            table[key] = _written(key, value)
    if job.env:
        table["env"] = dict(job.env)
    if job.secrets:
        table["secrets"] = {name: dict(source) for name, source in job.secrets.items()}
    if job.params:
        table["params"] = {param.name: written(param) for param in job.params}
    return table


def _work(job: JobSpec) -> dict[str, Any]:
    match job.kind:
        case JobKind.SCRIPT:
            return {"script": job.script, **({"args": list(job.args)} if job.args else {})}
        case JobKind.PYTHON:
            return {"python": job.python, **({"kwargs": job.kwargs} if job.kwargs else {})}
    return {"command": list(job.command) if isinstance(job.command, tuple) else job.command}


def _schedule(job: JobSpec, bases: Iterable[JobSpec]) -> dict[str, Any]:
    """Return the job's schedule, or several as tables of their own; and the calendar that rules them all."""
    spec = job.schedule
    if spec.also:
        table: dict[str, Any] = {"schedules": [_one_schedule(each, bases) for each in (spec, *spec.also)]}
    else:
        table = _one_schedule(spec, bases)
    if spec.use_calendar is not None:
        table |= {"use_calendar": spec.use_calendar.name, "calendar_rule": str(spec.calendar_rule)}
    return table


def _one_schedule(spec: ScheduleSpec, bases: Iterable[JobSpec]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if spec.cron is not None:
        table["cron"] = spec.cron
    if spec.every is not None:
        table["every"] = format_duration(spec.every)
    if spec.anchor is not None:
        table["anchor"] = spec.anchor
    if spec.calendar is not None:
        table["calendar"] = _calendar(spec.calendar)
    if spec.on_calendar is not None:
        table["on_calendar"] = spec.on_calendar
    if spec.at is not None:
        table["at"] = spec.at
    # The zone of a job that says none is the machine's own, wherever the file is read.
    if not spec.is_manual:
        table["timezone"] = spec.timezone
    if any(base.schedule.dst != spec.dst for base in bases):
        table["dst"] = str(spec.dst)
    return table


def _calendar(calendar: CalendarSpec) -> dict[str, Any]:
    steps = {unit: getattr(calendar, unit) for unit in _UNITS if getattr(calendar, unit)}
    return {**steps, "at": calendar.at, "start_date": calendar.start_date}


def _written(key: str, value: Any) -> Any:
    if key in _DURATIONS:
        return format_duration(value)
    if isinstance(value, tuple):
        return list(value)
    if value is None:
        return "" if key in _CLEARED_BY_EMPTY else NONE
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return an enum's member as the text it is."""
    return str(value) if isinstance(value, str) else value
