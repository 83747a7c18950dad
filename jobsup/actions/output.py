"""A run's output as it comes: live pieces first, then what was kept, each byte once and every hole counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobsup.model import STDOUT, CapturedOutput
from jobsup.store import output, overview
from jobsup.store.engine import Database


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of one stream, and how many bytes before them are not kept."""

    data: bytes
    stream: int = STDOUT
    dropped_before: int = 0


class OutputReader:
    """Reads one attempt's output from where it stopped the last time."""

    def __init__(self, database: Database, dispatch_id: int) -> None:
        self.dispatch_id = dispatch_id
        self._database = database
        self._offset = 0
        self._ended = False

    def read(self) -> list[Piece]:
        """Return what has come since the last time; once the run has ended, all that is left."""
        found = output.read(self._database, self.dispatch_id) if self._has_ended() else None
        if found is not None:
            return list(self._take(_placed(found.output)))
        chunks = output.follow(self._database, self.dispatch_id, self._offset)
        return list(self._take((chunk.offset, chunk.stream, chunk.data) for chunk in chunks))

    @property
    def has_ended(self) -> bool:
        """Whether the last `read` was of a run that had ended."""
        return self._ended

    def _has_ended(self) -> bool:
        self._ended = self._ended or overview.runs(self._database, ids=[self.dispatch_id])[0].status.is_terminal
        return self._ended

    def _take(self, pieces: Iterable[tuple[int, int, bytes]]) -> Iterator[Piece]:
        for offset, stream, data in pieces:
            fresh = data[max(0, self._offset - offset) :]
            if fresh:
                yield Piece(fresh, stream, max(0, offset - self._offset))
            self._offset = max(self._offset, offset + len(data))


def _placed(kept: CapturedOutput) -> Iterator[tuple[int, int, bytes]]:
    """Put each piece of the kept output where it stood in all that the run printed."""
    position = 0
    for length, stream in (*kept.marks, (len(kept.data), STDOUT)):  # what no mark speaks of is printed all the same
        end = min(position + length, len(kept.data))
        for start, stop in _parted(position, end, kept.gap_at):
            moved = kept.dropped if kept.gap_at is not None and start >= kept.gap_at else 0
            yield start + moved, stream, kept.data[start:stop]
        position = end


def _parted(start: int, stop: int, gap_at: int | None) -> Iterator[tuple[int, int]]:
    """Part a piece at the gap, which may lie within one stream's piece."""
    if gap_at is None or not start < gap_at < stop:
        yield start, stop
    else:
        yield start, gap_at
        yield gap_at, stop


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
