"""Large outputs are stored small, and come out byte for byte, whole or in part."""

from __future__ import annotations

import os
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import LargeBinary, func, select, type_coerce

from jobsup.model import STDOUT, Status
from jobsup.store import log_ranges, output, packing, tables
from jobsup.store.engine import Database
from jobsup.store.models import JobExecutionLog
from tests.support.store import add_dispatch, add_job, add_log

LINES = b"".join(b"%07d a line of a log like any other\n" % number for number in range(30_000))
"""A megabyte and a bit."""


@settings(max_examples=60)
@given(st.binary(max_size=40), st.integers(0, 6_000), st.integers(0, 250_000), st.integers(0, 250_000))
def test_every_part_of_a_packed_output_is_that_part(unit: bytes, count: int, start: int, length: int) -> None:
    data = unit * count
    stored = packing.pack(data)
    assert packing.unpack(stored) == data
    part = b"".join(packing.read_part(lambda at, size: stored[at : at + size], start, length))
    assert part == data[start : start + length]


def test_text_gets_smaller_and_noise_stays_as_it_is() -> None:
    assert len(packing.pack(LINES)) < len(LINES) / 4
    noise = random.Random(1).randbytes(100_000)
    assert packing.pack(noise) == noise
    assert packing.pack(b"short") == b"short"


def test_an_output_that_looks_packed_is_not_misread() -> None:
    for data in (packing.MAGIC, packing.MAGIC + b"x", packing.pack(LINES), packing.MAGIC * 9):
        assert packing.unpack(packing.pack(data)) == data


def test_a_part_costs_what_its_blocks_do_and_no_more() -> None:
    stored = packing.pack(LINES * 20)
    read: list[int] = []

    def reading(start: int, length: int) -> bytes:
        read.append(length)
        return stored[start : start + length]

    assert b"".join(packing.read_part(reading, 20_000_000, 100)) == (LINES * 20)[20_000_000:20_000_100]
    assert sum(read) < 64 << 10


@pytest.mark.parametrize("head", [b"", packing.MAGIC])
def test_what_is_stored_is_packed_and_every_reader_sees_what_was_printed(db: Database, head: bytes) -> None:
    data = head + LINES
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, data, output_bytes=len(data) + 1000, output_dropped=1000, output_gap_at=500_000)
    with db.read() as connection:
        stored = type_coerce(tables.job_execution_log.c.log_output, LargeBinary())
        size = connection.execute(select(func.length(stored))).scalar_one()
        row = connection.execute(select(tables.job_execution_log)).mappings().one()
    assert size < len(data) / 4
    assert row["log_output"] == data
    assert output.read(db, run).output.data == data
    text = JobExecutionLog(**{key: row[key] for key in ("log_output", "output_dropped", "output_gap_at")}).text
    assert text.endswith(LINES.decode()[-50:])
    assert "[... 1000 bytes dropped ...]" in text
    extent, pieces = log_ranges.read(db, run, 499_990, 1_030)
    assert (extent.total, extent.gap_start, extent.gap_end) == (len(data) + 1000, 500_000, 501_000)
    assert [(piece.offset, piece.stream, piece.data) for piece in pieces] == [
        (499_990, STDOUT, data[499_990:500_000]),
        (501_000, STDOUT, data[500_000:500_020]),
    ]


def test_paging_through_a_large_output_takes_little_memory(db: Database) -> None:
    data = LINES * 20
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, data)
    place = 0
    tracemalloc.start()
    try:
        while True:
            _, pieces = log_ranges.read(db, run, place, 200_000)
            if not pieces:
                break
            assert pieces[0].data == data[place : place + 200_000]
            place = pieces[-1].end
        assert place == len(data)
        if db.is_sqlite:  # the server's driver keeps each answer whole: there it is the server's memory that counts
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_random_bytes_of_all_values_survive(db: Database) -> None:
    data = os.urandom(70_000) + bytes(range(256)) * 400
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, data)
    assert output.read(db, run).output.data == data
