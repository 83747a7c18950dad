"""What the days of a job hold: each run once, whoever dies and whatever comes late, also when the runs are gone."""

from __future__ import annotations

import threading
from datetime import UTC, date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobsup.model import Reason, RunResult, Status
from jobsup.store import job_days, retention, rounds
from jobsup.store.engine import Database
from jobsup.store.job_days import SETTLE, SHORTEST_SECONDS, Day
from jobsup.store.rows import JobDay
from tests.support.clock import FakeClock
from tests.support.store import START, WORKER_ID, add_dispatch, add_job, add_log, add_worker, connect

TODAY = START.astimezone(UTC).date()
LONG_AGO = date(2000, 1, 1)


def ended(db: Database, job: Any, status: Status = Status.COMPLETED, seconds: float = 1.0, **costs: Any) -> int:
    """Write a run that has just ended after so many seconds."""
    now = db.now()
    run = add_dispatch(db, job, status, started_at=now - timedelta(seconds=seconds), completed_at=now)
    add_log(db, run, **costs)
    return run


def count_all(db: Database, clock: FakeClock, **options: Any) -> int:
    """Let what has ended settle, and count it."""
    clock.advance(SETTLE + timedelta(seconds=1))
    total = 0
    while counted := job_days.count(db, **options):
        total += counted
    return total


def days(db: Database, job: Any) -> list[Day]:
    return job_days.read(db, job.job_id, since=LONG_AGO)


def test_a_day_tells_how_many_ended_how_how_long_and_at_what_cost(db: Database, clock: FakeClock) -> None:
    job = add_job(db, "backup")
    for seconds in range(1, 101):
        ended(
            db, job, seconds=seconds, cpu_user=0.5, cpu_system=0.25, max_rss=seconds << 20, io_read=512, io_write=1024
        )
    ended(db, job, Status.FAILED)
    ended(db, job, Status.TIMEOUT)
    ended(db, job, Status.CANCELLED)
    add_dispatch(db, job, Status.SKIPPED, skipped_count=7)
    assert count_all(db, clock) == 104
    (day,) = days(db, job)
    assert (day.day, day.completed, day.failed, day.timed_out, day.cancelled, day.skipped) == (TODAY, 100, 1, 1, 1, 7)
    assert day.judged == 102
    median, most = day.quantile(0.5), day.quantile(0.95)
    assert median is not None
    assert most is not None
    assert median.total_seconds() == pytest.approx(50, rel=0.06)
    assert most.total_seconds() == pytest.approx(95, rel=0.06)
    assert (day.cpu_seconds, day.max_rss, day.io_read, day.io_write) == (75.0, 100 << 20, 51_200, 102_400)
    with db.read() as connection:
        p50 = connection.execute(select(JobDay.p50_seconds)).scalar_one()
    assert p50 == pytest.approx(median.total_seconds())


def test_each_run_counts_once_however_often_and_in_what_pieces_they_are_counted(db: Database, clock: FakeClock) -> None:
    one, other = add_job(db, "one"), add_job(db, "other")
    for number in range(25):
        ended(db, (one, other)[number % 2])
        clock.advance(timedelta(seconds=number % 3))
    assert count_all(db, clock, limit=4) == 25
    assert count_all(db, clock) == 0
    ended(db, one)
    assert job_days.count(db) == 0, "it may have neighbours that are not written yet"
    assert count_all(db, clock) == 1
    assert (sum(day.completed for day in days(db, one)), sum(day.completed for day in days(db, other))) == (14, 12)


def test_runs_of_one_instant_are_never_parted(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    for _ in range(9):
        ended(db, job)
    assert count_all(db, clock, limit=2) == 9


def test_days_are_parted_at_midnight_utc(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    ended(db, job)
    clock.advance(timedelta(days=1))
    ended(db, job)
    count_all(db, clock)
    assert [(day.day, day.completed) for day in days(db, job)] == [(TODAY, 1), (TODAY + timedelta(days=1), 1)]


def test_days_outlive_their_runs_and_nothing_goes_uncounted(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    for _ in range(5):
        ended(db, job)
    add_dispatch(db, job)  # the newest row of all stays
    assert retention.delete_ended(db, db.now() + timedelta(days=1), 100) == 0, "not counted yet"
    count_all(db, clock)
    assert retention.delete_ended(db, db.now() + timedelta(days=1), 100) == 5
    assert count_all(db, clock) == 0
    assert [day.completed for day in days(db, job)] == [5]


def test_a_count_that_is_cut_off_is_made_again_whole(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(db)
    ended(db, job)
    clock.advance(SETTLE + timedelta(seconds=1))

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job_days, "_set_mark", die)
        with pytest.raises(KeyboardInterrupt):
            job_days.count(db)
    assert days(db, job) == []
    assert job_days.count(db) == 1
    assert [day.completed for day in days(db, job)] == [1]


def finish(db: Database, run: int, finished_at: Any) -> None:
    """Have a worker write the end of a run."""
    result = RunResult(run, Status.COMPLETED, Reason.NONE, finished_at, started_at=finished_at - timedelta(seconds=2))
    answer = rounds.exchange(db, rounds.Worker(WORKER_ID, "here"), rounds.Round(results=[result]))
    assert not answer.refused


def test_an_end_that_was_written_late_is_counted_too(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    job = add_job(db, overlap="allow")
    early, late = add_dispatch(db, job, Status.IN_PROGRESS), add_dispatch(db, job, Status.IN_PROGRESS)
    ended_at = db.now()
    finish(db, early, ended_at)
    assert count_all(db, clock) == 1
    finish(db, late, ended_at)  # its worker was cut off from the database for so long
    assert count_all(db, clock) == 0
    assert [(day.completed, sum(day.durations.values())) for day in days(db, job)] == [(2, 2)]


def test_a_late_end_and_a_count_at_the_same_moment_count_it_once(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    job = add_job(db, overlap="allow")
    runs = [add_dispatch(db, job, Status.IN_PROGRESS) for _ in range(40)]
    ended_at = db.now()
    clock.advance(SETTLE - timedelta(seconds=20))
    mine, others = connect(db), connect(db)
    stop = threading.Event()

    def count_on() -> None:
        while not stop.is_set():
            job_days.count(others, limit=3)

    counting = threading.Thread(target=count_on)
    counting.start()
    try:
        for number, run in enumerate(runs):
            finish(mine, run, ended_at + timedelta(seconds=number))
            clock.advance(timedelta(seconds=2))
    finally:
        stop.set()
        counting.join()
    count_all(db, clock)
    assert sum(day.completed for day in days(db, job)) == 40
    mine.close()
    others.close()


def test_two_who_count_for_the_first_time_count_nothing_twice(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    for _ in range(10):
        ended(db, job)
    clock.advance(SETTLE + timedelta(seconds=1))
    both = [connect(db), connect(db)]
    barrier = threading.Barrier(2)

    def count_once(database: Database) -> None:
        barrier.wait()
        try:
            job_days.count(database)
        except Exception:
            return

    threads = [threading.Thread(target=count_once, args=(each,)) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [day.completed for day in days(db, job)] == [10]
    for each in both:
        each.close()


def test_old_days_go_in_the_end(db: Database, clock: FakeClock) -> None:
    job = add_job(db)
    ended(db, job)
    count_all(db, clock)
    assert job_days.delete_old(db, TODAY, 10) == 0
    assert job_days.delete_old(db, TODAY + timedelta(days=1), 10) == 1
    assert days(db, job) == []


@pytest.mark.parametrize("seconds", [0.0, SHORTEST_SECONDS, 0.0123, 1.0, 59.9, 86_400.0])
def test_a_duration_is_told_to_five_per_cent(seconds: float) -> None:
    told = job_days.quantile({job_days.class_of(seconds): 1}, 0.5)
    assert told is not None
    assert told.total_seconds() == pytest.approx(seconds, rel=0.05, abs=SHORTEST_SECONDS)
