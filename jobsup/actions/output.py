"""A run's output as it comes: live pieces first, then what was kept, each byte once and every hole counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobsup.model import STDOUT
from jobsup.store import log_ranges
from jobsup.store.engine import Database


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of one stream, and how many bytes before them are not kept."""

    data: bytes
    stream: int = STDOUT
    dropped_before: int = 0

    @property
    def length(self) -> int:
        """How far it leads on in all that the run printed."""
        return self.dropped_before + len(self.data)


class OutputReader:
    """Reads one attempt's output from where it stopped the last time, a stretch at a time."""

    def __init__(self, database: Database, dispatch_id: int, place: int = 0) -> None:
        self.dispatch_id = dispatch_id
        self.place = place
        """How much of what the run printed has been read, or was dropped."""
        self.has_ended = False
        """Whether the last `read` found a run that had ended."""
        self._database = database

    def read(self) -> list[Piece]:
        """Return what has come since the last time, at most RANGE_BYTES_MAX of it; empty: nothing (more) for now."""
        extent, found = log_ranges.forward(self._database, self.dispatch_id, self.place)
        self.has_ended = extent.is_final
        return list(self._take(found))

    def read_all(self) -> Iterator[Piece]:
        """Yield all there is for now."""
        while found := self.read():
            yield from found

    def _take(self, pieces: list[log_ranges.Piece]) -> Iterator[Piece]:
        for piece in pieces:
            yield Piece(piece.data, piece.stream, max(0, piece.offset - self.place))
            self.place = piece.end


def last_lines(pieces: list[Piece], count: int) -> list[Piece]:
    """Return the end of the pieces that holds the last `count` lines."""
    wanted: list[Piece] = []
    # The newline at the very end closes the last line and begins none.
    ends = count + 1 if pieces and pieces[-1].data.endswith(b"\n") else count
    if count == 0:
        return []
    for piece in reversed(pieces):
        lines = piece.data.count(b"\n")
        if lines >= ends:
            start = len(piece.data)
            for _ in range(ends):
                start = piece.data.rindex(b"\n", 0, start)
            wanted.append(Piece(piece.data[start + 1 :], piece.stream))
            break
        ends -= lines
        wanted.append(piece)
    return [piece for piece in reversed(wanted) if piece.data]
