"""Where in a TOML text a table or key stands: the line numbers that `tomllib` does not give.

The text must already have been read by `tomllib`, so this only follows valid TOML and never judges it.
A path is a tuple of keys and, inside arrays, positions from 0: `("job", 2, "params", "size", "default")`.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED_KEY = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r"|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,\]}#](?:[^\n,\]}#]*[^\s,\]}#])?")


class Lines:
    """The line of every table and key of one TOML text, counted from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        self._scan()

    def line(self, path: Path) -> int | None:
        """Return the line of `path`, or of the nearest table around it that has one."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return None

    def has(self, path: Path) -> bool:
        """Tell whether the text has such a table or key."""
        return path in self._lines

    def _scan(self) -> None:
        table: Path = ()
        position = self._skip(0)
        while position < len(self._text):
            if self._text[position] == "[":
                table, position = self._header(position)
            else:
                position = self._pair(table, position)
            position = self._skip(position)

    def _header(self, position: int) -> tuple[Path, int]:
        """Read `[a.b]` or `[[a.b]]`; a name on the way that is an array of tables means its last one."""
        brackets = 2 if self._text.startswith("[[", position) else 1
        keys, end = self._keys(position + brackets)
        path: Path = ()
        for key in keys[:-1]:
            self._lines.setdefault((*path, key), self._line_at(position))
            path = self._last((*path, key))
        path = (*path, keys[-1])
        if brackets == 2:
            self._lines.setdefault(path, self._line_at(position))
            index = self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, index)
        self._lines.setdefault(path, self._line_at(position))
        return path, end + brackets

    def _last(self, path: Path) -> Path:
        return (*path, self._counts[path]) if path in self._counts else path

    def _pair(self, table: Path, position: int) -> int:
        keys, end = self._keys(position)
        path = table
        for key in keys:
            path = (*path, key)
            self._lines.setdefault(path, self._line_at(position))
        return self._value(path, self._skip(end + 1))

    def _keys(self, position: int) -> tuple[list[str], int]:
        """Read a dotted key; returns its parts and the position of what follows it (`=` or `]`)."""
        keys = []
        while True:
            position = self._after(_SPACE, position)
            quoted = _QUOTED_KEY.match(self._text, position)
            end = quoted.end() if quoted else self._after(_BARE_KEY, position)
            part = self._text[position:end]
            keys.append(_unquoted(part) if quoted else part)
            position = self._after(_SPACE, end)
            if not self._text.startswith(".", position):
                return keys, position
            position += 1

    def _value(self, path: Path, position: int) -> int:
        opening = self._text[position]
        if opening in "\"'":
            return self._after(_STRING, position)
        if opening == "{":
            return self._inline_table(path, position + 1)
        if opening == "[":
            return self._array(path, position + 1)
        return self._after(_SCALAR, position)

    def _inline_table(self, path: Path, position: int) -> int:
        position = self._skip(position)
        while self._text[position] != "}":
            position = self._next(self._pair(path, position))
        return position + 1

    def _array(self, path: Path, position: int) -> int:
        index = 0
        position = self._skip(position)
        while self._text[position] != "]":
            self._lines[(*path, index)] = self._line_at(position)
            position = self._next(self._value((*path, index), position))
            index += 1
        return position + 1

    def _next(self, position: int) -> int:
        """Step over the comma, if there is one, to the next element or the closing bracket."""
        position = self._skip(position)
        return self._skip(position + 1) if self._text[position] == "," else position

    def _skip(self, position: int) -> int:
        return self._after(_BLANK, position)

    def _after(self, pattern: re.Pattern[str], position: int) -> int:
        match = pattern.match(self._text, position)
        if match is None:
            raise AssertionError(f"{pattern.pattern} expected at line {self._line_at(position)}")
        return match.end()

    def _line_at(self, position: int) -> int:
        return bisect_right(self._starts, position)


def _unquoted(part: str) -> str:
    return next(iter(tomllib.loads(f"{part} = 0")))
