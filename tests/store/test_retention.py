"""What is past its retention goes, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, text

from jobsup.model import Status, WorkerStatus
from jobsup.store import overview, retention
from jobsup.store.engine import Database
from jobsup.store.rows import JobDayMark
from tests.support.store import START, FakeClock, add_chunk, add_dispatch, add_job, add_log, add_worker

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def all_counted(db: Database) -> None:
    """Nothing is kept for the days' sake; that it is, is told where they are tested."""
    with db.write() as connection:
        connection.execute(insert(JobDayMark).values(id=1, counted_until=START + 1000 * DAY))


def left(database: Database) -> set[int]:
    return {run.id for run in overview.runs(database)}


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_only_runs_that_ended_before_the_instant_go_with_their_output(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    old = add_dispatch(db, job, Status.COMPLETED)
    add_log(db, old, b"text")
    clock.advance(DAY)
    fresh = add_dispatch(db, job, Status.COMPLETED)
    add_log(db, fresh, b"text")
    assert retention.delete_ended(db, START + DAY / 2, 100) == 1
    assert left(db) == {fresh}
    assert count(db, "job_execution_log") == 1


def test_a_long_run_is_judged_by_its_end_and_not_by_its_beginning(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    began = clock.now()
    clock.advance(10 * DAY)
    long_one = add_dispatch(db, job, Status.COMPLETED, created_at=began, claimed_at=began, started_at=began)
    add_dispatch(db, job, Status.COMPLETED)
    assert retention.delete_ended(db, clock.now() - DAY, 100) == 0
    assert long_one in left(db)


def test_no_retention_at_all_still_keeps_what_waits_or_runs(db: Database, clock: FakeClock) -> None:
    job = add_job(db, overlap="allow")
    live = {add_dispatch(db, job), add_dispatch(db, job, Status.IN_PROGRESS, concurrency_key=None)}
    add_dispatch(db, job, Status.FAILED)
    live.add(add_dispatch(db, job))
    now = clock.advance(365 * DAY)
    assert retention.delete_ended(db, now, 100) == 1
    assert left(db) == live


def test_an_attempt_stays_while_its_retry_waits(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    first = add_dispatch(db, job, Status.FAILED)
    retry = add_dispatch(db, job, retry_of=first, retry_count=1)
    ended = add_dispatch(db, job, Status.FAILED)
    add_dispatch(db, job, Status.COMPLETED, retry_of=ended, retry_count=1)
    clock.advance(DAY)
    assert retention.delete_ended(db, clock.now(), 100) == 1
    assert {first, retry} <= left(db)
    assert ended not in left(db)


def test_deleting_goes_in_batches_the_oldest_first(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    made = []
    for _ in range(5):
        made.append(add_dispatch(db, job, Status.COMPLETED))
        clock.advance(1)
    assert retention.delete_ended(db, clock.now(), 2) == 2
    assert left(db) == set(made[2:])


def test_the_newest_row_stays_so_that_no_id_is_given_twice(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    made = [add_dispatch(db, job, Status.COMPLETED) for _ in range(3)]
    clock.advance(DAY)
    assert retention.delete_ended(db, clock.now(), 100) == 2
    assert add_dispatch(db, job) == made[-1] + 1


def test_offline_workers_go_when_nothing_names_them(db: Database, clock: FakeClock) -> None:
    add_worker(db, "worker-gone1", status=WorkerStatus.OFFLINE)
    add_worker(db, "worker-owner", status=WorkerStatus.OFFLINE)
    add_worker(db, "worker-alive")
    add_dispatch(db, add_job(db), Status.IN_PROGRESS, worker_id="worker-owner")
    clock.advance(DAY)
    assert retention.delete_offline_workers(db, clock.now(), 100) == 1
    assert retention.delete_offline_workers(db, START, 100) == 0
    assert count(db, "worker_registration") == 2


def test_live_output_of_an_ended_run_is_swept_away(db: Database) -> None:
    ended, running = (add_dispatch(db, add_job(db), status) for status in (Status.FAILED, Status.IN_PROGRESS))
    for dispatch_id in (ended, running):
        add_chunk(db, dispatch_id, 0, b"text")
    assert retention.delete_stray_chunks(db, 100) == 1
    assert count(db, "job_output_chunk") == 1
