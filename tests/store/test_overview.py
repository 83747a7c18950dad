"""What people are shown: runs, counts, lag, and the summary."""

from __future__ import annotations

from datetime import timedelta

from jobsup.model import Reason, Source, Status
from jobsup.store import leases, overview
from jobsup.store.engine import Database
from tests.support.store import START, FakeClock, add_dispatch, add_job, add_log, add_worker


def ids(database: Database, **conditions: object) -> list[int]:
    return [run.id for run in overview.runs(database, **conditions)]  # type: ignore[arg-type]


def test_the_newest_runs_come_first_and_no_more_than_asked_for(db: Database) -> None:
    job = add_job(db)
    made = [add_dispatch(db, job, Status.COMPLETED) for _ in range(5)]
    assert ids(db, last=3) == made[:1:-1]


def test_runs_are_chosen_by_job_status_time_and_id(db: Database, clock: FakeClock) -> None:
    one, two = add_job(db, "one"), add_job(db, "two")
    old = add_dispatch(db, one, Status.FAILED)
    later = clock.advance(60)
    failed = add_dispatch(db, one, Status.FAILED)
    waiting = add_dispatch(db, two)
    assert ids(db, job="one") == [failed, old]
    assert ids(db, job="none") == []
    assert ids(db, status=Status.PENDING) == [waiting]
    assert ids(db, status=(Status.PENDING, Status.FAILED)) == [waiting, failed, old]
    assert ids(db, since=later) == [waiting, failed]
    assert ids(db, ids=[old, waiting, 999]) == [waiting, old]
    assert ids(db, job="one", status=Status.FAILED, since=later) == [failed]


def test_a_run_tells_how_it_was_made_and_how_it_ended(db: Database) -> None:
    job = add_job(db, "report")
    dispatch_id = add_dispatch(db, job, Status.FAILED, scheduled_for=START, params={"n": 1})
    add_log(db, dispatch_id, b"oops", exit_code=3, host="db1", pid=77, cpu_user=0.25, max_rss=4096)
    (run,) = overview.runs(db)
    assert (run.job, run.status, run.reason, run.source) == (
        "report",
        Status.FAILED,
        Reason.EXIT_CODE,
        Source.SCHEDULE,
    )
    assert (run.exit_code, run.signal, run.host, run.pid) == (3, None, "db1", 77)
    assert (run.scheduled_for, run.started_at, run.completed_at) == (START, START, START)
    assert (run.params, run.output_bytes, run.cpu_user, run.max_rss) == ({"n": 1}, 4, 0.25, 4096)


def test_a_run_that_goes_on_tells_where_its_worker_is(db: Database) -> None:
    job = add_job(db)
    add_worker(db, "worker-there", node="there")
    add_dispatch(db, job, Status.IN_PROGRESS, worker_id="worker-there")
    add_dispatch(db, job)
    assert [run.host for run in overview.runs(db)] == [None, "there"]


def test_each_job_has_one_last_run(db: Database) -> None:
    one, two, idle = add_job(db, "one"), add_job(db, "two"), add_job(db, "idle")
    add_dispatch(db, one, Status.FAILED)
    newest = add_dispatch(db, one, Status.COMPLETED)
    other = add_dispatch(db, two)
    found = overview.last_runs(db)
    assert {job_id: run.id for job_id, run in found.items()} == {one.job_id: newest, two.job_id: other}
    assert idle.job_id not in found


def test_live_runs_are_all_counted_and_ended_ones_for_a_day(db: Database, clock: FakeClock) -> None:
    job = add_job(db, overlap="allow")
    add_dispatch(db, job)
    add_dispatch(db, job, Status.IN_PROGRESS, concurrency_key=None)
    add_dispatch(db, job, Status.FAILED)
    clock.advance(timedelta(hours=23))
    add_dispatch(db, job, Status.COMPLETED)
    assert overview.counts(db) == {
        **dict.fromkeys(Status, 0),
        Status.PENDING: 1,
        Status.IN_PROGRESS: 1,
        Status.FAILED: 1,
        Status.COMPLETED: 1,
    }
    clock.advance(timedelta(hours=2))
    counted = overview.counts(db)
    assert (counted[Status.FAILED], counted[Status.COMPLETED], counted[Status.PENDING]) == (0, 1, 1)


def test_the_lag_is_the_longest_wait_of_a_due_tick(db: Database, clock: FakeClock) -> None:
    assert overview.lag(db) == timedelta()
    add_job(db, next_run=START + timedelta(seconds=10))
    assert overview.lag(db) == timedelta()
    clock.advance(13)
    assert overview.lag(db) == timedelta(seconds=3)


def test_the_summary_tells_the_whole_at_once(db: Database) -> None:
    add_job(db, "a", next_run=START + timedelta(hours=1))
    add_job(db, "b", row={"paused_at": START})
    add_job(db, "c", row={"is_active": False})
    add_worker(db)
    leases.acquire(db, "me", "here", timedelta(seconds=8))
    summary = overview.summary(db)
    assert (summary.jobs_active, summary.jobs_paused) == (2, 1)
    assert (summary.next_due, summary.lag) == (START + timedelta(hours=1), timedelta())
    assert summary.leader is not None
    assert (summary.leader.holder, summary.leader.epoch) == ("me", 1)
    assert [worker.worker_id for worker in summary.workers] == ["worker-aaaaa"]
