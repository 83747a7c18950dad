"""Blackouts and what waits already: held until the end, let go when that is taken away, unless a person asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobsup.actions import backfill
from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    JobSpec,
    Overlap,
    Reason,
    RunResult,
    ScheduleSpec,
    SetSpec,
    Source,
    Status,
)
from jobsup.store import definitions, dispatches, holds, jobs
from jobsup.store.engine import Database
from jobsup.store.rounds import Round, Worker, exchange
from tests.support.clock import FakeClock
from tests.support.store import START, WORKER_ID, add_dispatch, add_worker, dispatch_row, dispatches_of, job_spec

HOUR = timedelta(hours=1)
INVENTORY = BlackoutSpec("inventory", start=START - HOUR, end=START + HOUR, jobs=("shop-*",))
HELD = 'held by blackout "inventory" until 2030-01-01T13:00:00Z'
SHOP = job_spec("shop-orders", overlap=Overlap.ALLOW, max_retries=3, retry_backoff=timedelta(seconds=1))
OTHER = job_spec("report")
ME = Worker(WORKER_ID, "here")


def share(db: Database, *blackouts: BlackoutSpec, specs: tuple[JobSpec, ...] = (SHOP, OTHER)) -> None:
    """Put blackouts into force, as a reload does."""
    shared = SetSpec(blackouts=blackouts)
    definitions.sync(db, "default", specs, content_hash=f"{hash(blackouts):x}", node="here", path="x", shared=shared)


def waits(db: Database, name: str = "shop-orders", **columns: Any) -> int:
    return add_dispatch(db, jobs.get_job(db, name), **{"scheduled_for": START, **columns})


def state(db: Database, run: int) -> tuple[datetime, str | None]:
    row = dispatch_row(db, run)
    return row["available_at"], row["note"]


def fail(db: Database, run: int) -> None:
    result = RunResult(run, Status.FAILED, Reason.EXIT_CODE, db.now(), started_at=db.now(), exit_code=1)
    exchange(db, ME, Round(results=[result]))


def test_what_waits_when_a_blackout_begins_is_held_and_what_it_does_not_cover_is_not(db: Database) -> None:
    add_worker(db)
    share(db)
    shop, other, runs = waits(db), waits(db, "report"), waits(db, status=Status.IN_PROGRESS, scheduled_for=START - HOUR)
    share(db, INVENTORY)
    assert holds.apply(db, db.now()) == 1
    assert state(db, shop) == (START + HOUR, HELD)
    assert state(db, other) == (START, None)
    assert state(db, runs) == (START, None)
    assert exchange(db, ME, Round(claim=9)).claims[0].dispatch_id == other
    assert holds.apply(db, db.now()) == 0, "once is enough"


def test_a_held_run_keeps_its_place_among_the_others(db: Database) -> None:
    share(db, INVENTORY)
    run = waits(db, priority=3)
    before = dispatch_row(db, run)
    holds.apply(db, db.now())
    after = dispatch_row(db, run)
    assert after["claim_rank"] - before["claim_rank"] == HOUR // timedelta(milliseconds=1)


def test_a_blackout_that_is_taken_away_lets_go_what_it_held(db: Database, clock: FakeClock) -> None:
    share(db, INVENTORY)
    run = waits(db, note="moved from 02:30")
    holds.apply(db, db.now())
    assert state(db, run)[1] == f"moved from 02:30; {HELD}"
    clock.advance(timedelta(minutes=10))
    share(db)
    assert holds.apply(db, db.now()) == 1
    assert state(db, run) == (START + timedelta(minutes=10), "moved from 02:30")


@pytest.mark.parametrize("hours", [0.5, 3])
def test_a_blackout_that_is_changed_holds_until_its_new_end(db: Database, hours: float) -> None:
    share(db, INVENTORY)
    run = waits(db)
    holds.apply(db, db.now())
    share(db, BlackoutSpec("inventory", start=START - HOUR, end=START + hours * HOUR))
    holds.apply(db, db.now())
    assert state(db, run)[0] == START + hours * HOUR


def test_a_run_held_by_a_blackout_to_come_stays_held(db: Database) -> None:
    later = BlackoutSpec("later", start=START + HOUR, end=START + 3 * HOUR)
    share(db, later)
    run = waits(db, available_at=START + 3 * HOUR, note='held by blackout "later" until 2030-01-01T15:00:00Z')
    assert holds.apply(db, db.now()) == 0
    share(db)
    assert holds.apply(db, db.now()) == 1
    assert state(db, run) == (START, None)


def test_the_next_look_is_when_a_blackout_begins(db: Database) -> None:
    soon = START + timedelta(minutes=4)
    share(db, INVENTORY, BlackoutSpec("soon", start=soon, end=START + HOUR))
    assert holds.next_change(db, START) == soon
    share(db, INVENTORY)
    assert holds.next_change(db, START) == START + holds.AHEAD_MAX
    nightly = ScheduleSpec(cron="3 12 * * *")
    share(db, BlackoutSpec("nightly", schedule=nightly, duration=HOUR))
    assert holds.next_change(db, START) == START + timedelta(minutes=3)


@pytest.mark.parametrize("policy", list(BlackoutPolicy))
def test_a_retry_waits_for_the_end_of_a_blackout_whatever_its_policy(db: Database, policy: BlackoutPolicy) -> None:
    add_worker(db)
    share(db, BlackoutSpec("inventory", start=START, end=START + HOUR, policy=policy))
    run = waits(db, status=Status.IN_PROGRESS)
    fail(db, run)
    _, retry = dispatches_of(db, jobs.get_job(db, "shop-orders"))
    assert (retry["source"], retry["status"]) == (Source.RETRY, Status.PENDING)
    assert (retry["available_at"], retry["note"]) == (START + HOUR, HELD)


def test_a_persons_run_starts_and_says_in_what(db: Database) -> None:
    add_worker(db)
    share(db, INVENTORY)
    made = dispatches.create_manual(db, "shop-orders", params={}, requested_by="ann@db1")
    note = 'asked for within blackout "inventory" until 2030-01-01T13:00:00Z'
    assert state(db, made.dispatch_id) == (START, note)
    assert holds.apply(db, db.now()) == 0
    ended = waits(db, status=Status.FAILED, scheduled_for=START - HOUR)
    again = dispatches.retry(db, ended, "ann@db1")
    assert state(db, again) == (START, note)
    assert holds.apply(db, db.now()) == 0
    assert {claim.dispatch_id for claim in exchange(db, ME, Round(claim=9)).claims} == {made.dispatch_id, again}


def test_the_automatic_retry_of_a_persons_run_is_held(db: Database) -> None:
    add_worker(db)
    share(db, INVENTORY)
    made = dispatches.create_manual(db, "shop-orders", params={}, requested_by="ann@db1")
    exchange(db, ME, Round(claim=1))
    fail(db, made.dispatch_id)
    _, retry = dispatches_of(db, jobs.get_job(db, "shop-orders"))
    assert (retry["available_at"], retry["note"]) == (START + HOUR, HELD)


def test_what_is_filled_in_waits_too(db: Database) -> None:
    hourly = job_spec("shop-hourly", schedule=ScheduleSpec(every=HOUR, anchor=START - timedelta(days=2)))
    share(db, INVENTORY, specs=(hourly,))
    found = backfill.survey(db, "shop-hourly", START - 3 * HOUR, None, limit=10)
    for run in backfill.fill(db, found, by="ann@db1", max_parallel=1):
        assert state(db, run) == (START + HOUR, HELD)
