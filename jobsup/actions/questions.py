"""A schedule read from JSON, with the keys that a `[[job]]` table has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobsup.config import durations
from jobsup.errors import ScheduleError
from jobsup.model import CalendarSpec, Dst, JobSpec, ScheduleSpec

N_MAX = 10_000
N_DEFAULT = 5

QUESTION_KEYS = ("after", "n")
SCHEDULE_KEYS = tuple(spec.name for spec in fields(ScheduleSpec))
_JOB_KEYS = tuple(spec.name for spec in fields(JobSpec))
_KINDS = ("cron", "every", "calendar", "on_calendar", "at")


def schedule_from_json(document: dict[str, Any], default_zone: str) -> ScheduleSpec:
    """Return the schedule an object holds, or its several; ScheduleError names the key and what it must be."""
    further = [_one(document | each, default_zone) for each in _further(document)]
    has_own = any(document.get(kind) is not None for kind in _KINDS)
    if not has_own and not further:
        raise ScheduleError(f"no schedule: give one of {', '.join(_KINDS)}")
    first, *others = [*([_one(document, default_zone)] if has_own else []), *further]
    return replace(first, also=tuple(others))


def _further(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what each table of `schedules` says in place of the job's own schedule."""
    tables = document.get("schedules")
    if tables is None:
        return
    if not isinstance(tables, list):
        raise ScheduleError(f"schedules: must be a list of objects, not {tables!r:.60}")
    for number, table in enumerate(tables):
        if not isinstance(table, dict) or all(table.get(kind) is None for kind in _KINDS):
            raise ScheduleError(f"schedules[{number}]: must be an object with one of {', '.join(_KINDS)}")
        yield {**dict.fromkeys((*_KINDS, "anchor")), **table}


def _one(document: dict[str, Any], default_zone: str) -> ScheduleSpec:
    zone = _text(document, "timezone")
    if zone is None:
        zone = default_zone
    dst = _text(document, "dst") or Dst.CRON
    if dst not in tuple(Dst):
        raise ScheduleError(f"dst: must be one of {', '.join(Dst)}, not {dst!r}")
    return ScheduleSpec(
        cron=_text(document, "cron"),
        every=_every(document.get("every")),
        anchor=_instant(document, "anchor", zone),
        calendar=_calendar(document.get("calendar")),
        on_calendar=_text(document, "on_calendar"),
        at=_instant(document, "at", zone),
        timezone=zone,
        dst=Dst(dst),
    )


def question_from_json(document: dict[str, Any], now: datetime) -> tuple[datetime, int]:
    """Return after which instant, and how many ticks, are asked for."""
    n = document.get("n", N_DEFAULT)
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= N_MAX:
        raise ScheduleError(f"n: must be a whole number from 0 to {N_MAX}, not {n!r}")
    after = _text(document, "after")
    if after is None:
        return now, n
    instant = _parsed("after", after)
    if instant.tzinfo is None:
        raise ScheduleError(f"after: {after!r} has no offset: write it like 2026-11-23T19:05:00Z")
    return instant, n


def unknown_keys(document: dict[str, Any]) -> list[str]:
    """Return the keys that neither a job nor a question has, in the order they stand."""
    known = {*QUESTION_KEYS, *SCHEDULE_KEYS, *_JOB_KEYS, "schedules"}
    return [key for key in document if key not in known]


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise ScheduleError(f"{key}: must be text, not {value!r:.60}")
    return value


def _every(value: Any) -> timedelta | None:
    """Read "90s", or a number of seconds."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return durations.parse(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return timedelta(seconds=value)
    except (ValueError, OverflowError) as error:
        raise ScheduleError(f"every: {error}") from None
    raise ScheduleError(f'every: must be a duration like "90s", or seconds, not {value!r:.60}')


def _calendar(value: Any) -> CalendarSpec | None:
    if value is None:
        return None
    known = {spec.name: type(spec.default) for spec in fields(CalendarSpec)}
    if not isinstance(value, dict):
        raise ScheduleError(f"calendar: must be an object with {', '.join(known)}, not {value!r:.60}")
    for key, each in value.items():
        if key not in known:
            raise ScheduleError(f"calendar: unknown key {key!r:.60}: it has {', '.join(known)}")
        if type(each) is not known[key]:
            kind = "text" if known[key] is str else "a whole number"
            raise ScheduleError(f"calendar.{key}: must be {kind}, not {each!r:.60}")
    return CalendarSpec(**value)


def _instant(document: dict[str, Any], key: str, zone: str) -> datetime | None:
    """Read an instant; without an offset it is a time on the zone's wall clock."""
    text = _text(document, key)
    if text is None:
        return None
    instant = _parsed(key, text)
    if instant.tzinfo is not None:
        return instant
    from jobsup.schedule.zones import load

    load(zone)  # says what is wrong with an unknown one
    return instant.replace(tzinfo=ZoneInfo(zone))


def _parsed(key: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip().upper())
    except ValueError:
        raise ScheduleError(f"{key}: {text[:60]!r} is no time like 2026-11-23T19:05:00Z") from None
