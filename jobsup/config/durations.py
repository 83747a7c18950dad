"""Durations as people write them (`90s`, `1h30m`, `none`) to `timedelta` and back, exactly."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

NONE = "none"
DURATION_MAX = timedelta(days=36_525)
TEXT_CHARS_MAX = 64

_MICROSECONDS = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|[wdhms])\s*", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def parse(text: str) -> timedelta:
    """Read `"1h30m"`, `"500ms"`, `"1.5s"`; units w d h m s ms us, each at most once, from large to small.

    Raises ValueError with one sentence that holds the text.
    """
    total = Decimal(0)
    position = 0
    smallest = None
    stripped = text.strip()
    if len(stripped) > TEXT_CHARS_MAX:
        raise ValueError(f'"{stripped[:20]}..." is too long for a duration: write it like "30s" or "1h30m"')
    while position < len(stripped):
        part = _PART.match(stripped, position)
        if part is None:
            break
        scale = _MICROSECONDS[part[2]]
        if smallest is not None and scale >= smallest:
            raise ValueError(f'"{text}" is not a duration: write its units once each, from large to small')
        total += Decimal(part[1]) * scale
        smallest = scale
        position = part.end()
    if smallest is None or position < len(stripped):
        raise ValueError(_not_a_duration(text, stripped))
    return _from_microseconds(total, text)


def parse_or_none(text: str) -> timedelta | None:
    """Read a duration, or `"none"` as None."""
    return None if text.strip().lower() == NONE else parse(text)


def parse_environment(text: str) -> timedelta:
    """Read a duration from an environment variable, where a plain number is seconds."""
    stripped = text.strip()
    if len(stripped) <= TEXT_CHARS_MAX and _NUMBER.fullmatch(stripped):
        return _from_microseconds(Decimal(stripped) * _MICROSECONDS["s"], text)
    return parse(text)


def format_duration(duration: timedelta | None) -> str:
    """Write a duration so that `parse_or_none` reads the very same one back: `1h30m`, `0s`, `none`."""
    if duration is None:
        return NONE
    rest = duration // timedelta(microseconds=1)
    if rest < 0:
        raise ValueError(f"{duration} is negative: durations are not")
    parts = []
    for unit, scale in _MICROSECONDS.items():
        if unit == "w" and rest % scale:
            continue  # "8d" reads better than "1w1d"
        count, rest = divmod(rest, scale)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _from_microseconds(total: Decimal, text: str) -> timedelta:
    if total != total.to_integral_value():
        raise ValueError(f'"{text}" is finer than a microsecond')
    if total > DURATION_MAX // timedelta(microseconds=1):
        raise ValueError(f'"{text}" is longer than the {DURATION_MAX.days} days allowed')
    return timedelta(microseconds=int(total))


def _not_a_duration(text: str, stripped: str) -> str:
    if _NUMBER.fullmatch(stripped):
        return f'"{text}" has no unit: write "{stripped}s" for seconds'
    return f'"{text}" is not a duration: write it like "30s", "1h30m" or "2d"'
