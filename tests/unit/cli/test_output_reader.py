"""A run's output is handed on once, byte for byte, from live pieces to the kept log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobsup.actions.output import OutputReader, Piece, last_lines
from jobsup.model import STDERR, STDOUT, Status
from jobsup.store.engine import Database
from tests.support.store import add_chunk, add_dispatch, add_job, add_log


def test_an_ended_run_is_read_at_once_with_its_streams(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, b"outerrout", stream_marks=[[3, STDOUT], [3, STDERR], [3, STDOUT]])
    assert OutputReader(db, run).read() == [Piece(b"out"), Piece(b"err", STDERR), Piece(b"out")]


def test_the_gap_stands_where_bytes_are_missing_even_within_a_stream(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, b"headtail", output_bytes=1008, output_dropped=1000, output_gap_at=4, stream_marks=[[8, STDOUT]])
    assert OutputReader(db, run).read() == [Piece(b"head"), Piece(b"tail", dropped_before=1000)]


def test_live_pieces_come_once_and_the_log_gives_only_the_rest(db: Database) -> None:
    job = add_job(db)
    run = add_dispatch(db, job, Status.IN_PROGRESS)
    reader = OutputReader(db, run)
    add_chunk(db, run, 0, b"one ")
    assert reader.read() == [Piece(b"one ")]
    assert reader.read() == []
    add_chunk(db, run, 4, b"two ")
    assert reader.read() == [Piece(b"two ")]
    assert not reader.has_ended
    ended = add_dispatch(db, job, Status.COMPLETED)
    add_log(db, ended, b"one two three")
    reader.dispatch_id = ended  # as if the same run had ended
    assert reader.read() == [Piece(b"three")]
    assert reader.has_ended


def test_what_a_full_window_lost_is_counted(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    reader = OutputReader(db, run)
    add_chunk(db, run, 0, b"begin")
    reader.read()
    add_chunk(db, run, 105, b"end")
    assert reader.read() == [Piece(b"end", dropped_before=100)]
    add_chunk(db, run, 5_000_108, b"!")
    assert reader.read() == [Piece(b"!", dropped_before=5_000_000)]


@pytest.mark.parametrize(
    ("count", "expected"), [(0, b""), (1, b"d\n"), (2, b"c\nd\n"), (4, b"a\nb\nc\nd\n"), (9, b"a\nb\nc\nd\n")]
)
def test_the_last_lines_are_cut_across_pieces(count: int, expected: bytes) -> None:
    pieces = [Piece(b"a\nb"), Piece(b"\nc\nd", STDERR), Piece(b"\n")]
    assert b"".join(piece.data for piece in last_lines(pieces, count)) == expected


@given(st.lists(st.binary(min_size=1, max_size=5).map(lambda data: data.replace(b"\0", b"\n"))), st.integers(0, 6))
def test_the_last_lines_are_those_of_the_whole(parts: list[bytes], count: int) -> None:
    whole = b"".join(parts)
    lines = whole.split(b"\n")
    ended = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    expected = b"".join(ended[-count:] if count else [])
    assert b"".join(piece.data for piece in last_lines([Piece(part) for part in parts], count)) == expected
