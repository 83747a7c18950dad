"""A run's output a page at a time: whole lines around a place, and where the pages before and after begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobsup.portal.views.ansi import Gap, NewLine, Reader, Return, Text, Token
from jobsup.store import log_ranges
from jobsup.store.engine import Database
from jobsup.store.log_ranges import Extent, Piece

PAGE_BYTES = 48 * 1024
LINES_MAX = 1500
"""Lines of one page: many short ones weigh more than their bytes."""
LOOK_BACK_BYTES = 4096
"""How far before a place the beginning of its line is looked for."""
SEARCH_BYTES_MAX = 32 << 20
"""Of more than this only the end is searched."""
HITS_MAX = 200
HIT_CHARS_MAX = 300
NEEDLE_CHARS_MAX = 200


@dataclass(slots=True)
class Line:
    """One line, or what stands for bytes that are not kept."""

    place: int
    texts: list[Text] = field(default_factory=list)
    dropped: int = 0

    @property
    def is_error(self) -> bool:
        return any(text.classes.endswith("err") for text in self.texts)


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines, and their neighbourhood."""

    extent: Extent
    lines: tuple[Line, ...]
    start: int
    end: int
    """Where the next page begins, and a stream of what comes goes on."""
    style: str
    earlier: int | None
    later: int | None
    at_end: bool
    is_open: bool
    """The last line has not ended: what comes goes on in it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that holds what was searched."""

    place: int
    text: str


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found, the first first."""

    needle: str
    hits: tuple[Hit, ...]
    is_all: bool
    searched_from: int
    """What lies before it was not searched: too much was printed."""


def tail(database: Database, run_id: int) -> LogPage:
    """Return the last page of what a run has printed. Raises NotFoundError."""
    extent = log_ranges.extent(database, run_id)
    return _page(database, run_id, max(0, extent.total - PAGE_BYTES), keep_last=True)


def at(database: Database, run_id: int, place: int) -> LogPage:
    """Return the page that begins with the line a place is in. Raises NotFoundError."""
    if not _is_in_gap(log_ranges.extent(database, run_id), place):
        place = _line_start(database, run_id, place)
    return _page(database, run_id, place, keep_last=False)


def search(database: Database, run_id: int, needle: str) -> Hits:
    """Find the lines that hold a text, in whatever case. Raises NotFoundError."""
    wanted = needle[:NEEDLE_CHARS_MAX].lower()
    extent = log_ranges.extent(database, run_id)
    start = place = max(0, extent.total - SEARCH_BYTES_MAX)
    hits: list[Hit] = []
    rest, rest_at = b"", place
    while place < extent.total and wanted:
        _, pieces = log_ranges.read(database, run_id, place, log_ranges.RANGE_BYTES_MAX)
        place += log_ranges.RANGE_BYTES_MAX
        for piece in pieces:
            if piece.offset != rest_at + len(rest):
                hits += _hits_in(rest, rest_at, wanted)
                rest, rest_at = b"", piece.offset
            data = rest + piece.data
            cut = data.rfind(b"\n") + 1
            hits += _hits_in(data[:cut], rest_at, wanted)
            rest, rest_at = data[cut:], rest_at + cut
        if len(hits) > HITS_MAX:
            break
    else:
        hits += _hits_in(rest, rest_at, wanted)
    return Hits(needle, tuple(hits[:HITS_MAX]), len(hits) <= HITS_MAX, start)


def as_json(tokens: list[Token]) -> list[list[Any]]:
    """Write tokens as the browser's part reads them: text with classes, line ends, returns, gaps."""
    written: list[list[Any]] = []
    for token in tokens:
        match token:
            case Text(text, classes):
                written.append(["t", text, classes])
            case NewLine(place):
                written.append(["n", place])
            case Return():
                written.append(["r"])
            case Gap(dropped):
                written.append(["g", dropped])
    return written


def _page(database: Database, run_id: int, start: int, *, keep_last: bool) -> LogPage:
    extent = log_ranges.extent(database, run_id)
    is_in_gap = _is_in_gap(extent, start)
    if is_in_gap and extent.gap_start is not None:
        start = extent.gap_start
    extent, pieces = log_ranges.read(database, run_id, _past_gap(extent, start), PAGE_BYTES)
    if keep_last and start > 0 and not is_in_gap:
        start, pieces = _after_newline(start, pieces)
    reader = Reader(start)
    tokens = reader.read(pieces, is_final=extent.is_final)
    lines = _lines(start, tokens)
    end, is_cut = reader.place, False
    if len(lines) > LINES_MAX:
        if keep_last:
            lines = lines[-LINES_MAX:]
            start = lines[0].place
        else:
            end, is_cut = lines[LINES_MAX].place, True
            lines = lines[:LINES_MAX]
    at_end = not is_cut and (pieces[-1].end if pieces else end) >= extent.total
    return LogPage(
        extent,
        tuple(lines),
        start,
        end,
        reader.style,
        earlier=_earlier(extent, start),
        later=None if at_end else end,
        at_end=at_end,
        is_open=bool(tokens) and isinstance(tokens[-1], Text),
    )


def _lines(start: int, tokens: list[Token]) -> list[Line]:
    lines: list[Line] = []
    line = Line(start)
    for token in tokens:
        match token:
            case Text():
                line.texts.append(token)
            case Return():
                line.texts.clear()
            case NewLine(place):
                lines.append(line)
                line = Line(place)
            case Gap(dropped):
                if line.texts:
                    lines.append(line)
                lines.append(Line(line.place, dropped=dropped))
                line = Line(line.place)
    if line.texts:
        lines.append(line)
    return lines


def _after_newline(start: int, pieces: list[Piece]) -> tuple[int, list[Piece]]:
    """Begin a page in the middle of the output with a whole line, if one begins in it."""
    for number, piece in enumerate(pieces):
        cut = piece.data.find(b"\n") + 1
        if cut:
            first = Piece(piece.offset + cut, piece.stream, piece.data[cut:])
            kept = [first, *pieces[number + 1 :]] if first.data else pieces[number + 1 :]
            if kept:
                return first.offset, kept
    return start, pieces


def _line_start(database: Database, run_id: int, place: int) -> int:
    first = max(0, place - LOOK_BACK_BYTES)
    _, pieces = log_ranges.read(database, run_id, first, place - first)
    for piece in reversed(pieces):
        cut = piece.data.rfind(b"\n") + 1
        if cut:
            return piece.offset + cut
    return first if first == 0 else place


def _earlier(extent: Extent, start: int) -> int | None:
    if start <= 0:
        return None
    if extent.gap_start is not None and extent.gap_end is not None and extent.gap_start < start <= extent.gap_end:
        start = extent.gap_start
    return max(0, start - PAGE_BYTES)


def _is_in_gap(extent: Extent, place: int) -> bool:
    return extent.gap_start is not None and extent.gap_end is not None and extent.gap_start <= place < extent.gap_end


def _past_gap(extent: Extent, place: int) -> int:
    return extent.gap_end if _is_in_gap(extent, place) and extent.gap_end is not None else place


def _hits_in(data: bytes, place: int, wanted: str) -> list[Hit]:
    needle = wanted.encode("utf-8", "replace")
    if needle not in data.lower() and wanted.isascii():
        return []
    hits = []
    for line in data.split(b"\n"):
        text = line.decode("utf-8", "replace")
        if wanted in text.lower():
            tokens = Reader().read([Piece(0, 1, line)], is_final=True)
            shown = "".join(token.text for token in tokens if isinstance(token, Text))
            hits.append(Hit(place, shown[:HIT_CHARS_MAX]))
        place += len(line) + 1
    return hits
