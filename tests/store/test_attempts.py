"""How attempts end: fenced, with their log, and with the retry their end calls for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobsup.model import CapturedOutput, OutputChunk, Reason, RunResult, Source, Status
from jobsup.store.attempts import BACKOFF_JITTER, fold
from jobsup.store.engine import Database
from jobsup.store.models import JobOutputChunk
from jobsup.store.rounds import Answer, Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import (
    WORKER_ID,
    add_chunk,
    add_dispatch,
    add_job,
    add_worker,
    dispatch_row,
    dispatches_of,
    log_row,
)

ME = Worker(WORKER_ID, "here")


def result(db: Database, dispatch_id: int, status: Status = Status.COMPLETED, **values: Any) -> RunResult:
    base = RunResult(dispatch_id, status, Reason.NONE, db.now(), started_at=db.now(), exit_code=0)
    return replace(base, **values)


def finish(db: Database, *results: RunResult) -> Answer:
    return exchange(db, ME, Round(results=results))


def test_a_completed_run_is_written_once_with_its_log(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    output = CapturedOutput(b"out\xffERR", 7, 0, None, ((4, 1), (3, 2)))
    finish(db, result(db, dispatch_id, output=output, cpu_user=0.5, max_rss=1 << 20))
    row, log = dispatch_row(db, dispatch_id), log_row(db, dispatch_id)
    assert (row["status"], row["completed_at"]) == (Status.COMPLETED, db.now())
    assert (log["log_output"], log["stream_marks"], log["exit_code"]) == (b"out\xffERR", [[4, 1], [3, 2]], 0)
    assert (log["cpu_user"], log["max_rss"], log["host"]) == (0.5, 1 << 20, "here")


@pytest.mark.parametrize("stale", ["other worker", "ended already", "waiting again"])
def test_a_late_result_changes_nothing(db: Database, stale: str) -> None:
    job = add_job(db)
    dispatch_id = {
        "other worker": lambda: add_dispatch(db, job, Status.IN_PROGRESS, worker_id="worker-other"),
        "ended already": lambda: add_dispatch(db, job, Status.TIMEOUT),
        "waiting again": lambda: add_dispatch(db, job, Status.PENDING),
    }[stale]()
    before = dispatch_row(db, dispatch_id)
    answer = finish(db, result(db, dispatch_id))
    assert answer.refused == {dispatch_id}
    assert dispatch_row(db, dispatch_id) == before
    assert log_row(db, dispatch_id) is None


def test_a_failed_run_is_retried_after_a_doubling_backoff_up_to_the_maximum(db: Database, clock: FakeClock) -> None:
    job = add_job(db, max_retries=2, retry_backoff=timedelta(seconds=30))
    dispatch_id = add_dispatch(db, job, Status.IN_PROGRESS, scheduled_for=db.now(), params={"a": 1})
    waits = []
    for _ in range(3):
        finish(db, result(db, dispatch_id, Status.FAILED, reason=Reason.EXIT_CODE, exit_code=1))
        rows = dispatches_of(db, job)
        if rows[-1]["id"] == dispatch_id:
            break
        retry = rows[-1]
        waits.append((retry["available_at"] - clock.now()).total_seconds())
        assert (retry["status"], retry["source"], retry["retry_of"]) == (Status.PENDING, Source.RETRY, dispatch_id)
        assert retry["scheduled_for"] == rows[0]["scheduled_for"]
        assert retry["params"] == {"a": 1}
        dispatch_id = retry["id"]
        clock.advance(7200)
        add_worker(db, f"worker-{dispatch_id:05d}")
        exchange(db, Worker(f"worker-{dispatch_id:05d}", "here"), Round(claim=1))
        _give_to_me(db, dispatch_id)
    assert [row["retry_count"] for row in dispatches_of(db, job)] == [0, 1, 2]
    assert waits[0] == pytest.approx(30, rel=BACKOFF_JITTER)
    assert waits[1] == pytest.approx(60, rel=BACKOFF_JITTER)


def _give_to_me(db: Database, dispatch_id: int) -> None:
    from sqlalchemy import update

    from jobsup.store.models import JobDispatch

    with db.write() as connection:
        connection.execute(update(JobDispatch).where(JobDispatch.id == dispatch_id).values(worker_id=WORKER_ID))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.COMPLETED, Reason.NONE),
        (Status.FAILED, Reason.NOT_RUNNABLE),
        (Status.CANCELLED, Reason.CANCELLED),
        (Status.CANCELLED, Reason.REPLACED),
    ],
)
def test_these_ends_have_no_retry(db: Database, status: Status, reason: Reason) -> None:
    job = add_job(db)
    dispatch_id = add_dispatch(db, job, Status.IN_PROGRESS)
    finish(db, result(db, dispatch_id, status, reason=reason))
    assert len(dispatches_of(db, job)) == 1


def test_a_run_cut_by_a_shutdown_returns_at_once_and_does_not_count(db: Database) -> None:
    job = add_job(db, max_retries=0)
    dispatch_id = add_dispatch(db, job, Status.IN_PROGRESS)
    finish(db, result(db, dispatch_id, Status.TIMEOUT, reason=Reason.SHUTDOWN))
    _, retry = dispatches_of(db, job)
    assert (retry["retry_count"], retry["available_at"]) == (0, db.now())


def test_a_run_that_may_not_be_repeated_is_not_after_a_shutdown(db: Database) -> None:
    job = add_job(db, retry_on_lost=False)
    finish(db, result(db, add_dispatch(db, job, Status.IN_PROGRESS), Status.TIMEOUT, reason=Reason.SHUTDOWN))
    assert len(dispatches_of(db, job)) == 1


def test_a_cancelled_wish_stops_the_retries(db: Database) -> None:
    job = add_job(db)
    dispatch_id = add_dispatch(db, job, Status.IN_PROGRESS, cancel_requested_at=db.now())
    finish(db, result(db, dispatch_id, Status.FAILED, reason=Reason.EXIT_CODE))
    assert len(dispatches_of(db, job)) == 1


def test_live_output_leaves_with_the_run(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    exchange(db, ME, Round(chunks=[OutputChunk(dispatch_id, 0, 1, db.now(), b"abc")]))
    exchange(
        db,
        ME,
        Round(chunks=[OutputChunk(dispatch_id, 3, 2, db.now(), b"def")], dropped={dispatch_id: (0, 3)}),
    )
    assert chunk_offsets(db) == [3]
    finish(db, result(db, dispatch_id))
    assert chunk_offsets(db) == []


def chunk_offsets(db: Database) -> list[int]:
    with db.read() as connection:
        return list(connection.execute(select(JobOutputChunk.offset)).scalars())


def test_folding_counts_every_hole(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, dispatch_id, 0, b"head")
    pieces = [(0, 1, b"he"), (2, 1, b"ad"), (100, 2, b"tail"), (110, 1, b"end")]
    chunks = [OutputChunk(dispatch_id, offset, stream, db.now(), data) for offset, stream, data in pieces]
    assert fold(chunks) == CapturedOutput(b"headtailend", 113, 102, 4, ((4, 1), (4, 2), (3, 1)))
