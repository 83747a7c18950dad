"""Drafts as the text of a TOML file, with their notes as comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tomli_w

from jobsup.importing.draft import Draft, Fault

COMMENT_CHARS_MAX = 400
"""A longer line of a comment is cut: it repeats what stands in the source."""

HEADING = "[[job]]"
_LONG = {"_": "-" * 200}
"""A table beside which tomli-w writes short ones out too, instead of an array of inline tables."""


def write(drafts: Sequence[Draft], faults: Iterable[Fault] = (), *, header: Sequence[str] = ()) -> str:
    """Return the text; what could not be taken over stands at its end as comments."""
    parts = [_comments(header)] if header else []
    parts += [_comments([f"{draft.place}: {note}" for note in draft.notes]) + table(draft.table) for draft in drafts]
    missing = [f"not taken over: {fault}" for fault in faults]
    if missing:
        parts.append(_comments(missing))
    return "\n".join(part for part in parts if part)


def document(values: dict[str, Any]) -> str:
    """Return tables of any kind."""
    return tomli_w.dumps(values)


def table(values: dict[str, Any]) -> str:
    """Return one `[[job]]` table."""
    # tomli-w would turn a CR LF into a LF in a text of several lines.
    text = tomli_w.dumps({"job": [values, _LONG]}, multiline_strings="\r" not in repr_of(values))
    return text.rpartition(f"\n{HEADING}\n")[0]


def repr_of(value: Any) -> str:
    """Return all texts in a value, one after the other."""
    if isinstance(value, str):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return "".join(repr_of(item) for item in items)


def _comments(lines: Iterable[str]) -> str:
    return "".join(f"# {plain(line)}".rstrip() + "\n" for line in lines)


def plain(line: str) -> str:
    """Return a text on one line, cut, without control characters, as a comment may hold it."""
    text = "".join(char if char.isprintable() else " " for char in line)
    return text if len(text) <= COMMENT_CHARS_MAX else f"{text[: COMMENT_CHARS_MAX - 3]}..."
