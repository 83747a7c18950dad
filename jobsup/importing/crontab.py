"""Reading crontabs as Debian's cron does: variables, comments, entries, and the `%` of their commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from jobsup.importing.draft import Fault

CRONTAB_BYTES_MAX = 4 << 20
"""cron itself takes far fewer; this bounds what is read of a file named by mistake."""
COMMENT_LINES_MAX = 10

_BLANKS = re.compile(r"[ \t]+")
_SCHEDULE_FIELDS = 5
_SCHEDULE_LIKE = re.compile(r"(?:@[a-z_]+|[\d*][\d*/,\-]*(?:[ \t]+[\w*/,\-]+){4})[ \t]+\S", re.IGNORECASE | re.ASCII)
_LEGEND = re.compile(r"m(?:in(?:ute)?)?[ \t]+h(?:our)?[ \t]+d", re.IGNORECASE)
_ALIASES = {"@every_minute": "* * * * *"}
"""Other crons' names for schedules that need none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that runs something, with all that was said before it."""

    place: str
    schedule: str
    command: str
    """As written, `%` and all."""
    user: str | None = None
    """The user column of a system crontab."""
    variables: dict[str, str] = field(default_factory=dict)
    comment: str = ""
    """What stands directly above it."""
    is_quiet: bool = False
    """It began with `-`, with which some crons do not log it."""


def read(content: bytes, name: str, *, has_user: bool = False) -> tuple[list[Entry], list[Fault]]:
    """Return the entries of a crontab and the lines that are none; `name` is what places call the file."""
    if len(content) > CRONTAB_BYTES_MAX:
        return [], [Fault(name, f"is larger than {CRONTAB_BYTES_MAX >> 20} MiB: that is no crontab")]
    reader = _Reader(name, has_user)
    for number, line in enumerate(content.split(b"\n"), start=1):
        reader.read(number, line)
    return reader.entries, reader.faults


def variable(line: str) -> tuple[str, str] | None:
    """Read a `NAME = value` line as cron does; None: it is an entry.

    Both sides may be quoted; blanks around the sign and at the value's end do not count; nothing is expanded.
    """
    name, rest = _side(line.lstrip(" \t"), ends="= \t")
    rest = rest.lstrip(" \t")
    if name is None or not rest.startswith("="):
        return None
    text = rest[1:].strip(" \t")
    if text[:1] not in ("'", '"'):
        return name, text
    value, rest = _side(text, ends="")
    return None if value is None or rest else (name, value)


def split_percent(raw: str) -> tuple[str, str | None]:
    """Part a command from its standard input: the first bare `%` divides them, later ones are line ends."""
    command: list[str] = []
    escaped = False
    for index, char in enumerate(raw):
        if escaped:
            escaped = False
            if char == "%":
                command.pop()
        elif char == "\\":
            escaped = True
        elif char == "%":
            return "".join(command), _input(raw[index + 1 :])
        command.append(char)
    return "".join(command), None


class _Reader:
    """What is known when a line is reached."""

    def __init__(self, name: str, has_user: bool) -> None:
        self._name = name
        self._has_user = has_user
        self._variables: dict[str, str] = {}
        self._comments: list[str] = []
        self.entries: list[Entry] = []
        self.faults: list[Fault] = []

    def read(self, number: int, content: bytes) -> None:
        place = f"{self._name}:{number}"
        try:
            line = content.decode().strip(" \t\r")
        except UnicodeDecodeError:
            self.faults.append(Fault(place, "is not UTF-8 text"))
            return
        if line.startswith("#"):
            self._remember(line.lstrip("#").strip())
            return
        if "\0" in line:
            self.faults.append(Fault(place, "holds a NUL character"))
        elif line and (given := variable(line)):
            self._variables = {**self._variables, given[0]: given[1]}
        elif line:
            self._entry(place, line)
        self._comments = []

    def _remember(self, comment: str) -> None:
        """Keep a comment for the line below, unless it is a line that was switched off, or cron's legend."""
        is_line = _SCHEDULE_LIKE.match(comment) or re.match(r"[A-Z_]+=", comment) or _LEGEND.match(comment)
        if is_line:
            self._comments = []
        elif comment and len(self._comments) < COMMENT_LINES_MAX:
            self._comments.append(comment)

    def _entry(self, place: str, line: str) -> None:
        text = line.removeprefix("-").lstrip(" \t")
        words = _BLANKS.split(text, _schedule_words(text) + self._has_user)
        schedule = " ".join(words[: _schedule_words(text)])
        if len(words) <= _schedule_words(text) + self._has_user or not words[-1]:
            self.faults.append(Fault(place, self._missing(line)))
            return
        self.entries.append(
            Entry(
                place,
                _ALIASES.get(schedule.lower(), schedule),
                words[-1],
                words[-2] if self._has_user else None,
                self._variables,
                " ".join(self._comments),
                line.startswith("-"),
            )
        )

    def _missing(self, line: str) -> str:
        wanted = "minute hour day-of-month month day-of-week" + (" user" if self._has_user else "") + " command"
        shown = line if len(line) <= 60 else f"{line[:57]}..."
        return f'"{shown}" is neither NAME=value nor a whole entry: {wanted}'


def _schedule_words(text: str) -> int:
    return 1 if text.startswith("@") else _SCHEDULE_FIELDS


def _side(text: str, ends: str) -> tuple[str | None, str]:
    """Read one side of an assignment: the text and what follows it; None when there is none, or its quote is open."""
    quote = text[:1]
    if quote in ("'", '"') and quote:
        end = text.find(quote, 1)
        return (None, "") if end < 0 else (text[1:end] or None if ends else text[1:end], text[end + 1 :])
    length = next((index for index, char in enumerate(text) if char in ends), len(text))
    return text[:length] or None, text[length:]


def _input(raw: str) -> str:
    """Return what stands after the dividing `%`: a bare one ends a line, `\\%` is a per cent sign."""
    text: list[str] = []
    escaped = False
    for char in raw:
        if escaped and char != "%":
            text.append("\\")
        if char == "\\":
            escaped = True
            continue
        text.append("\n" if char == "%" and not escaped else char)
        escaped = False
    if escaped:
        text.append("\\")
    return "".join(text)
