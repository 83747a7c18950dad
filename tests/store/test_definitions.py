"""Definition sets: what a synchronisation changes, what it keeps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobsup.errors import ConfigError
from jobsup.model import JobSpec, Origin, Reason, ScheduleSpec, Source, Status
from jobsup.store import jobs
from jobsup.store.engine import Database
from tests.support.store import START, FakeClock, add_dispatch, add_job, dispatch_row, job_row, job_spec

HOURLY = ScheduleSpec(cron="0 * * * *")
DAILY = ScheduleSpec(cron="30 4 * * *")


def sync(database: Database, *specs: JobSpec, set_name: str = "default", path: str = "/etc/jobsup.toml") -> jobs.Synced:
    return jobs.sync(database, set_name, specs, content_hash=jobs.content_hash(specs), node="here", path=path)


def hourly(name: str = "report", **overrides: Any) -> JobSpec:
    return job_spec(name, **{"schedule": HOURLY, **overrides})


def test_a_new_job_gets_its_first_tick_after_now(db: Database) -> None:
    assert sync(db, hourly(), job_spec("by-hand")) == jobs.Synced(("by-hand", "report"), (), ())
    assert job_row(db, "report")["next_run"] == START + timedelta(hours=1)
    assert job_row(db, "by-hand")["next_run"] is None


def test_a_stored_job_is_read_back_as_it_was_defined(db: Database) -> None:
    spec = hourly(timeout=None, tags=("a", "b"), env={"A": "1"}, retry_backoff=timedelta(seconds=1.5), priority=7)
    sync(db, spec)
    facts = jobs.get_job(db, "report")
    assert facts.spec == spec
    row = job_row(db, "report")
    assert (row["retry_backoff_seconds"], row["timeout_seconds"], row["priority"]) == (1.5, None, 7)
    assert (row["tags"], row["origin"], row["set_name"]) == (["a", "b"], Origin.FILE, "default")


def test_one_moment_that_has_passed_never_comes(db: Database) -> None:
    sync(db, job_spec("once", schedule=ScheduleSpec(at=datetime(2020, 1, 1, tzinfo=UTC))))
    row = job_row(db, "once")
    assert (row["next_run"], row["is_active"]) == (None, True)


def test_an_unchanged_job_keeps_its_tick_and_its_pause_and_is_not_written(db: Database, clock: FakeClock) -> None:
    sync(db, hourly())
    jobs.pause(db, ["report"], by="ann", reason="holiday")
    before = job_row(db, "report")
    clock.advance(timedelta(hours=5))
    assert sync(db, hourly()) == jobs.Synced((), (), ())
    assert job_row(db, "report") == before


def test_a_changed_schedule_counts_from_now(db: Database, clock: FakeClock) -> None:
    sync(db, hourly())
    clock.advance(timedelta(hours=5))
    assert sync(db, hourly(schedule=DAILY)).changed == ("report",)
    assert job_row(db, "report")["next_run"] == datetime(2030, 1, 2, 4, 30, tzinfo=UTC)


def test_another_change_keeps_the_tick_that_is_due_and_the_pause(db: Database, clock: FakeClock) -> None:
    sync(db, hourly())
    jobs.pause(db, ["report"], by="ann")
    clock.advance(timedelta(hours=5))
    assert sync(db, hourly(description="new words")).changed == ("report",)
    row = job_row(db, "report")
    assert (row["next_run"], row["paused_at"]) == (START + timedelta(hours=1), START)
    assert (row["description"], row["updated_at"]) == ("new words", clock.now())


def test_a_removed_job_is_retired_and_what_waits_of_it_is_cancelled(db: Database, clock: FakeClock) -> None:
    sync(db, hourly(), hourly("other"))
    facts, other = jobs.get_job(db, "report"), jobs.get_job(db, "other")
    tick = add_dispatch(db, facts, scheduled_for=START)
    by_hand = add_dispatch(db, facts)
    running = add_dispatch(db, facts, Status.IN_PROGRESS)
    of_other = add_dispatch(db, other)
    now = clock.advance(60)
    assert sync(db, hourly("other")).removed == ("report",)
    row = job_row(db, "report")
    assert (row["is_active"], row["retired_at"], row["next_run"]) == (False, now, None)
    for dispatch_id in (tick, by_hand):
        ended = dispatch_row(db, dispatch_id)
        assert (ended["status"], ended["reason"], ended["completed_at"]) == (
            Status.CANCELLED,
            Reason.JOB_REMOVED,
            now,
        )
    assert dispatch_row(db, running)["status"] == Status.IN_PROGRESS
    assert dispatch_row(db, of_other)["status"] == Status.PENDING


def test_a_job_that_comes_back_goes_on_from_now_with_its_history(db: Database, clock: FakeClock) -> None:
    sync(db, hourly())
    before = job_row(db, "report")
    sync(db)
    clock.advance(timedelta(hours=5))
    assert sync(db, hourly()) == jobs.Synced(("report",), (), ())
    row = job_row(db, "report")
    assert (row["id"], row["created_at"]) == (before["id"], before["created_at"])
    assert (row["is_active"], row["retired_at"], row["next_run"]) == (True, None, START + timedelta(hours=6))


def test_a_disabled_job_has_no_tick_and_its_waiting_ticks_are_cancelled(db: Database) -> None:
    sync(db, hourly())
    facts = jobs.get_job(db, "report")
    tick = add_dispatch(db, facts, scheduled_for=START)
    again = add_dispatch(db, facts, scheduled_for=START, source=Source.RETRY)
    by_hand = add_dispatch(db, facts)
    assert sync(db, hourly(enabled=False)).changed == ("report",)
    row = job_row(db, "report")
    assert (row["is_active"], row["next_run"], row["retired_at"]) == (False, None, None)
    assert [dispatch_row(db, each)["status"] for each in (tick, again, by_hand)] == [
        Status.CANCELLED,
        Status.CANCELLED,
        Status.PENDING,
    ]


def test_an_enabled_again_job_counts_from_now(db: Database, clock: FakeClock) -> None:
    sync(db, hourly(enabled=False))
    clock.advance(timedelta(hours=5))
    sync(db, hourly())
    assert job_row(db, "report")["next_run"] == START + timedelta(hours=6)


def test_a_name_of_another_set_is_refused_and_nothing_is_done(db: Database) -> None:
    sync(db, hourly(), set_name="payroll")
    with pytest.raises(ConfigError) as caught:
        sync(db, hourly(), hourly("fresh"), path="/etc/mine.toml")
    (problem,) = caught.value.problems
    assert str(problem) == (
        '/etc/mine.toml: [[job]] "report" name: a job of the definition set "payroll" has this name: rename one'
    )
    assert [facts.name for facts in jobs.list_jobs(db)] == ["report"]


def test_every_taken_name_is_told_at_once(db: Database) -> None:
    add_job(db, "one", row={"origin": Origin.PORTAL})
    add_job(db, "two", row={"origin": Origin.CLI})
    with pytest.raises(ConfigError) as caught:
        sync(db, hourly("one"), hourly("two"))
    assert [problem.message for problem in caught.value.problems] == [
        "a job made in the portal has this name: rename one",
        "a job made in the command line has this name: rename one",
    ]


def test_the_name_of_a_retired_job_is_free_for_another_set(db: Database) -> None:
    sync(db, hourly(), set_name="payroll")
    sync(db, set_name="payroll")
    assert sync(db, hourly()).added == ("report",)
    assert job_row(db, "report")["set_name"] == "default"


def test_sets_leave_each_other_alone(db: Database) -> None:
    sync(db, hourly("a"), set_name="payroll")
    assert sync(db, hourly("b")) == jobs.Synced(("b",), (), ())
    assert [facts.name for facts in jobs.list_jobs(db)] == ["a", "b"]
    assert [facts.name for facts in jobs.list_jobs(db, set_name="payroll")] == ["a"]


def test_jobs_made_by_hand_are_never_retired(db: Database) -> None:
    add_job(db, "mine", row={"origin": Origin.CLI})
    assert sync(db, hourly()).removed == ()
    assert job_row(db, "mine")["is_active"]


def test_a_schedule_that_cannot_be_read_undoes_the_whole_synchronisation(db: Database) -> None:
    with pytest.raises(ConfigError, match="broken"):
        sync(db, hourly(), hourly("broken", schedule=ScheduleSpec(cron="61 * * * *")))
    assert jobs.list_jobs(db) == []


def test_a_file_that_says_something_else_than_the_database_has_drifted(db: Database, clock: FakeClock) -> None:
    mine, theirs = [hourly()], [hourly(priority=1)]
    assert jobs.drift(db, "default", jobs.content_hash(mine)) is None
    sync(db, *theirs)
    assert jobs.drift(db, "default", jobs.content_hash(theirs)) is None
    assert jobs.drift(db, "default", jobs.content_hash(mine)) == jobs.Drift(
        "default", jobs.content_hash(theirs), "here", "/etc/jobsup.toml", START
    )
    clock.advance(1)
    sync(db, *mine)
    assert jobs.drift(db, "default", jobs.content_hash(mine)) is None


def test_the_order_of_the_jobs_in_a_file_means_nothing() -> None:
    one, two = hourly("one"), hourly("two")
    assert jobs.content_hash([one, two]) == jobs.content_hash([two, one])
    assert jobs.content_hash([one, two]) != jobs.content_hash([one, replace(two, priority=1)])


def test_many_jobs_are_synchronised_in_bulk_and_cost_one_read_when_unchanged(db: Database) -> None:
    specs = [hourly(f"job-{number:05}") for number in range(2_000)]
    before = db.statements
    assert len(sync(db, *specs).added) == 2_000
    assert db.statements - before < 100, "rows go in by the hundred, not one by one"
    before = db.statements
    assert sync(db, *specs) == jobs.Synced((), (), ())
    # The jobs and pools are read, priorities aged, the set is noted; on a server others are kept out before.
    assert db.statements - before == (4 if db.is_sqlite else 5)
    assert len(sync(db).removed) == 2_000
    with db.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM job WHERE retired_at IS NOT NULL")).scalar_one() == 2_000
