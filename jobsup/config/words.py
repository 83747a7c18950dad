"""Settings and definitions as a person reads them: as TOML would write them, on one line, without secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobsup.clock import rfc3339
from jobsup.config import sizes, urls
from jobsup.config.durations import NONE, format_duration
from jobsup.config.keys import KEYS, Kind
from jobsup.config.report import shown
from jobsup.model import CalendarSpec, ParamSpec, ScheduleSpec

LINE_CHARS_MAX = 100

CALENDAR_UNITS = ("days", "weeks", "months", "years", "business_days")

NONE_KEYS = ("defaults.io_scheduling_class",)
"""Texts whose absence is written "none", and not as nothing."""
_OPTIONAL_DURATIONS = ("worker.job_timeout", "defaults.timeout", "defaults.misfire_grace")


def setting_words(path: str, value: Any) -> str:
    """Write the value of `worker.count` and the like as the TOML file would."""
    key = KEYS.get(path)
    if value is None and (path in NONE_KEYS or (key is not None and key.kind is not Kind.TEXT)):
        return f'"{NONE}"'
    if path in _OPTIONAL_DURATIONS or isinstance(value, timedelta):
        return f'"{format_duration(value)}"'
    if key is not None and key.kind is Kind.SIZE:
        return f'"{sizes.format_size(value)}"'
    if key is not None and key.kind is Kind.URL:
        return f'"{urls.masked(value)}"'
    return words(value)


def words(value: Any) -> str:
    """Write any value on one line."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(words(item) for item in value)}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {words(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, ParamSpec):
        return f"{value.name} = {param_words(value)}"
    if value is None:
        return '""'
    return f'"{value}"' if isinstance(value, str) else shown(value)


def value_words(value: Any) -> str:
    """Write a value of what a set shares: instants and schedules too."""
    if isinstance(value, ScheduleSpec):
        return schedule_words(value)
    return instant_words(value) if isinstance(value, datetime) else words(value)


def param_words(param: ParamSpec) -> str:
    """Write a parameter in its long form."""
    table: dict[str, Any] = {"type": param.type}
    table |= {"default": param.default} if param.default is not None else {}
    table |= {"required": True} if param.required else {}
    table |= {"choices": param.choices} if param.choices else {}
    table |= {"description": param.description} if param.description else {}
    return words(table)


def schedule_words(schedule: ScheduleSpec) -> str:
    """Write a schedule's kind and value: `cron 0 3 * * *`, `every 1h30m`, `manual`; several with `and also`."""
    return " and also ".join(_kind_words(each) for each in (schedule, *schedule.also))


def _kind_words(schedule: ScheduleSpec) -> str:
    if schedule.cron is not None:
        return f"cron {schedule.cron}"
    if schedule.every is not None:
        return f"every {format_duration(schedule.every)}"
    if schedule.calendar is not None:
        return f"calendar {calendar_words(schedule.calendar)}"
    if schedule.on_calendar is not None:
        return f"on_calendar {schedule.on_calendar}"
    return "manual" if schedule.at is None else f"at {instant_words(schedule.at)}"


def calendar_words(calendar: CalendarSpec) -> str:
    steps = {unit: getattr(calendar, unit) for unit in CALENDAR_UNITS}
    table: dict[str, Any] = {unit: count for unit, count in steps.items() if count}
    return words({**table, "at": calendar.at, "start_date": calendar.start_date})


def instant_words(instant: datetime | None) -> str:
    return rfc3339(instant) or "none"


def cut(text: str) -> str:
    """Cut a text to a length that fits in a line with others."""
    line = " ".join(text.split("\n"))
    return line if len(line) <= LINE_CHARS_MAX else f"{line[: LINE_CHARS_MAX - 3]}..."
