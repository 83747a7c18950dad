"""Templates, and how instants, durations, sizes and statuses are written in them."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jobsup.actions.accounts import progress_document, progress_words
from jobsup.clock import rfc3339

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

GLYPHS = {
    "COMPLETED": "✓",
    "FAILED": "✕",
    "TIMEOUT": "◷",
    "CANCELLED": "⊘",
    "SKIPPED": "⇥",
    "PENDING": "○",
    "IN_PROGRESS": "▸",
}
"""A shape beside each colour, for those who do not see the colour."""

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@cache
def environment() -> Environment:
    """Make the templates' environment: everything is escaped, and a name that is not there is an error.

    One for the process: to read a template takes longer than to serve it, and nothing in it belongs to one portal.
    """
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(when=when, lasted=lasted, size=size, rfc3339=rfc3339)
    made.globals.update(glyphs=GLYPHS, static=_Static(), far_of=_far)
    return made


def harmless(value: Any) -> Any:
    """Take out of a text what no page shows and what would turn its reading direction round; markup is ours."""
    return _UNSEEN.sub("", value) if isinstance(value, str) and not isinstance(value, Markup) else value


def when(instant: datetime | None, nothing: str = "–") -> Markup:
    """Write an instant as a `<time>`; in the browser it becomes `3 min ago`, with the whole instant as its title."""
    if instant is None:
        return Markup('<span class="dim">{}</span>').format(nothing) if nothing else Markup("")  # an empty cell is one
    utc = instant.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        rfc3339(utc), utc.strftime("%Y-%m-%d %H:%M:%S"), utc.strftime("%d %b %H:%M:%S")
    )


def lasted(duration: timedelta | float | None, nothing: str = "–") -> str:
    """Write a length of time in two units at most: `1.2 s`, `3 m 12 s`, `2 h 5 m`, `4 d 1 h`."""
    if duration is None:
        return nothing
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return nothing


def size(count: int | None, nothing: str = "–") -> str:
    """Write a number of bytes: `532 B`, `1.4 MiB`."""
    if count is None:
        return nothing
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return nothing


class _Static:
    """Addresses of files in `static/` that change with their content, so that a browser may keep them for good."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
        return f"/static/{name}?v={self._known[name]}"


def context_free(**values: Any) -> dict[str, Any]:
    """Return what a template needs when there is no request: for tests of macros."""
    return {"visitor": None, "csrf": "", "may": lambda _role: True, "url": lambda path: path, **values}


def _far(run: Any) -> str:
    """Say how far a run last said it is."""
    return progress_words(progress_document(run))
