"""A job's definition as a JSON document and back, exactly; and the hash that tells two definitions apart."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from jobsup.config.durations import format_duration, parse, parse_or_none
from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    CalendarRule,
    CalendarSpec,
    CatchUp,
    DependsMode,
    DependsWhen,
    Dst,
    IoClass,
    JobKind,
    JobSpec,
    NamedCalendar,
    On,
    Overlap,
    ParamSpec,
    PoolSpec,
    ScheduleSpec,
    SetSpec,
    TickRules,
)

HASH_HEX_DIGITS = 16
DURATIONS_MAX = 256
"""Durations that are remembered as they were read."""
RULES_MAX = 2048
"""So many rules of ticks too; with more of them in use some are read again."""
TICK_RULES = tuple(spec.name for spec in fields(TickRules))
"""The keys of a definition that decide on its ticks."""

_JOB_DURATIONS = ("kill_grace", "retry_backoff", "retry_backoff_max", "jitter")
_JOB_OPTIONAL_DURATIONS = ("timeout", "misfire_grace", "limit_cpu")
_JOB_TUPLES = ("args", "tags", "requires", "success_exit_codes", "depends_on")
_JOB_ENUMS: dict[str, type[StrEnum]] = {
    "kind": JobKind,
    "on": On,
    "overlap": Overlap,
    "catch_up": CatchUp,
    "depends_when": DependsWhen,
    "depends_mode": DependsMode,
    "io_scheduling_class": IoClass,
}
_VALUES = (ScheduleSpec, ParamSpec, CalendarSpec, NamedCalendar, BlackoutSpec, PoolSpec)


def jobspec_to_dict(job: JobSpec) -> dict[str, Any]:
    """Return the whole definition with JSON values only: durations as text, instants as ISO 8601 in UTC."""
    return {spec.name: _plain(getattr(job, spec.name)) for spec in fields(job)}


def stored_document(job: JobSpec) -> dict[str, Any]:
    """Return what a row holds of a definition: only what is not as `jobspec_from_dict` fills it in.

    Most of a job is as most jobs are, and its row is read and written all day.
    """
    document: dict[str, Any] = _brief(job)
    return document


def jobspec_from_dict(document: dict[str, Any]) -> JobSpec:
    """Return the definition `jobspec_to_dict` or `stored_document` wrote.

    A missing key takes its default and an unknown one is passed over, so that two versions of jobsup can
    share a database while one replaces the other.
    """
    values = _known(JobSpec, document)
    _convert(values, _JOB_DURATIONS, _duration)
    _convert(values, _JOB_OPTIONAL_DURATIONS, _duration_or_none)
    _convert(values, _JOB_TUPLES, tuple)
    for key, enum in _JOB_ENUMS.items():
        _convert(values, (key,), enum)
    if isinstance(values.get("command"), list):
        values["command"] = tuple(values["command"])
    _convert(values, ("schedule",), schedule_from_dict)
    if "params" in values:
        values["params"] = tuple(_param(param) for param in values["params"])
    return JobSpec(**values)


@functools.lru_cache(RULES_MAX)
def tick_rules(text: str) -> TickRules:
    """Read the values of `TICK_RULES`, in their order, as one JSON text; of many jobs with equal ones, once for all.

    What is missing is null, and takes its default.
    """
    given = zip(TICK_RULES, json.loads(text), strict=True)
    known = {key: value for key, value in given if value is not None}
    return TickRules.of(jobspec_from_dict({"name": "", "kind": JobKind.COMMAND, **known}))


def setspec_to_dict(shared: SetSpec) -> dict[str, Any]:
    """Return what a set's jobs share, with JSON values only, as `jobspec_to_dict` does."""
    return {spec.name: _plain(getattr(shared, spec.name)) for spec in fields(shared)}


def setspec_from_dict(document: dict[str, Any]) -> SetSpec:
    """Return what `setspec_to_dict` wrote, as `jobspec_from_dict` does."""
    values = _known(SetSpec, document)
    for key, read in (("calendars", _named_calendar), ("blackouts", _blackout), ("pools", _pool)):
        values[key] = tuple(read(each) for each in values.get(key, ()))
    return SetSpec(**values)


def config_hash(job: JobSpec) -> str:
    """Return hex digits that are equal for equal definitions, on every host and in every process."""
    return hashlib.sha256(canonical_json(job).encode()).hexdigest()[:HASH_HEX_DIGITS]


def canonical_json(job: JobSpec) -> str:
    """Return the one JSON text of a definition: keys sorted, no blanks, ASCII."""
    return json.dumps(jobspec_to_dict(job), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    """Turn one field into JSON values; a dict is the user's own (`kwargs`, `env`) and already is."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, _VALUES):
        return {spec.name: _plain(getattr(value, spec.name)) for spec in fields(value)}
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.value if isinstance(value, StrEnum) else value


def _brief(value: Any) -> Any:
    """Do as `_plain` does, and leave out what is as it is by default."""
    if isinstance(value, tuple):
        return [_brief(item) for item in value]
    if not isinstance(value, (JobSpec, *_VALUES)):
        return _plain(value)
    told = ((spec, getattr(value, spec.name)) for spec in fields(value))
    return {spec.name: _brief(given) for spec, given in told if not _is_default(spec, given)}


def _is_default(spec: Field[Any], given: Any) -> bool:
    default = spec.default if spec.default_factory is MISSING else spec.default_factory()
    return default is not MISSING and type(given) is type(default) and given == default


def _known(model: type[Any], document: dict[str, Any]) -> dict[str, Any]:
    names = _NAMES[model]
    return {name: value for name, value in document.items() if name in names}


_NAMES: dict[type[Any], frozenset[str]] = {
    model: frozenset(spec.name for spec in fields(model)) for model in (JobSpec, SetSpec, *_VALUES)
}
_duration = functools.lru_cache(DURATIONS_MAX)(parse)
"""Thousands of definitions have a dozen durations among them."""
_duration_or_none = functools.lru_cache(DURATIONS_MAX)(parse_or_none)


def _convert(values: dict[str, Any], keys: tuple[str, ...], read: Any) -> None:
    """Read the keys that are there in place; None stands for itself only where `read` is never given it."""
    for key in keys:
        if values.get(key) is not None:
            values[key] = read(values[key])


def schedule_from_dict(document: dict[str, Any]) -> ScheduleSpec:
    """Return the schedule of a definition, where nothing else of it is wanted: `document["schedule"]`."""
    values = _known(ScheduleSpec, document)
    _convert(values, ("every",), parse)
    _convert(values, ("anchor", "at"), datetime.fromisoformat)
    _convert(values, ("dst",), Dst)
    _convert(values, ("calendar",), lambda calendar: CalendarSpec(**_known(CalendarSpec, calendar)))
    _convert(values, ("use_calendar",), _named_calendar)
    _convert(values, ("calendar_rule",), CalendarRule)
    _convert(values, ("also",), lambda also: tuple(schedule_from_dict(each) for each in also))
    return ScheduleSpec(**values)


def _named_calendar(document: dict[str, Any]) -> NamedCalendar:
    values = _known(NamedCalendar, document)
    _convert(values, ("days", "yearly", "weekdays"), tuple)
    return NamedCalendar(**values)


def _blackout(document: dict[str, Any]) -> BlackoutSpec:
    values = _known(BlackoutSpec, document)
    _convert(values, ("start", "end"), datetime.fromisoformat)
    _convert(values, ("schedule",), schedule_from_dict)
    _convert(values, ("duration",), parse)
    _convert(values, ("jobs", "tags", "queues"), tuple)
    _convert(values, ("policy",), BlackoutPolicy)
    return BlackoutSpec(**values)


def _pool(document: dict[str, Any]) -> PoolSpec:
    return PoolSpec(**_known(PoolSpec, document))


def _param(document: dict[str, Any]) -> ParamSpec:
    values = _known(ParamSpec, document)
    _convert(values, ("choices",), tuple)
    return ParamSpec(**values)
