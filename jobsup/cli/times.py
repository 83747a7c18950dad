"""Instants and durations as a person types and reads them.

`2026-11-23T19:05:00Z` (RFC 3339; without an offset, or as a date only: local time), `02:30`, `now`, `now-2h`, `2h`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from jobsup.clock import SystemClock
from jobsup.config import durations

if TYPE_CHECKING:
    InstantType = click.ParamType[datetime]
    DurationType = click.ParamType[timedelta]
    ZoneType = click.ParamType[str]
else:  # only newer versions of click can be subscripted
    InstantType = DurationType = ZoneType = click.ParamType

PAST, FUTURE = -1, 1

_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?", re.ASCII)
_FROM_NOW = re.compile(r"now(?:\s*([+-])\s*(.+))?", re.ASCII | re.IGNORECASE)
_DAY = timedelta(days=1)


def read(written: str | None) -> datetime | None:
    """Read an instant of a document."""
    return None if written is None else datetime.fromisoformat(written)


class Instant(InstantType):
    """An instant; what names no day, or no side of now, lies on the given side of now."""

    name = "time"

    def __init__(self, side: int) -> None:
        self.side = side

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(value, SystemClock().now(), self.side)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except OverflowError:
            self.fail(f"{value!r} is outside the years 1 to 9999", param, ctx)


class Duration(DurationType):
    """A duration such as `90s` or `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return durations.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Zone(ZoneType):
    """The IANA name of a time zone."""

    name = "zone"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from jobsup.errors import ScheduleError
        from jobsup.schedule.zones import load

        try:
            load(value)
        except ScheduleError as error:
            self.fail(str(error), param, ctx)
        return value


def parse_instant(text: str, now: datetime, side: int) -> datetime:
    """Read an instant, in UTC; ValueError with one sentence, OverflowError outside the calendar."""
    stripped = text.strip()
    if match := _FROM_NOW.fullmatch(stripped):
        sign, duration = match.groups()
        return now if duration is None else now + durations.parse(duration) * (-1 if sign == "-" else 1)
    if match := _CLOCK.fullmatch(stripped):
        return _nearest(match, now, side, text)
    if stripped[:1].isdigit() and "-" not in stripped:
        return now + durations.parse(stripped) * side
    try:
        return _calendar_time(stripped).astimezone(UTC)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2026-11-23T19:05:00Z, 02:30, now-2h or 2h") from None


def _calendar_time(text: str) -> datetime:
    """Read ISO 8601; RFC 3339 allows small letters, and a naive time is local."""
    return datetime.fromisoformat(text.upper())


def _nearest(match: re.Match[str], now: datetime, side: int, text: str) -> datetime:
    """Return the last (or next) time the local clock showed (or will show) it."""
    try:
        wanted = time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError:
        raise ValueError(f"{text!r} is no time of day") from None
    today = now.astimezone().date()
    found = datetime.combine(today, wanted).astimezone(UTC)
    if (found - now) * side < timedelta(0):
        found = datetime.combine(today + _DAY * side, wanted).astimezone(UTC)
    return found


def local(instant: datetime | None, zone: str | None = None, *, nothing: str = "-") -> str:
    """Write an instant in the machine's zone or another, to the second."""
    return nothing if instant is None else written(instant, zone, "%Y-%m-%d %H:%M:%S")


def written(instant: datetime, zone: str | None, form: str) -> str:
    """Write an instant on a zone's clock; where that is past the calendar's end, in UTC."""
    try:
        return instant.astimezone(ZoneInfo(zone) if zone else None).strftime(form)
    except (OverflowError, ValueError):
        return instant.strftime(form)


def brief(duration: timedelta) -> str:
    """Write about how long that is: `0.2 s`, `42 s`, `5 m`, `3 h 20 m`, `12 d`."""
    seconds = abs(duration.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{round(seconds / 86_400)} d"


def away(instant: datetime, now: datetime) -> str:
    """Say where an instant lies seen from now: `in 5 m`, `5 m ago`."""
    return f"in {brief(instant - now)}" if instant > now else f"{brief(now - instant)} ago"
