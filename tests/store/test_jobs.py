"""Jobs: found by name, paused and resumed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.errors import NotFoundError, UsageError
from jobsup.store import jobs
from jobsup.store.engine import Database
from tests.support.store import START, FakeClock, add_job, job_row

HOUR = timedelta(hours=1)


def test_jobs_are_listed_by_name_and_tag(db: Database) -> None:
    add_job(db, "b", tags=("nightly",))
    add_job(db, "a")
    add_job(db, "gone", row={"is_active": False, "retired_at": START})
    assert [facts.name for facts in jobs.list_jobs(db)] == ["a", "b"]
    assert [facts.name for facts in jobs.list_jobs(db, tag="nightly")] == ["b"]
    assert [facts.name for facts in jobs.list_jobs(db, include_retired=True)] == ["a", "b", "gone"]


def test_an_unknown_name_is_told_with_the_nearest_one(db: Database) -> None:
    add_job(db, "backup-db")
    with pytest.raises(NotFoundError, match=r'"bakcup-db"; did you mean "backup-db"\?'):
        jobs.get_job(db, "bakcup-db")


def test_a_pause_says_who_why_and_until_when_and_leaves_the_tick(db: Database, clock: FakeClock) -> None:
    add_job(db, "report", next_run=START + HOUR)
    until = START + 5 * HOUR
    (facts,) = jobs.pause(db, ["report"], by="ann", reason="disk full", until=until)
    assert (facts.paused_at, facts.paused_until, facts.paused_by, facts.paused_reason) == (
        START,
        until,
        "ann",
        "disk full",
    )
    assert facts.next_run == START + HOUR
    assert [facts.is_paused(START), facts.is_paused(until - HOUR), facts.is_paused(until)] == [True, True, False]


def test_a_second_pause_keeps_the_first_ones_beginning(db: Database, clock: FakeClock) -> None:
    add_job(db, "report")
    jobs.pause(db, ["report"], by="ann", until=START + HOUR)
    clock.advance(60)
    (facts,) = jobs.pause(db, ["report"], by="bob")
    assert (facts.paused_at, facts.paused_until, facts.paused_by) == (START, None, "bob")
    clock.advance(60)
    jobs.resume(db, ["report"])
    assert jobs.pause(db, ["report"], by="ann")[0].paused_at == clock.now()


def test_a_pause_that_ran_out_is_over_for_the_next_one(db: Database, clock: FakeClock) -> None:
    add_job(db, "report")
    jobs.pause(db, ["report"], by="ann", until=START + HOUR)
    now = clock.advance(2 * HOUR)
    assert jobs.pause(db, ["report"], by="bob")[0].paused_at == now


def test_either_all_named_jobs_are_paused_or_none(db: Database) -> None:
    add_job(db, "report")
    with pytest.raises(NotFoundError, match="reprot"):
        jobs.pause(db, ["report", "reprot"], by="ann")
    assert job_row(db, "report")["paused_at"] is None


def test_a_removed_job_cannot_be_paused(db: Database) -> None:
    add_job(db, "gone", row={"is_active": False, "retired_at": START})
    with pytest.raises(NotFoundError, match="removed from its file"):
        jobs.pause(db, ["gone"], by="ann")


def test_a_pause_cannot_end_before_it_begins(db: Database) -> None:
    add_job(db, "report")
    with pytest.raises(UsageError, match="has passed"):
        jobs.pause(db, ["report"], by="ann", until=START)


def test_a_resumed_job_has_no_trace_of_its_pause(db: Database) -> None:
    add_job(db, "report", next_run=START + HOUR)
    jobs.pause(db, ["report"], by="ann", reason="why not", until=START + 2 * HOUR)
    (facts,) = jobs.resume(db, ["report"])
    assert (facts.paused_at, facts.paused_until, facts.paused_by, facts.paused_reason) == (None,) * 4
    assert facts.next_run == START + HOUR


def test_resuming_tells_only_the_jobs_that_were_paused(db: Database) -> None:
    for name in ("a", "b"):
        add_job(db, name)
    jobs.pause(db, ["b"], by="ann")
    assert [facts.name for facts in jobs.resume(db, ["a", "b"])] == ["b"]
    assert jobs.resume(db, ["a", "b"]) == []


def test_a_tick_nobody_saw_during_the_pause_stays_paused_after_resuming(db: Database, clock: FakeClock) -> None:
    add_job(db, "report", next_run=START + HOUR)
    jobs.pause(db, ["report"], by="ann", reason="disk full")
    now = clock.advance(3 * HOUR)
    (facts,) = jobs.resume(db, ["report"])
    assert not facts.is_paused(now)
    assert facts.is_paused(START + HOUR)
    assert (facts.paused_reason, facts.next_run) == ("disk full", START + HOUR)
