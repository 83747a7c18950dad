"""The types of dates, times of day and zones in the schema: what TOML holds of them, and local times left naive."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import PlainValidator

from jobsup.config.fields import Refusal, read_filled_text, read_text
from jobsup.config.report import hint, shown

_YEAR_DAY = re.compile(r"[0-9]{2}-[0-9]{2}", re.ASCII)
_LEAP_YEAR = 2000
_WEEKDAY_NAMES = {
    "MON": "MONDAY",
    "TUE": "TUESDAY",
    "WED": "WEDNESDAY",
    "THU": "THURSDAY",
    "FRI": "FRIDAY",
    "SAT": "SATURDAY",
    "SUN": "SUNDAY",
}
WEEKDAYS = tuple(_WEEKDAY_NAMES)


def _zone(value: Any) -> str:
    text = read_filled_text(value)
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # KeyError: its ZoneInfoNotFoundError
        raise Refusal(f"unknown time zone {shown(text)}{hint(text, available_timezones())}") from None
    return text


def _instant(value: Any) -> datetime:
    """Read an instant or a local time; without an offset it is left naive, for the job's zone."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())  # in the job's zone, put on later
    if not isinstance(value, str):
        raise Refusal(f'must be an instant like "2027-01-31T03:00:00", not {shown(value)}')
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError as error:
        raise Refusal(
            f'{shown(value)} is not an instant like "2027-01-31T03:00:00" or "...T03:00:00Z" ({error})'
        ) from None


def _day(value: Any) -> str:
    if isinstance(value, datetime):
        raise Refusal(f"must be a date without a time, not {shown(value)}")
    if isinstance(value, date):
        return value.isoformat()
    try:
        return date.fromisoformat(read_text(value)).isoformat()
    except ValueError as error:
        raise Refusal(f'{shown(value)} is not a date like "2027-01-31" ({error})') from None


def _day_range(value: Any) -> str:
    """Read a list of a first and a last date to `first/last`."""
    if not isinstance(value, list) or len(value) != 2:
        raise Refusal(f'must be a first and a last date like ["2026-12-24", "2027-01-02"], not {shown(value)}')
    first, last = (_day(each) for each in value)
    if last < first:
        raise Refusal(f"{shown(value)} ends before it begins: write the earlier date first")
    return f"{first}/{last}"


def _year_day(value: Any) -> str:
    """Read a day of each year, `12-25`."""
    text = read_text(value)
    try:
        date.fromisoformat(f"{_LEAP_YEAR}-{text}" if _YEAR_DAY.fullmatch(text) else "")
    except ValueError:
        raise Refusal(f'{shown(text)} is not a day of the year: write month and day, like "12-25"') from None
    return text


def _weekday(value: Any) -> str:
    """Read `SAT`, `sat` or `Saturday` to `SAT`."""
    text = read_text(value).upper()
    for short in WEEKDAYS:
        if text in (short, _WEEKDAY_NAMES[short]):
            return short
    raise Refusal(f"{shown(value)} is not a weekday: write one of {', '.join(WEEKDAYS)}")


def _wall_time(value: Any) -> str:
    try:
        wall = value if isinstance(value, time) else time.fromisoformat(read_text(value))
    except ValueError:
        raise Refusal(f'{shown(value)} is not a time of day like "03:00" or "03:00:30"') from None
    if wall.tzinfo is not None or wall.microsecond:
        raise Refusal(f"{shown(value)} must be whole seconds without an offset: the job has a `timezone`")
    return wall.isoformat()


TimeZone = Annotated[str, PlainValidator(_zone)]
Instant = Annotated[datetime, PlainValidator(_instant)]
Day = Annotated[str, PlainValidator(_day)]
DayRange = Annotated[str, PlainValidator(_day_range)]
YearDay = Annotated[str, PlainValidator(_year_day)]
Weekday = Annotated[str, PlainValidator(_weekday)]
WallTime = Annotated[str, PlainValidator(_wall_time)]
