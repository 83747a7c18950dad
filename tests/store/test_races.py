"""Two that want the same at the same moment, each on a connection of its own: one of them gets it, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from jobsup.errors import ConflictError
from jobsup.model import Overlap, Reason, RunResult, Status, TickPlan, WorkerStatus
from jobsup.store import claiming, dispatches, jobs, leases, rescue, ticks
from jobsup.store.engine import Database
from jobsup.store.models import JobDispatch
from jobsup.store.rounds import Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import (
    WORKER_ID,
    add_dispatch,
    add_job,
    add_worker,
    connect,
    dispatch_row,
    dispatches_of,
    job_spec,
    worker_row,
)
from tests.support.waiting import PATIENCE, until

TERM = timedelta(seconds=8)
JOIN_SECONDS = 30


@contextmanager
def at_once(*works: Callable[[], object]) -> Iterator[None]:
    """Start all works at the same moment, and do the block meanwhile; each has to end, and without an error."""
    start = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(JOIN_SECONDS)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)


def each_on_its_own(db: Database, work: Callable[[Database, int], object], count: int) -> None:
    """Do a work `count` times at once, each time as another process would."""

    def run(number: int) -> None:
        own = connect(db)
        try:
            work(own, number)
        finally:
            own.close()

    with at_once(*(lambda number=number: run(number) for number in range(count))):
        pass


def test_many_waiting_runs_of_one_job_are_run_one_after_the_other_whoever_claims(db: Database) -> None:
    wanted = [add_dispatch(db, add_job(db, overlap=Overlap.QUEUE)) for _ in range(1)]
    job = jobs.list_jobs(db)[0]
    wanted += [add_dispatch(db, job) for _ in range(23)]
    done: list[int] = []
    most: list[int] = []
    running = select(func.count()).where(JobDispatch.status == Status.IN_PROGRESS)

    def work(own: Database, number: int) -> None:
        worker = Worker(add_worker(own, f"worker-{number:05d}"), "here")
        while len(done) < len(wanted):
            for claim in exchange(own, worker, Round(claim=2)).claims:
                with own.read() as connection:
                    most.append(connection.execute(running).scalar_one())
                ended = RunResult(claim.dispatch_id, Status.COMPLETED, Reason.NONE, finished_at=own.now())
                assert not exchange(own, worker, Round(results=[ended])).refused
                done.append(claim.dispatch_id)

    each_on_its_own(db, work, 4)
    assert sorted(done) == wanted
    assert set(most) == {1}


def test_run_now_asked_for_at_once_makes_one_run_where_runs_must_not_overlap(db: Database) -> None:
    job = add_job(db, "a", overlap=Overlap.SKIP)
    each_on_its_own(
        db, lambda own, number: dispatches.create_manual(own, "a", params={}, requested_by=f"ann{number}"), 6
    )
    statuses = sorted(row["status"] for row in dispatches_of(db, job))
    assert statuses == [Status.PENDING, *[Status.SKIPPED] * 5]


def test_a_tick_and_a_run_now_at_once_make_one_run_where_runs_must_not_overlap(db: Database, clock: FakeClock) -> None:
    found = [add_job(db, f"job-{number}", overlap=Overlap.SKIP, next_run=clock.now()) for number in range(20)]
    lease = leases.acquire(db, "me", "here", TERM)
    assert lease is not None
    plans = [TickPlan(job.job_id, clock.now(), clock.now() + TERM, (clock.now(),)) for job in found]

    def dispatch(own: Database) -> None:
        for plan in plans:
            ticks.dispatch(own, lease, [plan])

    def run_now(own: Database) -> None:
        for job in found:
            dispatches.create_manual(own, job.name, params={}, requested_by="ann")

    each_on_its_own(db, lambda own, number: (dispatch, run_now)[number](own), 2)
    for job in found:
        assert sorted(row["status"] for row in dispatches_of(db, job)) == [Status.PENDING, Status.SKIPPED]


def test_a_run_that_is_claimed_and_cancelled_at_once_is_either(db: Database) -> None:
    waiting = [add_dispatch(db, add_job(db)) for _ in range(30)]
    add_worker(db)

    def claim(own: Database) -> None:
        for _ in waiting:
            exchange(own, Worker(WORKER_ID, "here"), Round(claim=1))

    def cancel(own: Database) -> None:
        for dispatch_id in waiting:
            dispatches.cancel(own, dispatch_id, "ann")

    each_on_its_own(db, lambda own, number: (claim, cancel)[number](own), 2)
    for dispatch_id in waiting:
        row = dispatch_row(db, dispatch_id)
        is_running = (row["status"], row["worker_id"]) == (Status.IN_PROGRESS, WORKER_ID)
        assert is_running or (row["status"], row["worker_id"]) == (Status.CANCELLED, None)
        assert row["cancel_requested_by"] == "ann"


def test_of_two_retries_at_once_one_is_made(db: Database) -> None:
    job = add_job(db)
    failed = add_dispatch(db, job, Status.FAILED)
    refused: list[str] = []

    def retry(own: Database, number: int) -> None:
        try:
            dispatches.retry(own, failed, f"ann{number}")
        except ConflictError as error:
            refused.append(str(error))

    each_on_its_own(db, retry, 4)
    assert len(dispatches_of(db, job)) == 2
    assert len(refused) == 3


def test_two_hosts_that_bring_the_same_file_at_once_make_its_jobs_once(db: Database) -> None:
    specs = [job_spec(f"job-{number}") for number in range(50)]
    added: list[int] = []

    def sync(own: Database, number: int) -> None:
        synced = jobs.sync(own, "default", specs, content_hash="x", node=f"host-{number}", path="/etc/jobsup.toml")
        added.append(len(synced.added))

    each_on_its_own(db, sync, 3)
    assert sorted(added) == [0, 0, 50]
    assert len(jobs.list_jobs(db)) == 50


def test_a_leader_cannot_be_replaced_in_the_middle_of_a_dispatch(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its rows could be committed after the first ones of the next term."""
    job = add_job(db, next_run=clock.now())
    lease = leases.acquire(db, "old", "here", TERM)
    assert lease is not None
    clock.advance(9)
    plan = TickPlan(job.job_id, clock.now() - timedelta(seconds=9), None, (clock.now() - timedelta(seconds=9),))
    inside, may_go_on = threading.Event(), threading.Event()
    advance = ticks._advance

    def pause(*arguments: Any) -> Any:
        inside.set()
        assert may_go_on.wait(10)
        return advance(*arguments)

    monkeypatch.setattr(ticks, "_advance", pause)
    order: list[str] = []

    def dispatch() -> None:
        own = connect(db)
        ticks.dispatch(own, lease, [plan])
        order.append("dispatched")
        own.close()

    def replace() -> None:
        own = connect(db)
        assert inside.wait(10)
        assert leases.acquire(own, "new", "there", TERM) is not None
        order.append("replaced")
        own.close()

    with at_once(dispatch, replace):
        assert inside.wait(10)
        threading.Event().wait(0.2)  # time enough for a term that does not wait
        order.append("let go")
        may_go_on.set()
    assert order[0] == "let go"
    assert sorted(order[1:]) == ["dispatched", "replaced"]
    with pytest.raises(ticks.LeaseLostError):
        ticks.dispatch(db, lease, [plan])


def test_who_gives_a_worker_up_finds_also_what_it_claims_in_that_moment(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_worker(db)
    dispatch_id = add_dispatch(db, add_job(db))
    inside, may_go_on = threading.Event(), threading.Event()
    claim = claiming.claim

    def pause(*arguments: Any, **options: Any) -> Any:
        claims = claim(*arguments, **options)
        inside.set()
        assert may_go_on.wait(10)
        return claims

    monkeypatch.setattr(claiming, "claim", pause)

    def work() -> None:
        own = connect(db)
        exchange(own, Worker(WORKER_ID, "here"), Round(claim=1))
        own.close()

    def give_up() -> None:
        own = connect(db)
        assert inside.wait(10)
        rescue.close_lost(own, [WORKER_ID])
        own.close()

    with at_once(work, give_up):
        assert inside.wait(10)
        threading.Event().wait(0.2)  # time enough for one that does not wait
        may_go_on.set()
    until(lambda: worker_row(db)["status"] == WorkerStatus.OFFLINE, PATIENCE, "the worker to be given up")
    row = dispatch_row(db, dispatch_id)
    assert (row["status"], row["reason"]) == (Status.TIMEOUT, Reason.WORKER_LOST)


def test_a_worker_that_was_given_up_claims_nothing_and_hears_of_it(db: Database) -> None:
    add_worker(db)
    dispatch_id = add_dispatch(db, add_job(db))
    rescue.close_lost(db, [WORKER_ID])
    answer = exchange(db, Worker(WORKER_ID, "here"), Round(claim=1))
    assert (answer.claims, answer.is_registered) == ((), False)
    assert dispatch_row(db, dispatch_id)["status"] == Status.PENDING


def test_text_that_no_database_could_hold_is_held_as_well_as_can_be(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    message = "nul \0, half a pair \ud800, whole ö"
    ended = RunResult(dispatch_id, Status.FAILED, Reason.EXCEPTION, finished_at=db.now(), error_message=message)
    exchange(db, Worker(WORKER_ID, "here"), Round(results=[ended]))
    assert dispatch_row(db, dispatch_id)["error_message"] == "nul \ufffd, half a pair ?, whole ö"
    add_job(db, "a", overlap=Overlap.ALLOW)
    made = dispatches.create_manual(db, "a", params={"p": "\0"}, requested_by="x" * 300)
    row = dispatch_row(db, made.dispatch_id)
    assert (len(row["requested_by"]), row["params"]) == (255, {"p": "\0"})
