"""A Job Trigger Portal comes over once, however often it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.errors import DatabaseError, JobsupError, NotFoundError, UsageError
from jobsup.importing import portal
from jobsup.importing.portal import Brought, Target
from jobsup.importing.portal_rows import Plan
from jobsup.model import JobKind, Overlap
from jobsup.store import jobs, portal_import
from jobsup.store.engine import Database
from jobsup.store.portal_import import OldPortal
from tests.support.oldportal import OldPortalFile
from tests.support.store import connect, dispatches_of, job_row, log_row

DEFAULTS: dict[str, Any] = {"timezone": "Europe/Berlin", "timeout": timedelta(seconds=600), "max_retries": 3}


@pytest.fixture
def old(tmp_path: Path) -> OldPortalFile:
    """An old portal, with the script its jobs run."""
    folder = tmp_path / "old"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts/work.py").write_text("print('work')\n")
    return OldPortalFile(folder / "reflex.db")


Bring = Callable[..., Brought]


@pytest.fixture
def bring(db: Database, old: OldPortalFile) -> Bring:
    """Import once; `paused_by`, `timezone` and `database` may be said."""

    def run(*, timezone: str = "UTC", paused_by: str | None = None, database: Database | None = None) -> Brought:
        opened = OldPortal(old.url)
        try:
            plan = Plan("portal", timezone, opened.folder)
            return portal.bring(database or db, opened, plan, Target("default", DEFAULTS, paused_by))
        finally:
            opened.close()

    return run


def test_a_job_comes_over_with_its_script_its_words_and_its_state(
    db: Database, old: OldPortalFile, bring: Bring
) -> None:
    old.job("Nightly Sync!", script_args='--day "last friday"', is_active=False)
    assert bring().added == ["Nightly-Sync"]
    facts = jobs.get_job(db, "Nightly-Sync")
    script = str(old.path.parent / "scripts/work.py")
    assert (facts.spec.kind, facts.spec.script, facts.spec.args) == (JobKind.SCRIPT, script, ("--day", "last friday"))
    assert (facts.origin, facts.is_active, facts.spec.description) == ("cli", False, "Nightly Sync!")
    assert (facts.spec.cwd, facts.spec.overlap, facts.spec.max_retries) == (str(old.path.parent), Overlap.SKIP, 3)


@pytest.mark.parametrize(
    ("columns", "first"),
    [
        ({"schedule_type": "hourly", "schedule_time": "00:15"}, "2030-01-01 12:15"),
        ({"schedule_type": "daily", "schedule_time": "09:30"}, "2030-01-02 09:30"),
        ({"schedule_type": "daily", "schedule_time": None}, "2030-01-02 00:00"),
        ({"schedule_type": "weekly", "schedule_time": "09:30", "schedule_day": 0}, "2030-01-07 09:30"),
        ({"schedule_type": "weekly", "schedule_time": "09:30", "schedule_day": 6}, "2030-01-06 09:30"),
        ({"schedule_type": "monthly", "schedule_time": "09:30", "schedule_day": 31}, "2030-01-31 09:30"),
        ({"schedule_type": "monthly", "schedule_time": "09:30", "schedule_day": None}, "2030-02-01 09:30"),
        ({"schedule_type": "interval", "interval_seconds": 300}, "2030-01-01 12:05"),
        (
            {"schedule_type": "interval", "interval_seconds": 300, "next_run": "2030-01-01 12:02:00.123456"},
            "2030-01-01 12:02",
        ),
        ({"schedule_type": "manual"}, None),
    ],
    ids=str,
)
def test_a_schedule_fires_next_when_the_old_one_would(
    db: Database, old: OldPortalFile, bring: Bring, columns: dict[str, Any], first: str | None
) -> None:
    old.job("job", **columns)
    bring()
    wanted = None if first is None else datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert job_row(db, "job")["next_run"] == wanted


def test_another_zone_moves_schedules_and_history(db: Database, old: OldPortalFile, bring: Bring) -> None:
    old.log(old.job("job", schedule_type="daily", schedule_time="09:30"), "2029-12-31 10:00:00")
    bring(timezone="Asia/Hong_Kong")
    facts = jobs.get_job(db, "job")
    assert facts.next_run == datetime(2030, 1, 2, 1, 30, tzinfo=UTC)
    assert dispatches_of(db, facts)[0]["started_at"] == datetime(2029, 12, 31, 2, 0, tzinfo=UTC)


def test_history_comes_over_as_ended_runs_with_their_output(db: Database, old: OldPortalFile, bring: Bring) -> None:
    job = old.job("job")
    for status in ("SUCCESS", "failure", "ERROR", "timeout", "odd"):
        old.log(job, status=status, text=f"grüße {status}\n")
    old.log(job, status="RUNNING")
    brought = bring()
    assert (brought.runs, brought.not_ended) == (5, 1)
    rows = dispatches_of(db, jobs.get_job(db, "job"))
    assert [row["status"] for row in rows] == ["COMPLETED", "FAILED", "FAILED", "TIMEOUT", "FAILED"]
    assert [row["requested_by"] for row in rows] == [f"import:portal:{n}" for n in range(1, 6)]
    assert {row["source"] for row in rows} == {"manual"}
    log = log_row(db, rows[0]["id"])
    assert log is not None
    assert (log["log_output"].decode(), log["exit_code"]) == ("grüße SUCCESS\n", 0)
    assert 'calls its status "odd"' in rows[4]["error_message"]


def test_again_it_adds_only_what_is_new(db: Database, old: OldPortalFile, bring: Bring) -> None:
    first = old.job("one")
    log = old.log(first, status="RUNNING")
    for _ in range(portal_import.LOGS_BATCH + 5):
        old.log(first)
    bring()
    again = bring()
    assert (again.added, again.changed, again.runs) == ([], [], 0)
    old.change("UPDATE job_execution_logs SET status = 'SUCCESS' WHERE id = ?", log)
    old.log(old.job("two"))
    more = bring()
    assert (more.added, more.runs) == (["two"], 2)
    assert len(dispatches_of(db, jobs.get_job(db, "one"))) == portal_import.LOGS_BATCH + 6


def test_two_imports_at_once_double_nothing(db: Database, old: OldPortalFile, bring: Bring) -> None:
    bring_job = old.job("job")
    bring()
    for _ in range(300):
        old.log(bring_job)
    others = [connect(db), connect(db)]
    threads = [threading.Thread(target=bring, kwargs={"database": other}) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    for other in others:
        other.close()
    marks = [row["requested_by"] for row in dispatches_of(db, jobs.get_job(db, "job"))]
    assert len(marks) == len(set(marks)) == 300


def test_a_change_over_there_comes_over_but_a_drifting_interval_does_not(
    db: Database, old: OldPortalFile, bring: Bring
) -> None:
    old.job("steady", schedule_type="interval", interval_seconds=300, next_run="2030-01-01 12:02:00")
    old.job("moved", schedule_type="daily", schedule_time="09:30")
    bring()
    jobs.pause(db, ["moved"], by="ann")
    old.change("UPDATE scheduled_jobs SET next_run = '2030-01-01 12:09:13' WHERE name = 'steady'")
    old.change("UPDATE scheduled_jobs SET schedule_time = '10:30' WHERE name = 'moved'")
    assert bring().changed == ["moved"]
    moved = jobs.get_job(db, "moved")
    assert (moved.next_run, moved.paused_by) == (datetime(2030, 1, 2, 10, 30, tzinfo=UTC), "ann")
    assert job_row(db, "steady")["next_run"] == datetime(2030, 1, 1, 12, 2, tzinfo=UTC)


def test_a_job_renamed_over_there_is_the_same_job_here(db: Database, old: OldPortalFile, bring: Bring) -> None:
    job = old.job("before")
    bring()
    old.change("UPDATE scheduled_jobs SET name = 'after'")
    old.log(job)
    assert (bring().added, [facts.name for facts in jobs.list_jobs(db)]) == ([], ["before"])


def test_equal_and_taken_names_get_numbers(db: Database, old: OldPortalFile, bring: Bring) -> None:
    for _ in range(3):
        old.job("back up")
    assert bring().added == ["back-up", "back-up-2", "back-up-3"]


def test_new_jobs_may_begin_paused(db: Database, old: OldPortalFile, bring: Bring) -> None:
    old.job("job", schedule_type="daily")
    bring(paused_by="ann@here")
    facts = jobs.get_job(db, "job")
    assert (facts.is_paused(db.now()), facts.paused_by, facts.next_run is not None) == (True, "ann@here", True)


def test_a_job_handed_over_to_a_file_keeps_its_history_and_its_definition(
    db: Database, old: OldPortalFile, bring: Bring
) -> None:
    job = old.job("job", schedule_type="daily", schedule_time="09:30")
    bring()
    portal_import.hand_over(db, [jobs.get_job(db, "job").job_id], "default")
    old.change("UPDATE scheduled_jobs SET schedule_time = '10:30'")
    old.log(job)
    brought = bring()
    assert (brought.changed, brought.runs) == ([], 1)
    assert job_row(db, "job")["next_run"] == datetime(2030, 1, 2, 9, 30, tzinfo=UTC)
    spec = jobs.get_job(db, "job").spec
    synced = jobs.sync(db, "default", [spec], content_hash="1", node="here", path="jobsup.toml")
    assert (synced.added, synced.changed, synced.removed) == ((), (), ())


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"schedule_type": "interval", "interval_seconds": 0}, "interval_seconds is 0"),
        ({"schedule_type": "daily", "schedule_time": "25:00"}, "no time of day"),
        ({"schedule_type": "weekly", "schedule_day": 9}, "no day of the week"),
        ({"schedule_type": "lunar"}, "none of interval"),
        ({"script_path": ""}, "no script_path"),
        ({"script_args": "'"}, "script_args"),
    ],
    ids=str,
)
def test_a_job_that_cannot_be_understood_is_named_and_the_others_come(
    old: OldPortalFile, bring: Bring, columns: dict[str, Any], fault: str
) -> None:
    old.job("bad", **columns)
    old.job("good")
    brought = bring()
    assert brought.added == ["good"]
    (found,) = brought.faults
    assert found.place == "scheduled_jobs 1"
    assert fault in found.message


def test_the_old_database_is_never_written(old: OldPortalFile, bring: Bring) -> None:
    old.log(old.job("job"))
    before = old.path.read_bytes()
    bring()
    assert old.path.read_bytes() == before
    assert sorted(path.name for path in old.path.parent.iterdir()) == ["reflex.db", "scripts"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("CREATE TABLE other (x)", "no table scheduled_jobs"),
        ("CREATE TABLE scheduled_jobs (id, name)", "no column script_path, interval_seconds, schedule_type, is_active"),
    ],
)
def test_a_database_of_something_else_is_one_line(tmp_path: Path, schema: str, words: str) -> None:
    file = OldPortalFile(tmp_path / "x.db", schema)
    with pytest.raises(DatabaseError, match=words) as caught:
        OldPortal(file.url)
    assert "\n" not in str(caught.value)


def test_what_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, " * 100)
    faults: list[tuple[str, type[JobsupError]]] = [
        (f"sqlite:///{tmp_path}/none.db", NotFoundError),
        (f"sqlite:///{tmp_path}/text", DatabaseError),
        ("reflex.db", UsageError),
        ("nothing://x/y", UsageError),
    ]
    for url, kind in faults:
        with pytest.raises(kind) as caught:
            OldPortal(url)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "none.db").exists()


def test_an_older_portal_without_the_newer_columns_is_read(tmp_path: Path, db: Database) -> None:
    file = OldPortalFile(
        tmp_path / "reflex.db",
        "CREATE TABLE scheduled_jobs (id INTEGER PRIMARY KEY, name, script_path, interval_seconds, schedule_type, "
        "is_active); CREATE TABLE job_execution_logs (id INTEGER PRIMARY KEY, job_id, run_time, status, log_output);",
    )
    file.job("job", schedule_type="interval")
    opened = OldPortal(file.url)
    brought = portal.bring(db, opened, Plan("portal", "UTC", None), Target("default", DEFAULTS))
    opened.close()
    assert brought.added == ["job"]
    assert jobs.get_job(db, "job").spec.schedule.every == timedelta(seconds=60)
