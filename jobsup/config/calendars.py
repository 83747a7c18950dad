"""`[calendars.NAME]` tables to named calendars: what each says itself, its ICS file, and the calendars it includes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from jobsup.config import names, places
from jobsup.config.moments import WEEKDAYS
from jobsup.config.report import Place, Report, hint, shown
from jobsup.config.schema import NamedCalendarTable, check_table
from jobsup.config.source import Source
from jobsup.model import NamedCalendar

CALENDARS_MAX = 1000
DAYS_MAX = 20_000
"""Dates and ranges of one calendar; each job that uses it carries them."""

Days = tuple[int, int]
"""A first and a last date, as ordinals."""


@dataclass(frozen=True)
class Draft:
    """A calendar as written, before what it includes is put in."""

    place: Place
    days: tuple[Days, ...]
    yearly: frozenset[str]
    weekdays: frozenset[str]
    include: tuple[str, ...]


def read_calendars(source: Source, zone: str, now: datetime, report: Report) -> dict[str, NamedCalendar]:
    """Return the calendars of the main file by name; what is wrong with them goes to `report`.

    `zone` is where an ICS file's times in UTC are looked at when it names no zone. A calendar with a problem is
    returned with what is right of it, so that a job that names it has no problem of its own.
    """
    written = source.data.get("calendars", {})
    if not isinstance(written, dict) or len(written) > CALENDARS_MAX:
        said = f"has {len(written)} calendars" if isinstance(written, dict) else f"is {shown(written)}"
        place = source.place("[calendars]", "calendars")
        report.add(place.problem(f"{said}: write at most {CALENDARS_MAX} tables, [calendars.NAME]"))
        return {}
    drafts = {name: _draft(source, name, table, zone, now, report) for name, table in written.items()}
    return {name: _resolved(name, drafts, report) for name in drafts}


def _draft(  # noqa: PLR0917  # what is read, and what it is read for
    source: Source, name: str, table: Any, zone: str, now: datetime, report: Report
) -> Draft:
    place = source.place(f"[calendars.{name}]", "calendars", name)
    if message := names.fault(name):
        report.add(place.problem(message))
    if not isinstance(table, dict):
        report.add(place.problem(f"must be a table, [calendars.{name}], not {shown(table)}"))
        table = {}
    checked = check_table(NamedCalendarTable, table, place)
    report.add(*checked.problems)
    values = checked.values
    days = [_ordinals(text) for text in (*values.get("dates", ()), *values.get("ranges", ()))]
    yearly = set(values.get("yearly", ()))
    if "ics" in values:
        more, each_year = _from_ics(source, place, values["ics"], zone, now, report)
        days += more
        yearly |= each_year
    if not table:
        report.add(place.problem("has no days: add dates, ranges, yearly, weekdays, ics or include", warning=True))
    include = tuple(dict.fromkeys(values.get("include", ())))
    return Draft(place, tuple(days), frozenset(yearly), frozenset(values.get("weekdays", ())), include)


def _from_ics(  # noqa: PLR0917  # where the file stands, what it is read for
    source: Source, place: Place, path: str, zone: str, now: datetime, report: Report
) -> tuple[list[Days], set[str]]:
    from jobsup.config.ics import read_ics

    absolute = places.absolute(path, source.folder)
    file = absolute if Path(path).is_absolute() else str(Path(source.file).parent / path)
    try:
        found = read_ics(Path(absolute), file, zone, now)
    except OSError as error:
        report.add(place.problem(f"{absolute} cannot be read: {error.strerror or error}", "ics"))
        return [], set()
    report.add(*found.problems)
    return list(found.days), set(found.yearly)


def _resolved(name: str, drafts: dict[str, Draft], report: Report) -> NamedCalendar:
    """Put what a calendar includes into it."""
    own = drafts[name]
    for index, other in enumerate(own.include):
        if other not in drafts:
            message = f"there is no calendar {shown(other)}{hint(other, drafts)}"
            report.add(own.place.problem(message, "include", index))
    reached = _reached(name, drafts)
    circle = _circle(name, drafts)
    if circle and name == min(circle):  # one line for one circle
        report.add(own.place.problem(f"includes itself: {' -> '.join(circle)}", "include"))
    days = _merged(each for draft in reached for each in draft.days)
    if len(days) > DAYS_MAX:
        report.add(own.place.problem(f"has {len(days)} dates and ranges, more than the {DAYS_MAX} allowed"))
        days = []
    return NamedCalendar(
        name=name,
        days=tuple(_text(each) for each in days),
        yearly=tuple(sorted({day for draft in reached for day in draft.yearly})),
        weekdays=tuple(day for day in WEEKDAYS if any(day in draft.weekdays for draft in reached)),
    )


def _reached(name: str, drafts: dict[str, Draft]) -> list[Draft]:
    """Return a calendar and all that it includes, directly or through others, each once."""
    seen, waiting = {name}, [name]
    while waiting:
        fresh = [each for each in drafts[waiting.pop()].include if each in drafts and each not in seen]
        seen.update(fresh)
        waiting += fresh
    return [draft for each, draft in drafts.items() if each in seen]


def _circle(name: str, drafts: dict[str, Draft]) -> list[str]:
    """Return the shortest way by which a calendar includes itself; nothing when it does not."""
    ways, seen = [[name]], set[str]()
    while ways:
        way = ways.pop(0)
        for each in drafts[way[-1]].include:
            if each == name:
                return [*way, name]
            if each in drafts and each not in seen:
                seen.add(each)
                ways.append([*way, each])
    return []


def _merged(days: Iterable[Days]) -> list[Days]:
    """Join ranges that overlap or touch, in order."""
    merged: list[Days] = []
    for first, last in sorted(days):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _ordinals(text: str) -> Days:
    first, _, last = text.partition("/")
    return date.fromisoformat(first).toordinal(), date.fromisoformat(last or first).toordinal()


def _text(days: Days) -> str:
    first, last = (date.fromordinal(day).isoformat() for day in days)
    return first if first == last else f"{first}/{last}"
