"""Ticks become dispatches: once each, only for the current leader, and with overlap decided at that moment."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from jobsup.model import (
    BlackoutSpec,
    CatchUp,
    Lease,
    On,
    Overlap,
    Reason,
    ScheduleSpec,
    SetSpec,
    Skip,
    Source,
    Status,
    TickPlan,
    TickRules,
)
from jobsup.store import admission, jobs, leases, ticks
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.models import Job
from tests.support.clock import FakeClock
from tests.support.store import (
    add_dispatch,
    add_job,
    add_worker,
    connect,
    dispatch_row,
    dispatches_of,
    job_row,
    job_spec,
)

TERM = timedelta(seconds=8)
STEP = timedelta(seconds=10)


@pytest.fixture
def lease(db: Database) -> Lease:
    found = leases.acquire(db, "me", "here", TERM)
    assert found is not None
    return found


def plan(job: JobFacts, at: datetime, *runs: datetime, skips: tuple[Skip, ...] = ()) -> TickPlan:
    return TickPlan(job.job_id, at, at + STEP, runs or (() if skips else (at,)), skips)


def test_due_jobs_are_read_with_the_longest_waiting_first(db: Database, clock: FakeClock) -> None:
    now = clock.now()
    add_job(db, "later", next_run=now + STEP)
    add_job(db, "second", next_run=now)
    add_job(db, "first", next_run=now - STEP)
    add_job(db, "manual")
    assert [job.name for job in ticks.due(db, 10)] == ["first", "second"]
    assert [job.name for job in ticks.due(db, 1)] == ["first"]
    assert ticks.next_due_at(db) == now - STEP


def test_a_tick_becomes_one_dispatch_and_the_job_moves_on(db: Database, clock: FakeClock, lease: Lease) -> None:
    job = add_job(db, "a", next_run=clock.now(), priority=3, queue="q")
    assert ticks.dispatch(db, lease, [plan(job, clock.now())]) == ticks.Dispatched(1, 0, 0)
    (row,) = dispatches_of(db, job)
    assert (row["status"], row["source"], row["scheduled_for"]) == (Status.PENDING, Source.SCHEDULE, clock.now())
    assert (row["priority"], row["queue"], row["epoch"]) == (3, "q", lease.epoch)
    assert job_row(db, "a")["next_run"] == clock.now() + STEP


def test_the_same_plan_twice_is_one_dispatch(db: Database, clock: FakeClock, lease: Lease) -> None:
    job = add_job(db, next_run=clock.now())
    ticks.dispatch(db, lease, [plan(job, clock.now())])
    assert ticks.dispatch(db, lease, [plan(job, clock.now())]) == ticks.Dispatched(0, 0, 1)
    assert len(dispatches_of(db, job)) == 1


def test_a_leader_whose_term_is_over_writes_nothing(db: Database, clock: FakeClock, lease: Lease) -> None:
    job = add_job(db, next_run=clock.now())
    clock.advance(9)
    assert leases.acquire(db, "you", "there", TERM) is not None
    with pytest.raises(ticks.LeaseLostError):
        ticks.dispatch(db, lease, [plan(job, job_row(db, job.name)["next_run"])])
    assert dispatches_of(db, job) == []


def test_skips_are_rows_that_stand_for_counted_ranges(db: Database, clock: FakeClock, lease: Lease) -> None:
    now = clock.now()
    job = add_job(db, next_run=now - 5 * STEP)
    skip = Skip(now - 5 * STEP, now - STEP, 5, Reason.MISSED)
    done = ticks.dispatch(db, lease, [plan(job, now - 5 * STEP, now, skips=(skip,))])
    assert done == ticks.Dispatched(1, 5, 0)
    skipped, run = dispatches_of(db, job)
    assert (skipped["status"], skipped["reason"], skipped["skipped_count"]) == (Status.SKIPPED, Reason.MISSED, 5)
    assert (skipped["scheduled_for"], skipped["skipped_until"]) == (now - 5 * STEP, now - STEP)
    assert run["status"] == Status.PENDING


@pytest.mark.parametrize("earlier", [Status.PENDING, Status.IN_PROGRESS])
def test_overlap_skip_names_the_run_that_is_in_the_way(
    db: Database, clock: FakeClock, lease: Lease, earlier: Status
) -> None:
    job = add_job(db, next_run=clock.now())
    running = add_dispatch(db, job, earlier)
    assert ticks.dispatch(db, lease, [plan(job, clock.now())]).skipped == 1
    row = dispatches_of(db, job)[-1]
    assert (row["status"], row["reason"]) == (Status.SKIPPED, Reason.OVERLAP)
    assert f"run {running} was still" in row["error_message"]


def test_caught_up_ticks_wait_for_each_other_instead_of_being_skipped(
    db: Database, clock: FakeClock, lease: Lease
) -> None:
    now = clock.now()
    job = add_job(db, next_run=now - 2 * STEP)
    ticks.dispatch(db, lease, [plan(job, now - 2 * STEP, now - 2 * STEP, now - STEP, now)])
    rows = dispatches_of(db, job)
    assert [row["status"] for row in rows] == [Status.PENDING] * 3
    assert len({row["concurrency_key"] for row in rows}) == 1


def test_overlap_allow_and_queue_both_wait_for_a_worker(db: Database, clock: FakeClock, lease: Lease) -> None:
    for overlap in (Overlap.ALLOW, Overlap.QUEUE):
        job = add_job(db, next_run=clock.now(), overlap=overlap)
        add_dispatch(db, job, Status.IN_PROGRESS)
        ticks.dispatch(db, lease, [plan(job, clock.now())])
        row = dispatches_of(db, job)[-1]
        assert row["status"] == Status.PENDING
        assert (row["concurrency_key"] is None) == (overlap is Overlap.ALLOW)


def test_overlap_replace_ends_the_earlier_runs(db: Database, clock: FakeClock, lease: Lease) -> None:
    job = add_job(db, next_run=clock.now(), overlap=Overlap.REPLACE)
    running, waiting = add_dispatch(db, job, Status.IN_PROGRESS), add_dispatch(db, job, Status.PENDING)
    ticks.dispatch(db, lease, [plan(job, clock.now())])
    assert dispatch_row(db, running)["cancel_reason"] == Reason.REPLACED
    assert dispatch_row(db, waiting)["status"] == Status.CANCELLED
    assert dispatch_row(db, waiting)["reason"] == Reason.REPLACED
    assert dispatches_of(db, job)[-1]["status"] == Status.PENDING


def test_two_schedulers_at_once_make_one_dispatch_a_tick(db: Database, clock: FakeClock, lease: Lease) -> None:
    """Even two that hold the same term: `next_run` decides, and a unique index stands behind it."""
    jobs = [add_job(db, next_run=clock.now()) for _ in range(40)]
    plans = [plan(job, clock.now()) for job in jobs]
    done: list[ticks.Dispatched] = []
    start = threading.Barrier(2)

    def lead() -> None:
        own = connect(db)
        start.wait()
        done.extend(ticks.dispatch(own, lease, [each]) for each in plans)
        own.close()

    threads = [threading.Thread(target=lead) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sum(each.count for each in done) == len(jobs)
    assert sum(each.stale for each in done) == len(jobs)
    assert all(len(dispatches_of(db, job)) == 1 for job in jobs)


def test_a_queue_takes_no_more_than_its_limit(db: Database, clock: FakeClock, lease: Lease) -> None:
    now = clock.now()
    job = add_job(db, next_run=now, overlap=Overlap.QUEUE, queue_limit=2)
    add_dispatch(db, job, Status.IN_PROGRESS)
    add_dispatch(db, job)
    at = [now - n * STEP for n in (3, 2, 1)]
    assert ticks.dispatch(db, lease, [plan(job, now, *at)]) == ticks.Dispatched(1, 2, 0)
    taken, *refused = dispatches_of(db, job)[2:]
    assert (taken["scheduled_for"], taken["status"]) == (at[0], Status.PENDING)
    assert {(row["status"], row["reason"]) for row in refused} == {(Status.SKIPPED, Reason.QUEUE_FULL)}
    assert refused[0]["error_message"] == "2 runs were waiting, and queue_limit is 2"


def test_an_empty_queue_takes_one_that_waits_for_nobody_beside_its_limit(
    db: Database, clock: FakeClock, lease: Lease
) -> None:
    now = clock.now()
    job = add_job(db, next_run=now, overlap=Overlap.QUEUE, queue_limit=1)
    runs = [now - n * STEP for n in (2, 1, 0)]
    assert ticks.dispatch(db, lease, [plan(job, now, *runs)]) == ticks.Dispatched(2, 1, 0)


def test_a_held_tick_waits_and_the_next_of_its_window_lets_it_run_for_both(
    db: Database, clock: FakeClock, lease: Lease
) -> None:
    now, end = clock.now(), clock.now() + 10 * STEP
    job = add_job(db, next_run=now, overlap=Overlap.QUEUE)

    def held(at: datetime) -> TickPlan:
        return TickPlan(
            job.job_id, at, at + STEP, (at,), starts={at: end}, held=frozenset({at}), notes={at: "held by it"}
        )

    assert ticks.dispatch(db, lease, [held(now)]).count == 1
    assert ticks.dispatch(db, lease, [held(now + STEP)]).count == 0
    first, second = dispatches_of(db, job)
    assert (first["status"], first["available_at"], first["note"]) == (Status.PENDING, end, "held by it")
    assert (second["status"], second["reason"]) == (Status.SKIPPED, Reason.BLACKOUT)
    assert second["error_message"] == f"run {first['id']} starts then for all that the blackout holds"


def test_a_tick_with_jitter_waits_its_time_and_keeps_its_instant(db: Database, clock: FakeClock, lease: Lease) -> None:
    now = clock.now()
    job = add_job(db, next_run=now, priority=1)
    delayed = TickPlan(job.job_id, now, now + STEP, (now,), starts={now: now + timedelta(seconds=3)})
    ticks.dispatch(db, lease, [delayed])
    [row] = dispatches_of(db, job)
    assert (row["scheduled_for"], row["available_at"]) == (now, now + timedelta(seconds=3))
    assert (
        row["claim_rank"] == dispatch_row(db, row["id"])["claim_rank"] == int(now.timestamp() * 1000) + 3000 - 300_000
    )


def test_a_due_job_comes_with_the_blackouts_that_are_meant_for_it(db: Database, clock: FakeClock) -> None:
    now = clock.now()
    mine, other = (BlackoutSpec(name, now, now + STEP, jobs=(name,)) for name in ("mine", "other"))
    shared = SetSpec(blackouts=(mine, other))
    specs = [job_spec("mine", schedule=ScheduleSpec(every=STEP, anchor=now))]
    jobs.sync(db, "default", specs, content_hash="", node="", path="", shared=shared)
    clock.advance(10)
    [due] = ticks.due(db, 10)
    assert due.blackouts == (mine,)
    assert (due.name, due.rules) == ("mine", TickRules.of(specs[0]))


def test_a_due_job_comes_with_the_rules_of_its_definition(db: Database, clock: FakeClock) -> None:
    rules = {
        "schedule": ScheduleSpec(cron="0 4 * * MON-FRI", timezone="Europe/Berlin"),
        "catch_up": CatchUp.ALL,
        "catch_up_limit": 7,
        "misfire_grace": timedelta(minutes=3),
        "jitter": timedelta(seconds=20),
        "tags": ("a", "b"),
        "queue": "q",
    }
    add_job(db, "full", next_run=clock.now(), **rules)
    add_job(db, "plain", next_run=clock.now())
    first, second = sorted(ticks.due(db, 10), key=lambda due: due.name)
    assert first.rules == TickRules(**rules)
    assert second.rules == TickRules.of(job_spec("plain"))


def test_jobs_with_equal_rules_share_them(db: Database, clock: FakeClock) -> None:
    for name, jitter in (("a", 0), ("b", 0), ("c", 5)):
        add_job(db, name, next_run=clock.now(), jitter=timedelta(seconds=jitter))
    a, b, c = sorted(ticks.due(db, 10), key=lambda due: due.name)
    assert a.rules is b.rules
    assert c.rules is not a.rules


@pytest.mark.parametrize("overlap", Overlap)
def test_the_row_that_the_database_makes_is_the_one_that_its_job_asks_for(
    db: Database, clock: FakeClock, lease: Lease, overlap: Overlap
) -> None:
    now = clock.now()
    job = add_job(db, next_run=now, overlap=overlap, priority=3, queue="q", requires=("gpu",), pool="p")
    tick = TickPlan(job.job_id, now, None, (now,), notes={now: "moved"}, zone_fingerprint="rules")
    assert ticks.dispatch(db, lease, [tick]).count == 1
    [row] = dispatches_of(db, job)
    with db.directly() as direct:
        facts = admission.jobs(direct, [job.job_id])[job.job_id]
    wanted = {**admission.inherited(facts, now), "concurrency_key": admission.concurrency_key(facts)}
    assert {key: row[key] for key in wanted} == wanted
    assert (row["note"], row["target"], row["reason"], row["retry_count"]) == ("moved", "", "", 0)
    after = job_row(db, job.name)
    assert (after["next_run"], after["zone_fingerprint"]) == (None, "rules")


def test_in_one_chunk_each_job_is_judged_for_itself(db: Database, clock: FakeClock, lease: Lease) -> None:
    now = clock.now()
    names = ("plain", "busy", "each", "late", "changed", "gone")
    made = {name: add_job(db, name, next_run=now, on=On.EACH if name == "each" else On.ONE) for name in names}
    add_worker(db, node="here")
    add_dispatch(db, made["busy"], Status.IN_PROGRESS)
    plans = [plan(made[name], now) for name in ("plain", "busy", "each", "gone")]
    plans.append(plan(made["late"], now, now, skips=(Skip(now - STEP, now - STEP, 1, Reason.MISSED),)))
    plans.append(plan(made["changed"], now - STEP))
    with db.write() as connection:
        connection.execute(update(Job).where(Job.name == "gone").values(is_active=False, next_run=None))
    assert ticks.dispatch(db, lease, plans) == ticks.Dispatched(3, 2, 2)
    found = {name: [(row["status"], row["target"]) for row in dispatches_of(db, job)] for name, job in made.items()}
    assert found == {
        "plain": [(Status.PENDING, "")],
        "busy": [(Status.IN_PROGRESS, ""), (Status.SKIPPED, "")],
        "each": [(Status.PENDING, "here")],
        "late": [(Status.SKIPPED, ""), (Status.PENDING, "")],
        "changed": [],
        "gone": [],
    }
    assert job_row(db, "changed")["next_run"] == now
