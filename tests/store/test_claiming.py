"""Claims: who gets what, in which order, and that nobody gets what is not theirs."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from jobsup.model import Heartbeat, Overlap, Status, WorkerStatus
from jobsup.store import dispatches, jobs
from jobsup.store.engine import Database
from jobsup.store.rounds import Answer, Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import (
    WORKER_ID,
    add_dispatch,
    add_job,
    add_worker,
    connect,
    dispatch_row,
    job_spec,
    worker_row,
)

ME = Worker(WORKER_ID, "here")


def claim(db: Database, limit: int = 1, worker: Worker = ME) -> Answer:
    return exchange(db, worker, Round(claim=limit))


def ids(answer: Answer) -> list[int]:
    return [each.dispatch_id for each in answer.claims]


def test_the_highest_priority_goes_first_then_first_come(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    first = add_dispatch(db, add_job(db))
    clock.advance(1)
    second = add_dispatch(db, add_job(db))
    urgent = add_dispatch(db, add_job(db, priority=5))
    assert ids(claim(db, 3)) == [urgent, first, second]


def test_a_claim_writes_owner_deadline_and_definition(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    job = add_job(db, timeout=timedelta(seconds=30))
    dispatch_id = add_dispatch(db, job)
    (found,) = claim(db).claims
    row = dispatch_row(db, dispatch_id)
    assert (row["status"], row["worker_id"], row["claimed_at"]) == (Status.IN_PROGRESS, WORKER_ID, clock.now())
    assert row["deadline_at"] == clock.now() + timedelta(seconds=30)
    assert row["config_hash"] == found.config_hash == job.config_hash
    assert found.job == job.spec


def test_a_worker_serves_only_its_queues(db: Database) -> None:
    add_worker(db)
    add_dispatch(db, add_job(db, queue="slow"))
    fast = add_dispatch(db, add_job(db, queue="fast"))
    assert ids(claim(db, 2, Worker(WORKER_ID, "here", ("fast",)))) == [fast]


def test_a_job_runs_only_where_all_is_that_it_requires(db: Database) -> None:
    add_worker(db)
    fast_gpu = add_dispatch(db, add_job(db, requires=("gpu", "ssd")))
    gpu = add_dispatch(db, add_job(db, requires=("gpu",)))
    there = add_dispatch(db, add_job(db, requires=("host:there",)))
    plain = add_dispatch(db, add_job(db))
    assert ids(claim(db, 9, Worker(WORKER_ID, "here", tags=("ssd",)))) == [plain]
    assert ids(claim(db, 9, Worker(WORKER_ID, "here", tags=("gpu", "tape")))) == [gpu]
    assert ids(claim(db, 9, Worker(WORKER_ID, "there"))) == [there]
    assert ids(claim(db, 9, Worker(WORKER_ID, "here", tags=("gpu", "ssd")))) == [fast_gpu]


def test_what_waits_moves_with_its_jobs_definition(db: Database) -> None:
    add_worker(db)
    job = job_spec("a", requires=("gpu",), queue="slow")
    jobs.sync(db, "default", [job], content_hash="1", node="here", path="")
    dispatches.create_manual(db, "a", params={}, requested_by="ann")
    assert ids(claim(db, 1, Worker(WORKER_ID, "here", ("fast",)))) == []
    jobs.sync(db, "default", [replace(job, requires=(), queue="fast")], content_hash="2", node="here", path="")
    assert len(ids(claim(db, 1, Worker(WORKER_ID, "here", ("fast",))))) == 1


def test_a_dispatch_for_another_host_is_left_alone(db: Database) -> None:
    add_worker(db)
    add_dispatch(db, add_job(db), target="elsewhere")
    here = add_dispatch(db, add_job(db), target="here")
    assert ids(claim(db, 2)) == [here]


def test_work_that_waits_says_when_it_comes_due(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    later = clock.now() + timedelta(seconds=7)
    dispatch_id = add_dispatch(db, add_job(db), available_at=later)
    answer = claim(db)
    assert (answer.claims, answer.next_available_at) == ((), later)
    clock.advance(7)
    assert ids(claim(db)) == [dispatch_id]


def test_one_job_has_one_running_attempt_unless_overlap_is_allowed(db: Database) -> None:
    add_worker(db)
    queued, free = add_job(db, overlap=Overlap.QUEUE), add_job(db, overlap=Overlap.ALLOW)
    first, _ = add_dispatch(db, queued), add_dispatch(db, queued)
    both = [add_dispatch(db, free), add_dispatch(db, free)]
    assert ids(claim(db, 4)) == [first, *both]
    assert ids(claim(db, 4)) == []


def test_a_worker_that_was_given_up_claims_nothing(db: Database) -> None:
    add_worker(db, status=WorkerStatus.OFFLINE)
    dispatch_id = add_dispatch(db, add_job(db))
    answer = claim(db)
    assert not answer.is_registered
    assert not answer.claims
    assert dispatch_row(db, dispatch_id)["status"] == Status.PENDING


def test_a_heartbeat_renews_the_registration_and_tells_a_lost_worker(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    clock.advance(5)
    beat = Round(heartbeat=Heartbeat(WorkerStatus.BUSY, 3, None))
    assert exchange(db, ME, beat).is_registered
    row = worker_row(db)
    assert (row["last_heartbeat"], row["status"], row["jobs_processed"]) == (clock.now(), WorkerStatus.BUSY, 3)
    assert not exchange(db, Worker("worker-zzzzz", "here"), beat).is_registered


def test_unstarted_work_is_given_back_without_a_trace(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    given_back, started = add_dispatch(db, add_job(db)), add_dispatch(db, add_job(db))
    claim(db, 2)
    exchange(db, ME, Round(started={started: clock.now()}))
    exchange(db, ME, Round(release=[given_back, started]))
    row = dispatch_row(db, given_back)
    assert (row["status"], row["worker_id"], row["retry_count"]) == (Status.PENDING, None, 0)
    assert dispatch_row(db, started)["status"] == Status.IN_PROGRESS, "what has started cannot be given back"


def test_workers_that_claim_at_the_same_time_share_the_work_without_doubles(db: Database) -> None:
    wanted = {add_dispatch(db, add_job(db)) for _ in range(60)}
    got: list[int] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        own = connect(db)
        worker = Worker(add_worker(own, f"worker-{number:05d}"), "here")
        start.wait()
        while found := ids(claim(own, 3, worker)):
            got.extend(found)
        own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(got) == sorted(wanted)
