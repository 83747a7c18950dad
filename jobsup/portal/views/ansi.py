"""What a job printed, made harmless and yet coloured: bytes to pieces of plain text, each with the names of classes.

Nothing here makes HTML: the pieces become text nodes, by an escaping template or by the browser's own text functions.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobsup.model import STDERR
from jobsup.store.log_ranges import Piece

ESCAPE_CHARS_MAX = 256
"""An escape sequence longer than this is taken for text."""
SGR_CODES_MAX = 32
"""Codes of one sequence that are obeyed."""
STYLE = re.compile(r"(?:[bdiux]|[fg](?:1[0-5]|[0-9]))(?: (?:[bdiux]|[fg](?:1[0-5]|[0-9]))){0,6}", re.ASCII)
"""A style as it is written: classes for bold, dim, italic, underlined, inverse, and a colour before and behind."""

_SEQUENCE = re.compile(
    rf"\x1b\[(?P<codes>[0-?]{{0,{ESCAPE_CHARS_MAX}}})[ -/]{{0,8}}(?P<final>[@-~])"
    rf"|\x1b[\]PX^_][^\x07\x1b]{{0,{ESCAPE_CHARS_MAX}}}(?:\x07|\x1b\\)"
    r"|\x1b[ -/]{1,8}[0-~]|\x1b[0-Z\\^-~]"
)
_PARTIAL = re.compile(
    rf"\x1b(?:\[[0-?]{{0,{ESCAPE_CHARS_MAX}}}[ -/]{{0,8}}|[\]PX^_][ -~]{{0,{ESCAPE_CHARS_MAX}}}\x1b?|[ -/]{{0,8}})?\Z",
    re.ASCII,
)
_UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ON = {1: "b", 2: "d", 3: "i", 4: "u", 7: "x"}
_OFF = {22: "bd", 23: "i", 24: "u", 27: "x", 39: "f", 49: "g"}
_CUBE_BRIGHT = 3
"""From this level of six on, a channel of the colour cube counts as lit."""


@dataclass(frozen=True, slots=True)
class Text:
    """Some characters of one line, as they are to be shown."""

    text: str
    classes: str


@dataclass(frozen=True, slots=True)
class NewLine:
    """The line ends; the next begins at this place."""

    place: int


@dataclass(frozen=True, slots=True)
class Return:
    """What follows is written over the line."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that are not kept."""

    dropped: int


Token = Text | NewLine | Return | Gap


class Reader:
    """Reads pieces in order; what is not whole yet (a character, a sequence) waits for the next piece.

    `place` and `style` after a piece are all that another Reader needs to go on from there exactly.
    """

    def __init__(self, place: int = 0, style: str = "") -> None:
        self.place = place
        self.style = style if STYLE.fullmatch(style) else ""
        self._stream = 0
        self._held = b""

    @property
    def next_place(self) -> int:
        """Where the next piece is expected: behind what is held back."""
        return self.place + len(self._held)

    def read(self, pieces: Sequence[Piece], *, is_final: bool = False) -> list[Token]:
        """Return what the pieces show; with `is_final` nothing is held back."""
        tokens: list[Token] = []
        for piece in pieces:
            if piece.offset != self.next_place or piece.stream != self._stream:
                tokens += self._flush()
            if piece.offset > self.next_place:
                tokens.append(Gap(piece.offset - self.place))
                self.place = piece.offset
            self._stream = piece.stream
            tokens += self._take(self._held + piece.data, is_final=False)
        if is_final:
            tokens += self._flush()
        return tokens

    def _flush(self) -> list[Token]:
        return list(self._take(self._held, is_final=True)) if self._held else []

    def _take(self, data: bytes, *, is_final: bool) -> Iterator[Token]:
        *lines, rest = data.split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            yield from self._texts(text)
            self.place += len(line) + 1
            yield NewLine(self.place)
        text, used = codecs.utf_8_decode(rest, "replace", is_final)
        if not is_final and (partial := _PARTIAL.search(text[-ESCAPE_CHARS_MAX - 16 :]) or _last_return(text)):
            held = len(partial[0])
            text, used = text[:-held], used - held
        yield from self._texts(text)
        self.place += used
        self._held = rest[used:]

    def _texts(self, text: str) -> Iterator[Token]:
        for number, part in enumerate(text.split("\r")):
            if number:
                yield Return()
            start = 0
            for found in _SEQUENCE.finditer(part):
                yield from self._text(part[start : found.start()])
                if found["final"] == "m":
                    self.style = restyle(self.style, found["codes"] or "0")
                start = found.end()
            yield from self._text(part[start:])

    def _text(self, text: str) -> Iterator[Text]:
        seen = _UNSEEN.sub("", text)
        if seen:
            yield Text(seen, f"{self.style} err".lstrip() if self._stream == STDERR else self.style)


def restyle(style: str, codes: str) -> str:
    """Return the style after a sequence of codes such as `1;31` or `38;5;208`."""
    parts = {name[0]: name for name in style.split()}
    numbers = iter([int(code) if code.isdigit() and len(code) < 4 else 0 for code in re.split("[;:]", codes)])
    for _ in range(SGR_CODES_MAX):
        code = next(numbers, None)
        if code is None:
            break
        if code == 0:
            parts.clear()
        elif code in _ON:
            parts[_ON[code]] = _ON[code]
        elif code in _OFF:
            for name in _OFF[code]:
                parts.pop(name, None)
        elif code in (38, 48):
            colour = _extended(numbers)
            if colour is not None:
                _set_colour(parts, "f" if code == 38 else "g", colour)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            _set_colour(parts, "f", code - 30 if code < 90 else code - 82)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            _set_colour(parts, "g", code - 40 if code < 100 else code - 92)
    return " ".join(parts[key] for key in sorted(parts))


def _set_colour(parts: dict[str, str], side: str, colour: int) -> None:
    parts[side] = f"{side}{colour}"


def _extended(numbers: Iterator[int]) -> int | None:
    """Read `5;N` or `2;R;G;B` and return the nearest of the sixteen colours."""
    match next(numbers, None):
        case 5:
            number = next(numbers, 0)
            if number < 16:
                return number
            if number >= 232:
                return (0, 8, 7, 15)[min(3, (number - 232) // 6)]
            red, rest = divmod(min(number, 231) - 16, 36)
            return _nearest(red, *divmod(rest, 6))
        case 2:
            red, green, blue = (next(numbers, 0) * 5 // 255 for _ in range(3))
            return _nearest(red, green, blue)
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    base = sum(bit for bit, level in ((1, red), (2, green), (4, blue)) if level >= _CUBE_BRIGHT)
    return base + 8 if base and max(red, green, blue) >= 5 else base


def _last_return(text: str) -> re.Match[str] | None:
    """Hold a return at the very end back: with a newline after it, it is only a line's end."""
    return re.search(r"\r+\Z", text)
