"""When a job has to be looked at next, and which rules of time zones that answer depends on."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from jobsup.errors import ScheduleError
from jobsup.model import ScheduleSpec
from jobsup.schedule.base import Schedule
from jobsup.schedule.zones import fingerprint

SKIPS_AHEAD = timedelta(days=366)
"""How far ahead a job without a next tick is looked through for ticks that must be told as SKIPPED."""
RULES_REMEMBERED_MAX = 4096


def next_due(schedule: Schedule, after: datetime) -> datetime | None:
    """Return when a job is due next: its next tick, or the end of ticks before it that are told as SKIPPED."""
    tick = schedule.next_after(after)
    skip = next(schedule.skips(after, tick or after + SKIPS_AHEAD), None)
    return tick if skip is None else skip.last


def zone_rules(spec: ScheduleSpec, at: datetime) -> str | None:
    """Return a text that tells which rules of its zones a tick computed `at` rests on; None: on those of none.

    It can be checked without the schedule: see `are_current`.
    """
    try:
        zones = {zone for each in (spec, *spec.also) for zone in _zones(each)} - {"UTC"}
        return ",".join(f"{zone}@{at.year}={_fingerprint(zone, at.year)}" for zone in sorted(zones)) or None
    except ScheduleError:
        return None  # a zone that this host does not know has no rules


def are_current(rules: str) -> bool:
    """Say whether the tz database still says what `zone_rules` saw."""
    try:
        return all(_is_current(part) for part in rules.split(","))
    except (ScheduleError, ValueError):
        return False


def _is_current(part: str) -> bool:
    zone, _, told = part.partition("@")
    year, _, seen = told.partition("=")
    return _fingerprint(zone, int(year)) == seen


def _zones(spec: ScheduleSpec) -> set[str]:
    if spec.cron is None and spec.calendar is None and spec.on_calendar is None and spec.use_calendar is None:
        return set()  # counted in real time, or a single instant
    if spec.on_calendar is None:
        return {spec.timezone}
    from jobsup.schedule.on_calendar import parse_on_calendar

    return {parse_on_calendar(spec.on_calendar).timezone or spec.timezone, spec.timezone}


@lru_cache(maxsize=RULES_REMEMBERED_MAX)
def _fingerprint(zone: str, year: int) -> str:
    return fingerprint(zone, year)
