"""Pages of runs, jobs' standing, and stretches of output, on rows of every kind."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from jobsup.errors import NotFoundError
from jobsup.model import STDERR, STDOUT, Reason, Status
from jobsup.store import history, log_ranges, standing
from jobsup.store.engine import Database
from jobsup.store.history import Wanted
from jobsup.store.models import JobDispatch
from tests.support.clock import FakeClock
from tests.support.store import add_chunk, add_dispatch, add_job, add_log

MINUTE = timedelta(minutes=1)


def test_pages_walk_down_and_up_over_every_run_once(db: Database) -> None:
    job = add_job(db, "backup")
    ids = [add_dispatch(db, job, Status.COMPLETED) for _ in range(7)]
    first = history.page(db, Wanted(), rows=3)
    assert [run.id for run in first.runs] == ids[:3:-1]
    assert first.newer is None
    second = history.page(db, Wanted(), rows=3, before=first.older)
    third = history.page(db, Wanted(), rows=3, before=second.older)
    assert [run.id for page in (first, second, third) for run in page.runs] == ids[::-1]
    assert third.older is None
    assert history.page(db, Wanted(), rows=3, after=third.newer) == second
    assert history.page(db, Wanted(), rows=3, after=second.newer).runs == first.runs


def test_a_page_holds_only_what_is_wanted(db: Database) -> None:
    job, other = add_job(db, "backup"), add_job(db, "report")
    failed = add_dispatch(db, job, Status.FAILED)
    add_dispatch(db, job, Status.COMPLETED)
    waiting = add_dispatch(db, other, Status.PENDING)
    assert [run.id for run in history.page(db, Wanted(statuses=frozenset({Status.FAILED}))).runs] == [failed]
    assert [run.id for run in history.page(db, Wanted(statuses=frozenset({Status.PENDING}))).runs] == [waiting]
    assert {run.job for run in history.page(db, Wanted(job_id=other.job_id)).runs} == {"report"}
    assert history.page(db, Wanted(until=db.now() - MINUTE)).runs == ()


@pytest.mark.only("sqlite", why="each database plans in its own words")
@pytest.mark.parametrize(
    ("statuses", "index"),
    [
        ({Status.FAILED, Status.TIMEOUT}, "ix_job_dispatch_trouble"),
        ({Status.IN_PROGRESS}, "ix_job_dispatch_live"),
    ],
)
def test_rare_statuses_are_found_by_their_own_index(db: Database, statuses: set[Status], index: str) -> None:
    wanted = history._filtered(Wanted(statuses=frozenset(statuses)))
    with db.read() as connection:
        statement = wanted[0].order_by(JobDispatch.id.desc())
        sql = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
    assert any(index in step for step in plan), plan


def test_a_window_holds_what_was_under_way_in_it(db: Database, clock: FakeClock) -> None:
    job = add_job(db, "backup")
    start = clock.now()
    inside = add_dispatch(db, job, Status.COMPLETED)
    running = add_dispatch(db, job, Status.IN_PROGRESS)
    add_dispatch(db, job, Status.SKIPPED)
    clock.advance(timedelta(hours=2))
    add_dispatch(db, job, Status.COMPLETED)
    runs, has_more = history.window(db, start - MINUTE, start + MINUTE)
    assert ({run.id for run in runs}, has_more) == ({inside, running}, False)


def test_strips_hold_the_last_runs_of_each_job_the_oldest_first(db: Database) -> None:
    one, two, never = add_job(db), add_job(db), add_job(db)
    ids = [add_dispatch(db, one, Status.COMPLETED) for _ in range(5)]
    lone = add_dispatch(db, two, Status.FAILED)
    strips = standing.strips(db, [one.job_id, two.job_id, never.job_id], runs=3)
    assert [mark.id for mark in strips[one.job_id]] == ids[2:]
    assert [mark.id for mark in strips[two.job_id]] == [lone]
    assert never.job_id not in strips


def test_a_streak_begins_after_the_last_success_and_skips_do_not_end_it(db: Database) -> None:
    job = add_job(db, "backup")
    add_dispatch(db, job, Status.FAILED)
    add_dispatch(db, job, Status.COMPLETED)
    first = add_dispatch(db, job, Status.FAILED)
    last = add_dispatch(db, job, Status.TIMEOUT)
    add_dispatch(db, job, Status.SKIPPED)
    assert standing.failing(db) == [job.job_id]
    (streak,) = standing.streaks(db, [job.job_id])
    assert (streak.first_id, streak.last_id, streak.count) == (first, last, 2)
    assert streak.last_reason is Reason.DEADLINE


def test_any_stretch_of_live_output_is_cut_exactly(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, run, 0, b"abcdef", STDOUT)
    add_chunk(db, run, 6, b"GHI", STDERR)
    add_chunk(db, run, 9, b"jkl", STDOUT)
    whole = b"abcdefGHIjkl"
    for start in range(13):
        for length in range(13):
            extent, pieces = log_ranges.read(db, run, start, length)
            assert b"".join(piece.data for piece in pieces) == whole[start : start + length]
            assert all(whole[piece.offset : piece.end] == piece.data for piece in pieces)
    assert (extent.total, extent.is_final, extent.dropped) == (12, False, 0)


def test_places_in_kept_output_count_what_was_dropped(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(
        db,
        run,
        b"headTAIL",
        output_bytes=108,
        output_dropped=100,
        output_gap_at=4,
        stream_marks=[[2, 1], [4, 2], [2, 1]],
    )
    extent, pieces = log_ranges.read(db, run, 0, 1000)
    assert (extent.gap_start, extent.gap_end, extent.total) == (4, 104, 108)
    assert [(piece.offset, piece.stream, piece.data) for piece in pieces] == [
        (0, 1, b"he"),
        (2, 2, b"ad"),
        (104, 2, b"TA"),
        (106, 1, b"IL"),
    ]
    assert log_ranges.read(db, run, 50, 10)[1] == []
    assert [piece.data for piece in log_ranges.read(db, run, 105, 2)[1]] == [b"A", b"I"]


def test_output_of_no_run_is_not_found(db: Database) -> None:
    with pytest.raises(NotFoundError, match="no run 99"):
        log_ranges.read(db, 99, 0, 1)
