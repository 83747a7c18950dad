"""What is kept of one run's output: the head, a window of the tail, and which stream each byte came from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime

from jobsup.model import CapturedOutput, OutputChunk

MARKS_MAX = 10_000
"""Runs of one stream remembered in each half; past it the oldest lose their own mark, never a byte."""
LIVE_BYTES_MAX = 1 << 20
"""Live output taken at once; what is left goes with the next."""
LIVE_CHUNKS_MAX = 1_000
"""Live pieces taken at once; past it one piece holds the rest, whatever streams it came from."""


class Capture:
    """The output of one run, in memory that does not grow with it: at most 1.5 times the limit, and one read."""

    __slots__ = (
        *("_dispatch_id", "_head", "_head_marks", "_head_max", "_live", "_sent"),
        *("_tail", "_tail_marks", "_tail_max", "total"),
    )

    def __init__(self, dispatch_id: int, limit: int) -> None:
        self._dispatch_id = dispatch_id
        self._head_max = limit // 2
        self._tail_max = limit - self._head_max
        self.total = 0
        """Bytes printed so far, both streams together."""
        self._sent = 0
        """Every byte before this offset has gone out live, or is past its window."""

    def _begin(self) -> None:
        """Make room for output; of a run that prints nothing there is none, and many calls do not."""
        self._head = bytearray()
        self._head_marks = _Marks()
        self._tail = bytearray()
        """Bytes from offset `total - len(_tail)`; up to twice the window, so that it is seldom moved."""
        self._tail_marks = _Marks()
        self._live: deque[tuple[int, int]] = deque()
        """Live pieces of the tail that were sent and not taken back: (offset, end)."""

    @property
    def has_live(self) -> bool:
        """There is output that has not gone out live."""
        return self._sent < self.total

    @property
    def was_live(self) -> bool:
        """Some of the output has gone out live."""
        return self._sent > 0

    def add(self, stream: int, data: bytes) -> None:
        """Take what was read next."""
        if not self.total:
            self._begin()
        room = self._head_max - len(self._head)
        if room > 0:
            self._head += data[:room]
            self._head_marks.add(min(room, len(data)), stream)
        self.total += len(data)
        if room < len(data):
            self._add_tail(stream, data[max(room, 0) :])

    def take_live(self, at: datetime) -> tuple[list[OutputChunk], tuple[int, int] | None]:
        """Return the pieces that go out now, and from where to where earlier ones are to be taken back, if any."""
        if not self.total:
            return [], None
        chunks = self._cut(self._head, self._head_marks, 0, self._sent, at)
        self._sent += sum(len(chunk.data) for chunk in chunks)
        if self._sent < len(self._head) or self.total == len(self._head):
            return chunks, None
        self._sent = max(self._sent, self._window_start)
        tail = self._cut(self._tail, self._tail_marks, self.total - len(self._tail), self._sent, at)
        self._live.extend((chunk.offset, chunk.offset + len(chunk.data)) for chunk in tail)
        self._sent += sum(len(chunk.data) for chunk in tail)
        return chunks + tail, self._take_back()

    def result(self) -> CapturedOutput:
        """Return what is kept, for good."""
        if not self.total:
            return _NOTHING
        surplus = max(0, len(self._tail) - self._tail_max)
        marks = [*self._head_marks.between(0, len(self._head))]
        marks += self._tail_marks.between(surplus, len(self._tail))
        return CapturedOutput(
            data=bytes(self._head) + bytes(memoryview(self._tail)[surplus:]),
            total=self.total,
            dropped=self._window_start - len(self._head),
            gap_at=len(self._head) if self._window_start > len(self._head) else None,
            marks=_joined(marks),
        )

    @property
    def _window_start(self) -> int:
        return max(len(self._head), self.total - self._tail_max)

    def _add_tail(self, stream: int, data: bytes) -> None:
        if len(data) > self._tail_max:
            data = data[len(data) - self._tail_max :]
            self._tail.clear()
            self._tail_marks.clear()
        self._tail += data
        self._tail_marks.add(len(data), stream)
        if len(self._tail) > 2 * self._tail_max:
            surplus = len(self._tail) - self._tail_max
            del self._tail[:surplus]
            self._tail_marks.cut(surplus)

    def _cut(self, data: bytearray, marks: _Marks, base: int, sent: int, at: datetime) -> list[OutputChunk]:
        """Make pieces of `data`, which begins at offset `base`, from offset `sent` on."""
        chunks: list[OutputChunk] = []
        start = sent - base
        stop = min(len(data), start + LIVE_BYTES_MAX)
        if start >= stop:
            return chunks
        for length, stream in marks.between(start, stop):
            end = stop if len(chunks) + 1 == LIVE_CHUNKS_MAX else start + length
            chunks.append(OutputChunk(self._dispatch_id, base + start, stream, at, bytes(data[start:end])))
            start = end
            if start == stop:
                break
        return chunks

    def _take_back(self) -> tuple[int, int] | None:
        first = last = None
        while self._live and self._live[0][1] <= self._window_start:
            piece = self._live.popleft()
            first, last = first or piece, piece
        return None if first is None or last is None else (first[0], last[1])


_NOTHING = CapturedOutput()


class _Marks:
    """Runs of one stream, in order."""

    def __init__(self) -> None:
        self._runs: deque[tuple[int, int]] = deque()

    def add(self, length: int, stream: int) -> None:
        if not length:
            return
        if self._runs and self._runs[-1][1] == stream:
            length += self._runs.pop()[0]
        elif len(self._runs) == MARKS_MAX:
            oldest, _ = self._runs.popleft()
            following, its_stream = self._runs.popleft()
            self._runs.appendleft((oldest + following, its_stream))
        self._runs.append((length, stream))

    def cut(self, length: int) -> None:
        """Forget the first bytes."""
        while length and self._runs:
            first, stream = self._runs.popleft()
            if first > length:
                self._runs.appendleft((first - length, stream))
                return
            length -= first

    def clear(self) -> None:
        self._runs.clear()

    def between(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of the bytes from `start` to `stop`."""
        position = 0
        for length, stream in self._runs:
            first, last = max(start, position), min(stop, position + length)
            if first < last:
                yield last - first, stream
            position += length
            if position >= stop:
                return


def _joined(marks: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for length, stream in marks:
        if joined and joined[-1][1] == stream:
            joined[-1] = (joined[-1][0] + length, stream)
        else:
            joined.append((length, stream))
    return tuple(joined)
