"""Sizes as people write them (`64MiB`, `1MB`, `4096`) to bytes and back, exactly."""

from __future__ import annotations

import re

SIZE_MAX = 1 << 60

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_SIZE = re.compile(r"(\d{1,20})\s*([A-Za-z]*)", re.ASCII)
_BINARY = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def parse(text: str) -> int:
    """Read a size in bytes; KB, MB, GB, TB count in thousands, KiB, MiB, GiB, TiB in 1024s.

    Raises ValueError with one sentence that holds the text.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f'"{text}" is not a size: write it like "64MiB", "1MB" or as a number of bytes')
    size = int(match[1]) * unit
    if size > SIZE_MAX:
        raise ValueError(f'"{text}" is more than the {format_size(SIZE_MAX)} allowed')
    return size


def format_size(size: int) -> str:
    """Write a number of bytes so that `parse` reads the very same one back: `1MiB`, `1000`."""
    for unit, scale in _BINARY:
        if size >= scale and size % scale == 0:
            return f"{size // scale}{unit}"
    return str(size)
