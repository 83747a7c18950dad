"""systemd's calendar expressions: read by the `oncalendar` library, walked by our own almanac.

The library reads the grammar well. Its walk is not used: with a zone it answers a question asked in the second
pass of a repeated hour with an instant that is past, and it cannot count or go back. What it does not know is
mended here: `semi-annually`, `biannually`, `bi-annually`, `anually`; `@seconds` and fractions of a second are
refused with a hint.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from jobsup.errors import ScheduleError
from jobsup.schedule.almanac import Almanac
from jobsup.schedule.fields import shown

EXPRESSION_CHARS_MAX = 1000
_ALIASES = {
    "semi-annually": "semiannually",
    "biannually": "semiannually",
    "bi-annually": "semiannually",
    "anually": "annually",
}
_AREA_MARK = "/"
_TIME_DIGITS = frozenset("0123456789*~.,:-/")


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An expression's wall times, and the zone it names, if it does."""

    almanac: Almanac
    timezone: str | None


def parse_on_calendar(text: str) -> CalendarEvent:
    """Read an expression; ScheduleError says what is off, and refuses what never comes."""
    expression, timezone = _split_zone(text)
    parsed = _read(expression, text)
    almanac = Almanac(
        seconds=_mask(parsed.seconds),
        minutes=_mask(parsed.minutes),
        hours=_mask(parsed.hours),
        months=_mask(parsed.months),
        days=partial(_days, frozenset(parsed.days), frozenset(parsed.weekdays)),
        years=frozenset(parsed.years),
    )
    if not almanac.ever():
        raise ScheduleError(f"on_calendar {shown(text)}: never elapses: no date between 1970 and 2199 matches")
    return CalendarEvent(almanac, timezone)


def _split_zone(text: str) -> tuple[str, str | None]:
    """Part the zone at the end from the rest: a word that is neither a time, a date nor a weekday."""
    stripped = text.strip(" \t")
    head, _, tail = stripped.replace("\t", " ").rpartition(" ")
    if head and (tail[0].isalpha() and (_AREA_MARK in tail or not _is_weekday(tail))):
        return head.strip(), tail
    return stripped, None


def _is_weekday(word: str) -> bool:
    return word[:3].lower() in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _read(expression: str, text: str) -> Any:
    from oncalendar import BaseIterator, OnCalendarError

    if len(text) > EXPRESSION_CHARS_MAX:
        raise ScheduleError(f"on_calendar: it has {len(text)} characters; at most {EXPRESSION_CHARS_MAX} are read")
    if "\n" in text or not text.isascii():
        raise ScheduleError(f"on_calendar {shown(text)}: write one expression, in ASCII")
    if expression.startswith("@"):
        raise ScheduleError(f"on_calendar {shown(text)}: for one instant write at = ... instead")
    words = _ALIASES.get(expression.lower(), expression)
    try:
        return BaseIterator(words, datetime(1970, 1, 1))  # noqa: DTZ001 - the library's wall time, never asked
    except (OnCalendarError, ValueError, IndexError) as error:
        raise ScheduleError(
            f"on_calendar {shown(text)}: {str(error).lower()};"
            ' write it like "Mon..Fri *-*-* 09:00:00", in whole seconds'
        ) from None


def _mask(values: Iterable[int]) -> int:
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


def _days(days: frozenset[int], weekdays: frozenset[int], length: int, weekday: int) -> int:
    """Return the days of a month; a negative day counts from its end, -1 being the last."""
    return _mask(
        day
        for day in range(1, length + 1)
        if (day in days or day - length - 1 in days) and (weekday + day - 1) % 7 in weekdays
    )
