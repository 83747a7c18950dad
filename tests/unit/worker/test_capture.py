"""What is kept of an output, and what goes out live."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from jobsup.model import STDERR, STDOUT, OutputChunk
from jobsup.worker import output
from jobsup.worker.output import Capture

AT = datetime(2026, 1, 1, tzinfo=UTC)
PIECES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=40)), max_size=30)


@given(PIECES, st.integers(0, 200))
def test_head_and_tail_are_exact_and_so_is_the_number_of_bytes_dropped(
    pieces: list[tuple[int, bytes]], limit: int
) -> None:
    capture = Capture(1, limit)
    for stream, data in pieces:
        capture.add(stream, data)
    printed = b"".join(data for _, data in pieces)
    streams = [stream for stream, data in pieces for _ in data]
    kept = capture.result()

    assert kept.total == len(printed)
    assert kept.dropped == max(0, len(printed) - limit)
    assert sum(length for length, _ in kept.marks) == len(kept.data)
    spread = [stream for length, stream in kept.marks for _ in range(length)]
    if kept.gap_at is None:
        assert kept.data == printed
        assert spread == streams
    else:
        tail = limit - kept.gap_at
        assert kept.gap_at == limit // 2
        assert kept.data == printed[: kept.gap_at] + printed[len(printed) - tail :]
        assert spread == streams[: kept.gap_at] + streams[len(printed) - tail :]


@settings(max_examples=150)
@given(PIECES, st.integers(1, 200), st.lists(st.integers(0, 29), max_size=6))
def test_live_pieces_add_up_to_what_is_kept(
    pieces: list[tuple[int, bytes]], limit: int, flushed_after: list[int]
) -> None:
    capture = Capture(7, limit)
    stored: dict[int, OutputChunk] = {}
    for number, (stream, data) in enumerate(pieces):
        capture.add(stream, data)
        if number in flushed_after or number == len(pieces) - 1:
            chunks, taken_back = capture.take_live(AT)
            stored.update({chunk.offset: chunk for chunk in chunks})
            start, stop = taken_back or (0, 0)
            stored = {offset: chunk for offset, chunk in stored.items() if not start <= offset < stop}
    printed = b"".join(data for _, data in pieces)
    assert not capture.has_live
    assert all(printed[at : at + len(chunk.data)] == chunk.data for at, chunk in stored.items())
    kept = capture.result()
    known = {at + step for at, chunk in stored.items() for step in range(len(chunk.data))}
    head = kept.gap_at if kept.gap_at is not None else len(printed)
    assert known >= set(range(head)) | set(range(head + kept.dropped, len(printed)))
    assert len(known) <= limit + sum(len(data) for _, data in pieces[-1:]) + limit


def test_memory_stays_near_the_limit_whatever_is_printed() -> None:
    capture = Capture(1, 1 << 20)
    for _ in range(2_000):
        capture.add(STDOUT, b"x" * 65_536)
    assert capture.total == 2_000 * 65_536
    assert len(capture._tail) + len(capture._head) <= (1 << 20) * 1.5 + 65_536
    assert len(capture.take_live(AT)[0]) <= 2
    assert len(capture.result().data) == 1 << 20


def test_streams_that_alternate_byte_by_byte_cost_a_bounded_number_of_marks() -> None:
    capture = Capture(1, 1 << 20)
    for number in range(60_000):
        capture.add(STDOUT if number % 2 else STDERR, b"%d" % (number % 10))
    kept = capture.result()
    assert kept.data == b"0123456789" * 6_000
    assert len(kept.marks) <= 2 * output.MARKS_MAX
    assert sum(length for length, _ in kept.marks) == 60_000
    assert len(capture.take_live(AT)[0]) <= output.LIVE_CHUNKS_MAX


def test_a_limit_of_nothing_keeps_nothing_and_counts_all() -> None:
    capture = Capture(1, 0)
    capture.add(STDOUT, b"hello")
    assert capture.take_live(AT) == ([], None)
    kept = capture.result()
    assert (kept.data, kept.total, kept.dropped, kept.gap_at) == (b"", 5, 5, 0)
