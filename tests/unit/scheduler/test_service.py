"""The scheduler's loop, turned by hand on a real database and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.errors import DatabaseUnavailableError
from jobsup.model import CatchUp, Dst, Overlap, ScheduleSpec, Status
from jobsup.store import jobs, leases, notifier, ticks
from jobsup.store.engine import Database
from tests.support.store import (
    START,
    FakeClock,
    add_dispatch,
    add_job,
    add_worker,
    dispatches_of,
    job_row,
)
from tests.support.turned import EVERY_MINUTE, HOUR, Turned, every_minute, other_leader, scheduler, statuses, told

__all__ = ["scheduler", "told"]


def test_a_tick_is_dispatched_at_its_instant_and_never_before(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START + timedelta(minutes=1))
    clock.advance(59.6)
    one = scheduler()
    for _ in range(4):
        one.turn()  # what a leader does once at its begin
    assert one.turn() == pytest.approx(0.4, abs=0.001)
    assert one.turn(0.399) == pytest.approx(0.001, abs=0.0005)
    assert not dispatches_of(db, job)
    one.turn(0.001)
    (row,) = dispatches_of(db, job)
    assert (row["status"], row["scheduled_for"], row["created_at"]) == (Status.PENDING, clock.now(), clock.now())
    assert row["epoch"] == 1
    assert job_row(db, job.name)["next_run"] == START + timedelta(minutes=2)


def test_an_idle_leader_asks_the_database_rarely(db: Database, scheduler: Callable[..., Turned]) -> None:
    add_job(db, schedule=EVERY_MINUTE, next_run=START + timedelta(days=1))
    one = scheduler(poll_interval=timedelta(seconds=10))
    one.run_to(START + timedelta(seconds=5))
    before = one.service._database.statements
    one.run_to(START + timedelta(seconds=605))
    asked = one.service._database.statements - before
    assert asked / 600 <= 0.6, asked


def test_it_looks_at_the_clock_every_second_even_when_nothing_is_due(scheduler: Callable[..., Turned]) -> None:
    one = scheduler()
    for _ in range(4):
        one.turn()
    assert 0 < one.turn() <= 1


def test_a_new_job_is_seen_by_a_wake_up_not_by_the_poll(db: Database, scheduler: Callable[..., Turned]) -> None:
    one = scheduler()
    one.turn()
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START)
    one.turn(0.1)
    assert not dispatches_of(db, job)
    notifier.wake(db, "scheduler")
    one.turn(0.1)
    assert statuses(db, job) == [("PENDING", "")]


def test_without_a_wake_up_the_poll_finds_it(db: Database, scheduler: Callable[..., Turned]) -> None:
    one = scheduler(poll_interval=timedelta(seconds=10))
    one.turn()
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START)
    one.run_to(START + timedelta(seconds=10.1))
    assert len(dispatches_of(db, job)) == 1


def test_workers_are_woken_after_a_dispatch(db: Database, scheduler: Callable[..., Turned]) -> None:
    listener = notifier.Listener(db, "worker")
    add_job(db, schedule=EVERY_MINUTE, next_run=START)
    scheduler().turn()
    assert listener.drain()
    listener.close()


@pytest.mark.parametrize(("catch_up", "expected"), [
    (CatchUp.NONE, {"missed": 4321}),
    (CatchUp.LATEST, {"missed": 4320, "": 1}),
    (CatchUp.ALL, {"catch_up_limit": 4221, "": 100}),
])  # fmt: skip
def test_after_three_days_down_every_tick_has_its_row(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock, catch_up: CatchUp, expected: dict[str, int]
) -> None:
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START, catch_up=catch_up, overlap=Overlap.ALLOW)
    clock.advance(timedelta(days=3, seconds=20))
    scheduler().turn()
    found: dict[str, int] = {}
    for row in dispatches_of(db, job):
        found[row["reason"]] = found.get(row["reason"], 0) + (row["skipped_count"] or 1)
    assert found == expected


def test_a_clock_set_ahead_is_treated_as_down_time(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock, told: list[tuple[str, dict[str, Any]]]
) -> None:
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START + timedelta(minutes=1), catch_up=CatchUp.LATEST)
    one = scheduler()
    one.turn()
    clock.set(START + timedelta(minutes=61, seconds=10))
    one.turn(0.5)
    assert [(row["reason"], row["skipped_count"]) for row in dispatches_of(db, job)] == [("missed", 60), ("", None)]
    assert job_row(db, job.name)["next_run"] == START + timedelta(minutes=62)
    assert "clock.jumped" in [name for name, _ in told]


def test_a_clock_set_back_repeats_nothing_and_goes_on_when_it_has_caught_up(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START, overlap=Overlap.ALLOW)
    one = scheduler()
    one.turn()
    clock.set(START - timedelta(minutes=2))
    one.run_to(START + timedelta(minutes=1, seconds=1))
    assert [row["scheduled_for"] for row in dispatches_of(db, job)] == [START, START + timedelta(minutes=1)]


def test_a_thousand_small_steps_of_the_clock_lose_and_repeat_nothing(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    job = add_job(db, schedule=ScheduleSpec(every=timedelta(seconds=5)), next_run=START, overlap=Overlap.ALLOW)
    one = scheduler()
    for _ in range(100):
        clock.set(clock.now() + timedelta(seconds=1))
        one.turn(0.5)
    ticks_seen = [row["scheduled_for"] for row in dispatches_of(db, job)]
    assert ticks_seen == [START + timedelta(seconds=5 * n) for n in range(31)]


def test_a_paused_job_leaves_a_row_for_its_tick(db: Database, scheduler: Callable[..., Turned]) -> None:
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START)
    jobs.pause(db, [job.name], by="ann", reason="moving house", until=None)
    scheduler().turn()
    assert statuses(db, job) == [("SKIPPED", "paused")]


def test_a_tick_over_a_running_one_is_skipped_for_overlap(db: Database, scheduler: Callable[..., Turned]) -> None:
    job = add_job(db, schedule=EVERY_MINUTE, next_run=START)
    add_dispatch(db, job, Status.IN_PROGRESS)
    scheduler().turn()
    assert statuses(db, job)[1:] == [("SKIPPED", "overlap")]


def test_a_time_that_does_not_exist_leaves_a_row_at_the_gap(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    day_before, gap = datetime(2030, 3, 9, 7, 30, tzinfo=UTC), datetime(2030, 3, 10, 7, tzinfo=UTC)
    schedule = ScheduleSpec(cron="30 2 * * *", timezone="America/New_York", dst=Dst.SKIP)
    job = add_job(db, schedule=schedule, next_run=day_before, overlap=Overlap.ALLOW)
    clock.set(day_before - timedelta(seconds=1))
    one = scheduler()
    one.run_to(day_before)
    assert job_row(db, job.name)["next_run"] == gap
    clock.set(gap - timedelta(seconds=1))
    one.run_to(gap + timedelta(seconds=1))
    assert statuses(db, job) == [("PENDING", ""), ("SKIPPED", "dst_gap")]
    assert dispatches_of(db, job)[1]["scheduled_for"] == gap


def test_two_schedulers_on_one_database_dispatch_each_tick_once(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    found = [add_job(db, schedule=EVERY_MINUTE, next_run=START, overlap=Overlap.ALLOW) for _ in range(20)]
    first, second = scheduler(), scheduler()
    first.service._leader._holder = "first"
    for _ in range(300):
        first.turn(1)
        second.turn()
    for job in found:
        ticks_seen = [row["scheduled_for"] for row in dispatches_of(db, job)]
        assert ticks_seen == [START + timedelta(minutes=n) for n in range(6)]


def test_a_standby_takes_over_when_the_lease_has_passed(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    other_leader(db)
    job = add_job(db, schedule=every_minute(3), next_run=START + timedelta(seconds=3), catch_up=CatchUp.LATEST)
    one = scheduler()
    assert one.facts == {"role": "standby", "epoch": 0}
    one.run_to(START + timedelta(seconds=7.9))
    assert not dispatches_of(db, job)
    one.run_to(START + timedelta(seconds=8.1))
    assert statuses(db, job) == [("PENDING", "")]
    assert one.said[-1] == {"facts": {"role": "leader", "epoch": 2}}


def test_a_standby_begins_at_once_after_a_resignation(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    lease = leases.acquire(db, "there/boot/pid:[9]/7/7", "there", timedelta(seconds=8))
    assert lease is not None
    job = add_job(db, schedule=every_minute(1), next_run=START + timedelta(seconds=1), catch_up=CatchUp.NONE)
    one = scheduler()
    one.turn()
    clock.advance(0.9)
    leases.resign(db, lease)
    one.turn(0.2)
    assert statuses(db, job) == [("PENDING", "")]


def test_a_leader_whose_term_was_taken_writes_nothing_and_stands_by(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    job = add_job(db, schedule=every_minute(1), next_run=START + timedelta(seconds=1))
    one = scheduler()
    one.turn()
    assert leases.acquire(db, "there/boot/pid:[9]/7/7", "there", timedelta(seconds=8), is_dead=lambda _: True)
    one.turn(1)
    assert not dispatches_of(db, job)
    one.turn()
    assert one.said[-1] == {"facts": {"role": "standby", "epoch": 0}}


def test_a_stop_resigns(db: Database, scheduler: Callable[..., Turned]) -> None:
    one = scheduler()
    one.service.drain()
    assert one.service.finished
    facts = leases.current(db)
    assert facts is not None
    assert facts.holder == leases.NOBODY


def test_a_silent_database_is_said_once_and_work_goes_on_afterwards(
    db: Database,
    scheduler: Callable[..., Turned],
    told: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = add_job(db, schedule=every_minute(1), next_run=START + timedelta(seconds=1), catch_up=CatchUp.NONE)
    one = scheduler()
    one.turn()

    def fail(*_: object, **__: object) -> Any:
        raise DatabaseUnavailableError("locked")

    with monkeypatch.context() as patched:
        patched.setattr(ticks, "due", fail)
        patched.setattr(leases, "renew", fail)
        patched.setattr(leases, "current", fail)
        for _ in range(8):
            assert one.turn(0.5) <= 1
    for _ in range(12):
        one.turn(0.5)
    names = [name for name, _ in told]
    assert names.count("database.failed") == 1
    assert names.count("database.recovered") == 1
    assert statuses(db, job) == [("PENDING", "")]


def test_ended_runs_past_their_retention_are_deleted_and_nothing_that_lives(
    db: Database, scheduler: Callable[..., Turned], clock: FakeClock
) -> None:
    job = add_job(db, overlap=Overlap.ALLOW)
    add_worker(db, node="there", heartbeat_interval=1e9)
    old = [add_dispatch(db, job, Status.COMPLETED) for _ in range(1200)]
    waiting = add_dispatch(db, job, Status.PENDING)
    running = add_dispatch(db, job, Status.IN_PROGRESS, deadline_at=None)
    clock.advance(timedelta(days=31))
    recent = add_dispatch(db, job, Status.COMPLETED)
    one = scheduler()
    for _ in range(10):
        one.turn()
    left = {row["id"] for row in dispatches_of(db, job)}
    assert left == {waiting, running, recent}
    assert len(old) == 1200


def test_a_job_whose_schedule_cannot_be_computed_does_not_hold_up_the_others(
    db: Database, scheduler: Callable[..., Turned], told: list[tuple[str, dict[str, Any]]]
) -> None:
    broken = add_job(db, schedule=ScheduleSpec(cron="0 * * * *", timezone="Nowhere/Atlantis"), next_run=START)
    sound = add_job(db, schedule=EVERY_MINUTE, next_run=START)
    scheduler().turn()
    assert statuses(db, sound) == [("PENDING", "")]
    assert job_row(db, broken.name)["next_run"] == START + HOUR
    assert ("dispatch.broken", broken.name) in [(name, fields.get("job")) for name, fields in told]


def test_its_socket_is_gone_when_it_is(db: Database, scheduler: Callable[..., Turned]) -> None:
    one = scheduler()
    folder = Path(f"{db.path}-wake")
    assert len(list(folder.glob("scheduler.*"))) == 1
    one.close()
    assert not list(folder.glob("scheduler.*"))
