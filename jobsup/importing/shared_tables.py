"""What the jobs of a set share as the tables of a main file: `[calendars.NAME]`, `[[blackout]]`, `[pools]`."""

from __future__ import annotations

from typing import Any

from jobsup.config.durations import format_duration
from jobsup.model import BlackoutPolicy, BlackoutSpec, NamedCalendar, SetSpec


def shared_tables(shared: SetSpec) -> dict[str, Any]:
    """Return the tables that give a set's calendars, blackouts and pools back; an ICS file's days stand in them."""
    tables: dict[str, Any] = {}
    if shared.pools:
        tables["pools"] = {pool.name: pool.places for pool in shared.pools}
    if shared.calendars:
        tables["calendars"] = {calendar.name: _calendar(calendar) for calendar in shared.calendars}
    if shared.blackouts:
        tables["blackout"] = [_blackout(blackout) for blackout in shared.blackouts]
    return tables


def _calendar(calendar: NamedCalendar) -> dict[str, Any]:
    days = {
        "dates": [text for text in calendar.days if "/" not in text],
        "ranges": [text.split("/") for text in calendar.days if "/" in text],
        "yearly": list(calendar.yearly),
        "weekdays": list(calendar.weekdays),
    }
    return {key: value for key, value in days.items() if value}


def _blackout(blackout: BlackoutSpec) -> dict[str, Any]:
    table: dict[str, Any] = {"name": blackout.name}
    if blackout.start is not None:
        table |= {"from": blackout.start, "until": blackout.end}
    if blackout.schedule is not None and blackout.duration is not None:
        opens = {"cron": blackout.schedule.cron, "on_calendar": blackout.schedule.on_calendar}
        table |= {key: value for key, value in opens.items() if value is not None}
        table |= {"duration": format_duration(blackout.duration), "timezone": blackout.schedule.timezone}
    covered = {"jobs": blackout.jobs, "tags": blackout.tags, "queues": blackout.queues}
    table |= {key: list(value) for key, value in covered.items() if value}
    if blackout.policy is not BlackoutPolicy.HOLD:
        table["policy"] = str(blackout.policy)
    return table
