"""An ICS file to the days its events take: all-day and timed ones, repeated by their rules."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jobsup.config.report import shown
from jobsup.errors import Problem

FILE_BYTES_MAX = 4 << 20
EVENTS_MAX = 5000
PROBLEMS_MAX = 20
"""Of one file; the others are told once these are gone."""
YEAR_FIRST, YEAR_LAST = 2000, 2099
"""Events are laid out over these years."""
_LINE = re.compile(r"[A-Za-z0-9-]+[;:]")
_BEGIN_EVENT = re.compile(r"BEGIN:VEVENT\s*", re.IGNORECASE)
_FINE_RULE = re.compile(r"FREQ=(SECONDLY|MINUTELY|HOURLY)|BY(SECOND|MINUTE|HOUR)=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IcsDays:
    """The days of a file: ranges as ordinals of their first and last date, and dates of each year."""

    days: tuple[tuple[int, int], ...] = ()
    yearly: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Event:
    """One VEVENT, and the line it begins in."""

    line: int
    component: Any

    @property
    def rules(self) -> list[str]:
        rules = self.component.get("RRULE", [])
        return [each.to_ical().decode() for each in (rules if isinstance(rules, list) else [rules])]

    @property
    def repeats(self) -> bool:
        return any(key in self.component for key in ("RRULE", "RDATE", "RECURRENCE-ID"))


def read_ics(path: Path, file: str, zone: str, now: datetime) -> IcsDays:
    """Read the file at `path`, called `file` in messages. Raises OSError when it cannot be read.

    An event takes every day that it touches. Times in UTC are looked at in the zone that the file names, else in
    `zone`. A date that comes in every year from this one on is one of each year.
    """
    text = _read(path)
    if text is None:
        return _refused(file, None, "is not UTF-8 text")
    if fault := _structure_fault(text):
        return _refused(file, *fault)
    from icalendar import Calendar

    try:
        calendar = Calendar.from_ical(text)
    except Exception as error:  # noqa: BLE001  # as below
        return _refused(file, None, f"is not an ICS file: {' '.join(str(error).split())}")
    events = _events(calendar, text)
    if len(events) > EVENTS_MAX:
        return _refused(file, None, f"has {len(events)} events, more than the {EVENTS_MAX} allowed")
    problems, days = [], set[tuple[int, int]]()
    for group in _groups(events):
        try:
            days.update(_days(group, calendar, _zone(calendar, zone)))
        except Exception as error:  # noqa: BLE001  # the libraries raise whatever a broken event leads them to
            problems.append(Problem(_sentence(error), file, line=group[0].line))
    ranges, yearly = _fold(days, now.year)
    return IcsDays(ranges, yearly, tuple(problems[:PROBLEMS_MAX]))


def _read(path: Path) -> str | None:
    """Return the text, None when it is none; a pipe or a device is not waited on."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is not a regular file")
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise OSError(0, f"it is larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _structure_fault(text: str) -> tuple[int, str] | None:
    """Return the first line that is no content line, or does not close what was opened; the library names no lines."""
    open_: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line[0] in " \t":
            continue
        if not _LINE.match(line):
            return number, f"is not a line of an ICS file: {shown(line)}"
        key, _, value = line.partition(":")
        if key.upper() == "BEGIN":
            open_.append(value.strip().upper())
        elif key.upper() == "END" and (not open_ or open_.pop() != value.strip().upper()):
            return number, f"END:{value.strip()} closes nothing that is open"
        if len(open_) == 1 and open_[0] != "VCALENDAR":
            return number, f"BEGIN:{open_[0]} stands outside of BEGIN:VCALENDAR"
    return (text.count("\n") + 1, f"BEGIN:{open_[-1]} is not closed") if open_ else None


def _events(calendar: Any, text: str) -> list[_Event]:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _BEGIN_EVENT.fullmatch(line)]
    return [_Event(line, component) for line, component in zip(lines, calendar.walk("VEVENT"), strict=False)]


def _groups(events: list[_Event]) -> list[list[_Event]]:
    """Put the events of one UID together: some of them change single repeats of another."""
    groups: dict[str, list[_Event]] = defaultdict(list)
    for number, event in enumerate(events):
        uid = str(event.component.get("UID", ""))
        groups[f"uid {uid}" if uid and event.repeats else f"event {number}"].append(event)
    return list(groups.values())


def _days(group: list[_Event], calendar: Any, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    for event in group:
        for _, message in event.component.errors:
            raise ValueError(message)
        if "DTSTART" not in event.component:
            raise ValueError("the event has no DTSTART")
        for rule in event.rules:
            if fine := _FINE_RULE.search(rule):
                raise ValueError(f"RRULE {shown(rule)}: {fine[0]} is finer than days; write FREQ=DAILY or slower")
    for occurrence in _occurrences(group, calendar):
        if str(occurrence.get("STATUS", "")).upper() != "CANCELLED":
            yield _touched(occurrence, zone)


def _occurrences(group: list[_Event], calendar: Any) -> list[Any]:
    if not any(event.repeats for event in group):
        return [event.component for event in group]
    import recurring_ical_events
    from icalendar import Calendar

    alone = Calendar()
    for zone in calendar.walk("VTIMEZONE"):
        alone.add_component(zone)
    for event in group:
        alone.add_component(event.component)
    return list(recurring_ical_events.of(alone).between(date(YEAR_FIRST, 1, 1), date(YEAR_LAST + 1, 1, 1)))


def _touched(event: Any, zone: ZoneInfo) -> tuple[int, int]:
    """Return the first and last date that an event touches; its end is not part of it."""
    start, end = event.start, event.end
    if isinstance(start, datetime):
        first, last = (_local(each, zone) for each in (start, max(start, end - timedelta(microseconds=1))))
    else:
        first, last = start, max(start, end - timedelta(days=1))
    return first.toordinal(), last.toordinal()


def _local(instant: datetime, zone: ZoneInfo) -> date:
    """Return the date on the wall: in the event's own zone, or in `zone` for a time in UTC."""
    is_utc = instant.tzinfo is not None and (instant.tzinfo is UTC or str(instant.tzinfo) == "UTC")
    return (instant.astimezone(zone) if is_utc else instant).date()


def _zone(calendar: Any, zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(str(calendar.get("X-WR-TIMEZONE", zone)))
    except (ValueError, KeyError, OSError):
        return ZoneInfo(zone)


def _fold(days: set[tuple[int, int]], this_year: int) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Tell single dates that come in every year to come from all others."""
    years: dict[str, set[int]] = defaultdict(set)
    for first, last in days:
        for day in range(first, last + 1) if last - first < 7 else ():
            found = date.fromordinal(day)
            years[found.isoformat()[5:]].add(found.year)
    yearly = {day for day, seen in years.items() if seen.issuperset(range(this_year, YEAR_LAST + 1))}
    left = (each for each in days if not _lies_in(each, yearly))
    return tuple(sorted(left)), tuple(sorted(yearly))


def _lies_in(days: tuple[int, int], yearly: set[str]) -> bool:
    first, last = days
    return last - first < 7 and all(date.fromordinal(day).isoformat()[5:] in yearly for day in range(first, last + 1))


def _refused(file: str, line: int | None, message: str) -> IcsDays:
    return IcsDays(problems=(Problem(message, file, line=line),))


def _sentence(error: Exception) -> str:
    """Write an error of the libraries on one line."""
    return f"the event cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
