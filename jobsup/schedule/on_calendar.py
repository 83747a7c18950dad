"""systemd's calendar expressions: read by the `oncalendar` library, walked by our own almanac.

The library's walk is not used: with a zone it answers a question asked in the second pass of a repeated hour with
an instant that is past, and it cannot count or go back. Where its reading is not systemd's it is mended before:

* `5..5/2` is the one value 5, not 5 and all that follow;
* `~2..13/2` steps from the lower number, the day nearest to the month's end;
* a step with no second value (`0/60` minutes, `~7/7`) is refused;
* `semi-annually`, `biannually`, `bi-annually`, `anually` and the zone `utc` are known.

`@seconds` and fractions of a second are refused with a hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import zip_longest
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
_TIME_BOUNDS = (23, 59, 59)
_DATE_BOUNDS = (2199, 12, 31)
_STEPPED = re.compile(r"([0-9]{1,9})(?:\.\.([0-9]{1,9}))?/([0-9]{1,9})")


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
    if head and tail[0].isalpha() and ("/" in tail or not _is_weekday(tail)):
        return head.strip(), "UTC" if tail.upper() == "UTC" else tail
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
    words = _ALIASES.get(expression.lower()) or " ".join(_mended(word) for word in expression.split())
    try:
        return BaseIterator(words, datetime(1970, 1, 1))  # noqa: DTZ001 - the library's wall time, never asked
    except (OnCalendarError, ScheduleError, ValueError, IndexError) as error:
        raise ScheduleError(
            f"on_calendar {shown(text)}: {str(error).lower()};"
            ' write it like "Mon..Fri *-*-* 09:00:00", in whole seconds'
        ) from None


def _mended(word: str) -> str:
    """Write the steps of a time or a date as the library reads them right."""
    if ":" in word:
        parts = word.split(":")
        return ":".join(_mended_list(part, bound) for part, bound in zip_longest(parts, _TIME_BOUNDS[: len(parts)]))
    if word[:1].isdigit() or word[:1] == "*":
        date_part, tilde, days = word.partition("~")
        parts = date_part.split("-")
        bounds = _DATE_BOUNDS[: 2 if tilde else 3][-len(parts) :]
        dates = "-".join(_mended_list(part, bound) for part, bound in zip_longest(parts, bounds))
        return dates + (f"~{_mended_list(days, 31, from_end=True)}" if tilde else "")
    return word


def _mended_list(text: str, bound: int | None, *, from_end: bool = False) -> str:
    return ",".join(_mended_item(item, bound or 0, from_end) for item in text.split(","))


def _mended_item(item: str, bound: int, from_end: bool) -> str:
    """Spell out `a..b/n`, and `a/n` that counts towards a month's end; refuse a step that has nowhere to go."""
    found = _STEPPED.fullmatch(item)
    if found is None or int(found[3]) == 0:
        return item
    start, step = int(found[1]), int(found[3])
    if found[2] is not None:
        end = int(found[2])
        return ",".join(map(str, range(start, end + 1, step))) if start <= end <= bound else item
    if (start - step < 1) if from_end else (start + step > bound):
        raise ScheduleError(f"{item} has a step but no second value")
    return ",".join(map(str, range(start, 0, -step))) if from_end else item


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
