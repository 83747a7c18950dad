"""A job that runs on each host: one run a tick for every living host that can, each with a life of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from jobsup.errors import ConflictError
from jobsup.model import DependsWhen, Lease, On, Overlap, Reason, RunResult, Source, Status, TickPlan, WorkerStatus
from jobsup.store import backfills, dispatches, hosts, jobs, leases, rescue, slots, ticks
from jobsup.store.engine import Database
from jobsup.store.hosts import HOST_GRACE
from jobsup.store.jobs import JobFacts
from jobsup.store.models import WorkerRegistration
from jobsup.store.rounds import Answer, Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import START, add_dispatch, add_job, add_worker, dispatch_row, dispatches_of, job_spec

HOUR = timedelta(hours=1)
HOSTS = ("db1", "db2", "web1")


def fleet(db: Database, *nodes: str, **columns: Any) -> None:
    for node in nodes or HOSTS:
        add_worker(db, f"worker-{node}", node=node, **columns)


def each_job(db: Database, name: str = "tidy", **overrides: Any) -> JobFacts:
    return add_job(db, name, next_run=START, on=On.EACH, **overrides)


def lease(db: Database) -> Lease:
    held = leases.acquire(db, "me", "here", timedelta(hours=9), is_dead=lambda _: True)
    assert held is not None
    return held


def tick(db: Database, job: JobFacts, at: datetime = START, more: Sequence[datetime] = ()) -> list[dict[str, Any]]:
    """Dispatch a tick and return the rows it made."""
    known = {row["id"] for row in dispatches_of(db, job)}
    seen = jobs.get_job(db, job.name).next_run
    assert seen is not None
    plan = TickPlan(job.job_id, seen, at + HOUR, runs=(at, *more))
    ticks.dispatch(db, lease(db), [plan])
    return [row for row in dispatches_of(db, job) if row["id"] not in known]


def claim(db: Database, node: str, limit: int = 9) -> Answer:
    return exchange(db, Worker(f"worker-{node}", node), Round(claim=limit))


def finish(db: Database, node: str, dispatch_id: int, status: Status = Status.COMPLETED) -> None:
    reason = Reason.NONE if status is Status.COMPLETED else Reason.EXIT_CODE
    result = RunResult(dispatch_id, status, reason, db.now(), started_at=db.now())
    assert not exchange(db, Worker(f"worker-{node}", node), Round(results=[result])).refused


def on(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {row["target"]: row["status"] for row in rows}


def test_a_tick_becomes_one_run_for_each_living_host_and_none_may_take_anothers(db: Database) -> None:
    fleet(db)
    job = each_job(db)
    rows = tick(db, job)
    assert on(rows) == dict.fromkeys(HOSTS, Status.PENDING)
    assert {row["scheduled_for"] for row in rows} == {START}
    for row in rows:
        (claimed,) = claim(db, row["target"]).claims
        assert claimed.dispatch_id == row["id"]


def test_the_same_tick_twice_makes_no_second_run_on_any_host(db: Database) -> None:
    fleet(db)
    job = each_job(db)
    tick(db, job)
    with db.write() as connection:
        connection.exec_driver_sql(
            "UPDATE job_dispatch SET status = 'SKIPPED', reason = 'x', completed_at = created_at"
        )
    assert tick(db, job) == []
    assert len(dispatches_of(db, job)) == len(HOSTS)


def test_only_hosts_that_could_run_it_have_a_run(db: Database) -> None:
    fleet(db, "db1", queues=["slow"])
    fleet(db, "db2", tags=["host:db2", "ssd"])
    fleet(db, "web1")
    assert set(on(tick(db, each_job(db, "ssd", requires=("ssd",))))) == {"db2"}
    assert set(on(tick(db, each_job(db, "slow", queue="slow")))) == set(HOSTS)
    assert set(on(tick(db, each_job(db, "all")))) == {"db2", "web1"}


def test_a_tick_that_no_host_can_run_says_so(db: Database) -> None:
    fleet(db)
    [row] = tick(db, each_job(db, requires=("gpu",)))
    assert (row["status"], row["reason"], row["target"]) == (Status.SKIPPED, Reason.NO_HOST, "")
    assert row["error_message"] == 'no living host has a worker with gpu that serves the queue "default"'


def test_a_host_that_restarts_is_not_passed_over_and_one_that_stays_away_is(db: Database, clock: FakeClock) -> None:
    fleet(db)
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE worker_registration SET status = 'OFFLINE' WHERE node = 'db2'")
    job = each_job(db, overlap=Overlap.ALLOW)
    assert set(on(tick(db, job))) == set(HOSTS)
    clock.advance(HOST_GRACE.total_seconds() + 1)
    assert set(on(tick(db, job, START + HOUR))) == {"db1", "web1"}


def test_nobody_is_passed_over_because_the_database_was_away(db: Database, clock: FakeClock) -> None:
    fleet(db)
    clock.advance(3600)
    with db.write() as connection:
        heard_of = update(WorkerRegistration).where(WorkerRegistration.node == "db1")
        connection.execute(heard_of.values(last_heartbeat=db.now()))
    assert set(on(tick(db, each_job(db)))) == set(HOSTS)


def test_what_a_hosts_present_workers_offer_counts_and_not_what_earlier_ones_did(db: Database) -> None:
    add_worker(db, "worker-old", node="db1", tags=["host:db1", "gpu"], status=WorkerStatus.OFFLINE)
    fleet(db, "db1")
    with db.read() as connection:
        living = hosts.living(connection, db.now())
    assert hosts.able(living, "default", ()) == ["db1"]
    assert hosts.able(living, "default", ("gpu",)) == []


def test_after_a_time_in_which_all_were_down_those_that_lived_last_are_meant(db: Database, clock: FakeClock) -> None:
    fleet(db, "long-gone", status=WorkerStatus.OFFLINE)
    clock.advance(86_400)
    fleet(db, "db1", "db2", status=WorkerStatus.OFFLINE)
    clock.advance(3 * 3600)
    assert set(on(tick(db, each_job(db)))) == {"db1", "db2"}


@pytest.mark.parametrize(
    ("overlap", "second"),
    [(Overlap.SKIP, Status.SKIPPED), (Overlap.QUEUE, Status.PENDING), (Overlap.REPLACE, Status.PENDING)],
)
def test_overlap_is_judged_host_by_host(db: Database, overlap: Overlap, second: Status) -> None:
    fleet(db)
    job = each_job(db, overlap=overlap)
    first = {row["target"]: row["id"] for row in tick(db, job)}
    (still,) = claim(db, "db1").claims
    for node in ("db2", "web1"):
        claim(db, node)
        finish(db, node, first[node])
    rows = tick(db, job, START + HOUR)
    assert on(rows) == {"db1": second, "db2": Status.PENDING, "web1": Status.PENDING}
    assert [len(claim(db, node).claims) for node in HOSTS] == [0, 1, 1], "one at a time on each host"
    wished = dispatch_row(db, still.dispatch_id)["cancel_requested_at"] is not None
    assert wished == (overlap is Overlap.REPLACE)


def test_a_retry_stays_on_its_host(db: Database, clock: FakeClock) -> None:
    fleet(db)
    job = each_job(db, max_retries=1, retry_backoff=timedelta(seconds=1))
    first = {row["target"]: row["id"] for row in tick(db, job)}
    claim(db, "db2")
    finish(db, "db2", first["db2"], Status.FAILED)
    clock.advance(2)
    [retried] = [row for row in dispatches_of(db, job) if row["source"] == Source.RETRY]
    assert retried["target"] == "db2"
    assert retried["id"] not in [each.dispatch_id for each in claim(db, "db1").claims]
    assert [each.dispatch_id for each in claim(db, "db2").claims] == [retried["id"]]


def test_what_a_lost_host_had_waits_for_it_and_ends_when_it_stays_away(db: Database, clock: FakeClock) -> None:
    fleet(db)
    job = each_job(db)
    [lost] = [row["id"] for row in tick(db, job) if row["target"] == "db2"]
    claim(db, "db2")
    rescue.close_lost(db, ["worker-db2"])
    assert (dispatch_row(db, lost)["status"], dispatch_row(db, lost)["reason"]) == (Status.TIMEOUT, Reason.WORKER_LOST)
    retry = slots.attempts(db, lost)[-1]
    assert (dispatch_row(db, retry)["target"], dispatch_row(db, retry)["status"]) == ("db2", Status.PENDING)
    threshold = timedelta(minutes=10)
    clock.advance(599)
    assert rescue.cancel_hostless(db, threshold) == []
    clock.advance(2)
    for node in ("db1", "web1"):
        add_worker(db, f"new-{node}", node=node)
    assert rescue.cancel_hostless(db, threshold) == [retry]
    row = dispatch_row(db, retry)
    assert (row["status"], row["reason"]) == (Status.CANCELLED, Reason.HOST_GONE)
    assert row["error_message"] == "no worker on db2 has been heard of for 10m"


def test_what_waits_for_a_host_runs_when_it_is_back(db: Database, clock: FakeClock) -> None:
    fleet(db)
    job = each_job(db)
    waiting = {row["target"]: row["id"] for row in tick(db, job)}
    clock.advance(599)
    add_worker(db, "worker-back", node="db2")
    clock.advance(300)
    cancelled = rescue.cancel_hostless(db, timedelta(minutes=10))
    assert cancelled == sorted([waiting["db1"], waiting["web1"]])
    claimed = exchange(db, Worker("worker-back", "db2"), Round(claim=1)).claims
    assert [each.dispatch_id for each in claimed] == [waiting["db2"]]


def test_run_now_makes_one_on_each_host_or_on_the_one_that_is_named(db: Database) -> None:
    fleet(db)
    job = each_job(db, overlap=Overlap.ALLOW)
    made = dispatches.create_manual(db, job.name, params={"n": 1}, requested_by="ann")
    assert [each.target for each in (made, *made.others)] == list(HOSTS)
    one = dispatches.create_manual(db, job.name, params={}, requested_by="ann", on="web1")
    assert (one.target, one.others) == ("web1", ())
    plain = add_job(db, "plain")
    there = dispatches.create_manual(db, plain.name, params={}, requested_by="ann", on="db2")
    assert dispatch_row(db, there.dispatch_id)["target"] == "db2"
    again = dispatches.create_manual(db, plain.name, params={}, requested_by="ann")
    assert again.status is Status.SKIPPED, "wherever it is asked for, a job that runs once has one run at a time"


def test_run_now_is_refused_when_no_host_can_run_it(db: Database) -> None:
    each_job(db, requires=("gpu",))
    with pytest.raises(ConflictError, match="job 'tidy' runs on each host, and no living host has a worker with gpu"):
        dispatches.create_manual(db, "tidy", params={}, requested_by="ann")


def test_a_backfill_is_one_a_tick_and_host(db: Database) -> None:
    fleet(db, "db1", "db2")
    job = each_job(db)
    ids = backfills.create(db, job.job_id, [START - HOUR, START], requested_by="ann", max_parallel=1)
    assert [(dispatch_row(db, each)["target"], dispatch_row(db, each)["scheduled_for"]) for each in ids] == [
        ("db1", START - HOUR),
        ("db2", START - HOUR),
        ("db1", START),
        ("db2", START),
    ]
    assert [len(claim(db, node).claims) for node in ("db1", "db2")] == [1, 1]


def test_what_follows_runs_behind_its_parent_on_the_same_host(db: Database) -> None:
    fleet(db, "db1", "db2")
    specs = [
        job_spec("dump", on=On.EACH),
        job_spec("check", on=On.EACH, depends_on=("dump",)),
        job_spec("tell", depends_on=("dump",), depends_when=DependsWhen.ANY, overlap=Overlap.ALLOW),
    ]
    jobs.sync(db, "default", specs, content_hash="", node="", path="")
    made = dispatches.create_manual(db, "dump", params={}, requested_by="ann")
    claim(db, "db2")
    finish(db, "db2", made.others[0].dispatch_id)
    assert on(dispatches_of(db, jobs.get_job(db, "check"))) == {"db2": Status.PENDING}
    assert on(dispatches_of(db, jobs.get_job(db, "tell"))) == {"": Status.PENDING}


def test_one_end_starts_a_job_on_every_host(db: Database) -> None:
    fleet(db)
    specs = [job_spec("build"), job_spec("install", on=On.EACH, depends_on=("build",))]
    jobs.sync(db, "default", specs, content_hash="", node="", path="")
    made = dispatches.create_manual(db, "build", params={}, requested_by="ann")
    claim(db, "web1")
    finish(db, "web1", made.dispatch_id)
    assert on(dispatches_of(db, jobs.get_job(db, "install"))) == dict.fromkeys(HOSTS, Status.PENDING)


def test_a_run_from_before_the_job_ran_on_each_host_holds_all_of_them_up(db: Database) -> None:
    fleet(db)
    job = each_job(db)
    add_dispatch(db, job, Status.IN_PROGRESS)
    assert on(tick(db, job)) == dict.fromkeys(HOSTS, Status.SKIPPED)
