"""Pools and priorities: never more runs of a pool than it has places, and nobody waits for ever."""

from __future__ import annotations

import threading
from datetime import timedelta

from sqlalchemy import func, insert, select

from jobsup.model import Overlap, PoolSpec, Reason, RunResult, SetSpec, Status
from jobsup.store import dispatches, jobs, notifier
from jobsup.store.engine import Database
from jobsup.store.models import JobDispatch, JobPool
from jobsup.store.rounds import Answer, Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import WORKER_ID, add_dispatch, add_job, add_worker, connect, dispatch_row, job_row, job_spec

ME = Worker(WORKER_ID, "here")


def add_pool(db: Database, name: str, places: int) -> None:
    with db.write() as connection:
        values = {"key": f"default/{name}", "set_name": "default", "name": name, "places": places}
        connection.execute(insert(JobPool).values(**values))


def claim(db: Database, limit: int = 1, worker: Worker = ME) -> list[int]:
    return [each.dispatch_id for each in exchange(db, worker, Round(claim=limit)).claims]


def finish(db: Database, dispatch_id: int, claim: int = 0) -> Answer:
    result = RunResult(dispatch_id, Status.COMPLETED, Reason.NONE, finished_at=db.now(), started_at=db.now())
    return exchange(db, ME, Round(results=[result], claim=claim))


def test_a_pool_gives_out_its_places_and_the_next_when_one_comes_back(db: Database) -> None:
    add_worker(db)
    add_pool(db, "reports", 2)
    first, second, third = (add_dispatch(db, add_job(db, pool="reports")) for _ in range(3))
    free = add_dispatch(db, add_job(db))
    assert claim(db, 5) == [first, second, free]
    assert claim(db, 5) == []
    assert [each.dispatch_id for each in finish(db, first, claim=5).claims] == [third]


def test_what_waits_for_a_full_pool_hides_nothing_behind_it(db: Database) -> None:
    add_worker(db)
    add_pool(db, "reports", 1)
    pooled = [add_dispatch(db, add_job(db, pool="reports")) for _ in range(60)]
    free = [add_dispatch(db, add_job(db)) for _ in range(3)]
    assert claim(db, 4) == [pooled[0], *free]


def test_one_job_with_many_waiting_runs_hides_nothing_behind_it(db: Database) -> None:
    add_worker(db)
    job = add_job(db, overlap=Overlap.QUEUE)
    queued = [add_dispatch(db, job) for _ in range(60)]
    free = add_dispatch(db, add_job(db))
    assert claim(db, 2) == [queued[0], free]


def test_a_pool_that_is_not_defined_any_more_holds_nobody(db: Database) -> None:
    add_worker(db)
    waiting = [add_dispatch(db, add_job(db, pool="gone")) for _ in range(3)]
    assert claim(db, 3) == waiting


def test_a_freed_place_wakes_some_worker_though_this_one_claims_too(db: Database) -> None:
    add_worker(db)
    add_pool(db, "reports", 1)
    first = add_dispatch(db, add_job(db, pool="reports"))
    claim(db)
    listener = notifier.Listener(db, "worker")
    add_dispatch(db, add_job(db, priority=9))
    finish(db, first, claim=1)
    assert listener.drain()
    listener.close()


def test_workers_that_race_for_a_pool_never_pass_its_places(db: Database) -> None:
    add_pool(db, "reports", 3)
    wanted = {add_dispatch(db, add_job(db, pool="reports")) for _ in range(40)}
    start, claimed = threading.Barrier(4), threading.Barrier(4)
    most: list[int] = []
    ended: list[int] = []

    def work(number: int) -> None:
        own = connect(db)
        worker = Worker(add_worker(own, f"worker-{number:05d}"), "here")
        running = select(func.count()).where(JobDispatch.status == Status.IN_PROGRESS)
        start.wait()
        got = claim(own, 2, worker)
        claimed.wait(30)  # all have claimed, and nobody has ended anything
        while len(ended) < len(wanted):
            with own.read() as connection:
                most.append(connection.execute(running).scalar_one())
            for dispatch_id in got:
                result = RunResult(dispatch_id, Status.COMPLETED, Reason.NONE, finished_at=own.now())
                exchange(own, worker, Round(results=[result]))
                ended.append(dispatch_id)
            got = claim(own, 2, worker)
        own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(ended) == sorted(wanted)
    assert max(most) == 3


def test_a_synchronised_set_brings_its_pools_and_takes_them_away(db: Database) -> None:
    def sync(*pools: PoolSpec) -> None:
        specs = [job_spec("a", pool="reports")]
        jobs.sync(db, "default", specs, content_hash="", node="", path="", shared=SetSpec(pools=pools))

    def stored() -> list[tuple[str, int]]:
        with db.read() as connection:
            return [(row.key, row.places) for row in connection.execute(select(JobPool.key, JobPool.places))]

    sync(PoolSpec("reports", 4))
    assert stored() == [("default/reports", 4)]
    assert job_row(db, "a")["pool_key"] == "default/reports"
    sync(PoolSpec("reports", 5), PoolSpec("tapes", 1))
    assert stored() == [("default/reports", 5), ("default/tapes", 1)]
    sync()
    assert stored() == []


def test_a_waiting_run_gains_one_priority_each_five_minutes(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    low = add_dispatch(db, add_job(db, priority=0))
    clock.advance(299)
    high = add_dispatch(db, add_job(db, priority=1))
    assert claim(db) == [high]
    clock.advance(2)
    add_dispatch(db, add_job(db, priority=1))
    assert claim(db) == [low]


def test_an_endless_stream_of_urgent_runs_starves_nobody(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    patient = add_dispatch(db, add_job(db, priority=-2))
    urgent = add_job(db, priority=10, overlap=Overlap.ALLOW)
    got: list[int] = []
    while patient not in got and len(got) < 100:
        add_dispatch(db, urgent)
        got += claim(db)
        clock.advance(60)
    assert len(got) == 12 * 5 + 1, "twelve priorities are worth an hour"


def test_a_changed_aging_changes_what_a_priority_is_worth_from_then_on(db: Database) -> None:
    specs = [job_spec("a", priority=3)]
    for aging, worth in ((timedelta(minutes=1), 180_000), (None, 9_000_000_000_000), (timedelta(0), 0)):
        jobs.sync(db, "default", specs, content_hash="", node="", path="", priority_aging=aging)
        assert job_row(db, "a")["head_start_ms"] == worth


def test_a_retry_keeps_the_place_of_its_priority(db: Database, clock: FakeClock) -> None:
    add_worker(db)
    job = add_job(db, priority=2, retry_backoff=timedelta(0), pool="reports")
    first = add_dispatch(db, job)
    claim(db)
    clock.advance(7)
    failed = RunResult(first, Status.FAILED, Reason.EXIT_CODE, finished_at=clock.now(), started_at=clock.now())
    exchange(db, ME, Round(results=[failed]))
    row = dispatch_row(db, first + 1)
    assert row["claim_rank"] == dispatch_row(db, first)["claim_rank"] + 7000
    assert row["pool_key"] == "default/reports"


def test_a_row_of_any_rank_is_a_number_the_database_can_hold(db: Database) -> None:
    specs = [job_spec("a", priority=1_000_000), job_spec("b", priority=-1_000_000)]
    jobs.sync(db, "default", specs, content_hash="", node="", path="", priority_aging=None)
    for spec in specs:
        dispatches.create_manual(db, spec.name, params={}, requested_by="ann")
    add_worker(db)
    assert claim(db, 2) == [1, 2]
    assert dispatch_row(db, 1)["claim_rank"] < -2.9 * 10**18
