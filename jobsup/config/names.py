"""What a job, a queue, a tag, a set or a machine may be called: words that need quoting nowhere."""

from __future__ import annotations

import re

from jobsup.config.report import shown

NAME_CHARS_MAX = 64

_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{NAME_CHARS_MAX - 1}}}", re.ASCII)


def fault(text: str) -> str | None:
    """Return the sentence that says why a text is no name, or None."""
    if _NAME.fullmatch(text):
        return None
    return (
        f"{shown(text)} is not a name: use 1 to {NAME_CHARS_MAX} letters, digits, _ . and -, "
        "without . or - at the start"
    )
