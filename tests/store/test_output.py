"""What a run printed, live and afterwards."""

from __future__ import annotations

import pytest

from jobsup.errors import NotFoundError
from jobsup.model import Status
from jobsup.store import output
from jobsup.store.engine import Database
from tests.support.store import add_chunk, add_dispatch, add_job, add_log


def test_a_live_run_shows_what_it_has_printed_so_far(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, dispatch_id, 0, b"one\n")
    add_chunk(db, dispatch_id, 4, b"two\xff", stream=2)
    shown = output.read(db, dispatch_id)
    assert (shown.output.data, shown.output.marks, shown.output.total) == (b"one\ntwo\xff", ((4, 1), (4, 2)), 8)
    assert (shown.is_final, shown.status) == (False, Status.IN_PROGRESS)


def test_dropped_live_output_is_counted_where_it_stood(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, dispatch_id, 0, b"head")
    add_chunk(db, dispatch_id, 100, b"tail")
    shown = output.read(db, dispatch_id).output
    assert (shown.data, shown.total, shown.dropped, shown.gap_at) == (b"headtail", 104, 96, 4)


def test_an_ended_run_shows_its_log_row_byte_for_byte(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.COMPLETED)
    kept = bytes(range(256))
    add_log(db, dispatch_id, kept, output_bytes=1256, output_dropped=1000, output_gap_at=128, result="[1]")
    shown = output.read(db, dispatch_id)
    assert (shown.output.data, shown.output.dropped, shown.output.gap_at) == (kept, 1000, 128)
    assert (shown.is_final, shown.result, shown.output.marks) == (True, "[1]", ((256, 1),))


def test_a_run_that_never_started_has_an_empty_and_final_output(db: Database) -> None:
    shown = output.read(db, add_dispatch(db, add_job(db), Status.SKIPPED))
    assert (shown.output.data, shown.is_final) == (b"", True)


def test_following_goes_on_from_an_offset(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    for offset in (0, 4, 8):
        add_chunk(db, dispatch_id, offset, b"abcd")
    assert [chunk.offset for chunk in output.follow(db, dispatch_id, 4)] == [4, 8]
    assert output.follow(db, dispatch_id, 12) == []


def test_an_unknown_run_has_no_output(db: Database) -> None:
    with pytest.raises(NotFoundError, match="no run 7"):
        output.read(db, 7)
