"""Text for a terminal: what a job may have written made harmless, tables, colours, JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

ESCAPE_CHARS_MAX = 256
"""An escape sequence longer than this is taken for text, so that a stray one swallows nothing."""

_ESCAPES = (
    rf"\x1b\[[0-?]{{0,{ESCAPE_CHARS_MAX}}}[ -/]{{0,8}}[@-~]"  # colours, cursor movements
    rf"|\x1b[\]PX^_][^\x07\x1b\n]{{0,{ESCAPE_CHARS_MAX}}}(?:\x07|\x1b\\)"  # window titles, links
    r"|\x1b[ -/]{1,8}[0-~]|\x1b[0-~]"
)
_ONE_LINE = re.compile(_ESCAPES + r"|[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LINES = re.compile(_ESCAPES + r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile(r"\r+\n|\r")
_BLANKS = str.maketrans({"\n": " ", "\r": " ", "\t": " "})

PARTIAL_ESCAPE = re.compile(rf"(?:\x1b[^\x07\n]{{0,{ESCAPE_CHARS_MAX}}}|\r+)\Z")
"""The end of a piece of text that may be the beginning of a sequence."""


def clean(text: str) -> str:
    """Return the text on one line, without anything a terminal would obey."""
    return _ONE_LINE.sub("", text.translate(_BLANKS))


def clean_lines(text: str) -> str:
    """Return the text with its lines and tabs, without anything else a terminal would obey."""
    return _LINES.sub("", _LINE_ENDS.sub("\n", text))


def colour(text: str, **style: Any) -> str:
    """Dress text up when standard output is a terminal and NO_COLOR is not set."""
    return click.style(text, **style) if has_colour() else text


def has_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


_STATUS_COLOURS = {
    **dict.fromkeys(("COMPLETED", "running", "ready", "IDLE"), "green"),
    **dict.fromkeys(("FAILED", "TIMEOUT", "degraded", "backoff", "config_fault"), "red"),
    **dict.fromkeys(("SKIPPED", "CANCELLED", "OFFLINE", "paused", "draining", "DRAINING"), "yellow"),
    **dict.fromkeys(("IN_PROGRESS", "BUSY"), "cyan"),
}


def status(word: str) -> str:
    """Return a status in its colour."""
    return colour(word, fg=_STATUS_COLOURS.get(word))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows out in columns; cells may carry colour."""
    cells = [[colour(header, bold=True) for header in headers], *(list(row) for row in rows)]
    widths = [max(len(click.unstyle(row[column])) for row in cells) for column in range(len(headers))]
    lines = []
    for row in cells:
        padded = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Lay out names and what they are, one a line."""
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"{colour(name.rjust(width), bold=True)}: {value}" for name, value in listed)


def print_json(document: dict[str, Any]) -> None:
    """Print a versioned document: indented for a person, on one line for a program."""
    shape = {"schema": 1, **document}
    click.echo(json.dumps(shape, indent=2 if sys.stdout.isatty() else None, allow_nan=False))


def say(text: str) -> None:
    """Tell a person something on standard error, where it is no data."""
    click.echo(text, err=True)


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
