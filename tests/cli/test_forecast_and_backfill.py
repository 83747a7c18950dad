"""What is to come, drawn and as data; what has been, filled in: as the installed command does it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobsup.model import BlackoutSpec, Overlap, PoolSpec, ScheduleSpec, SetSpec, Status
from jobsup.store import jobs
from jobsup.store.engine import Database
from tests.support.command import JOBSUP, forked
from tests.support.store import add_dispatch, add_job, create_database, dispatches_of, job_spec

FAR = datetime(2099, 1, 1, tzinfo=UTC)
HOURLY = ScheduleSpec(cron="0 * * * *")
FIVE_HOURS = ("--from", "2026-01-05T00:30:00Z", "--to", "2026-01-05T05:30:00Z")
"""Five ticks at any time of day: hours that began now would be five or, while the test runs, six."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobsup.toml").write_text(
        '[database]\nurl = "sqlite:///jobsup.db"\n[supervisor]\nruntime_dir = "run"\nnode = "here"\n'
    )
    return tmp_path


@pytest.fixture
def rows(folder: Path) -> Iterator[Database]:
    database = create_database(folder / "jobsup.db")
    yield database
    database.close()


def ended_run(rows: Database, name: str, minutes: float) -> None:
    now = rows.now()
    columns = {"started_at": now - timedelta(minutes=minutes), "completed_at": now}
    add_dispatch(rows, jobs.get_job(rows, name), Status.COMPLETED, **columns)


def test_the_forecast_rests_on_medians_and_names_collisions_and_full_pools(folder: Path, rows: Database) -> None:
    names = ("one", "two", "three")
    specs = [job_spec(name, schedule=HOURLY, pool="tapes") for name in names]
    shared = SetSpec(pools=(PoolSpec("tapes", 2),))
    jobs.sync(rows, "default", [*specs, job_spec("by-hand")], content_hash="", node="", path="", shared=shared)
    for name in names:
        for minutes in (29, 30, 600):
            ended_run(rows, name, minutes)
    found = json.loads(forked("forecast", "--days", "1", "--json", cwd=folder).stdout)
    assert (found["schema"], found["days"], found["jobs"], found["unknown_durations"]) == (1, 1, 3, [])
    assert len(found["running"]) == len(found["starts"]) == 1440
    assert found["peak"] == 3
    assert sum(found["starts"]) == 72
    assert abs(sum(found["running"]) - 72 * 30) < 100, "half an hour each, but for those cut off at either end"
    assert {each["starts"] for each in found["collisions"]} == {3}
    assert len(found["overloads"]) in (24, 25)
    assert {(each["pool"], each["places"], each["peak"]) for each in found["overloads"]} == {("default/tapes", 2, 3)}
    text = forked("forecast", "--days", "1", cwd=folder, env={"COLUMNS": "80"}).stdout
    assert text.startswith("3 jobs, at most 3.0 runs at a time")
    assert "█" in text
    assert "tapes  2       3.0" in text


def test_a_blackout_moves_the_load_to_its_end(folder: Path, rows: Database) -> None:
    hour = rows.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    window = BlackoutSpec("inventory", start=hour, end=hour + timedelta(hours=3, minutes=30), jobs=("shop-*",))
    specs = [job_spec(name, schedule=HOURLY) for name in ("shop-orders", "shop-stock", "report")]
    shared = SetSpec(blackouts=(window,))
    jobs.sync(rows, "default", specs, content_hash="", node="", path="", shared=shared)
    found = json.loads(forked("forecast", "--days", "1", "--json", cwd=folder).stdout)
    begin = datetime.fromisoformat(found["start"])
    starts = {begin + timedelta(minutes=minute): count for minute, count in enumerate(found["starts"]) if count}
    assert [starts[hour + timedelta(hours=n)] for n in range(-1, 5)] == [3, 1, 1, 1, 1, 3]
    assert starts[window.end] == 2
    assert sum(found["starts"]) == 72 - 8 + 2


def test_a_job_that_has_not_run_yet_is_told_and_a_paused_one_left_out(folder: Path, rows: Database) -> None:
    add_job(rows, "new", schedule=HOURLY, next_run=FAR)
    add_job(rows, "resting", schedule=HOURLY, next_run=FAR, row={"paused_at": rows.now()})
    done = forked("forecast", cwd=folder)
    assert "taken as 10 s a run, for want of one to go by: new\n" in done.stdout
    assert "resting" not in done.stdout
    assert forked("forecast", "resting", cwd=folder).stdout == "nothing is scheduled\n"
    assert forked("forecast", "nwe", cwd=folder).returncode == 4


def test_a_backfill_is_shown_confirmed_made_and_cancelled(folder: Path, rows: Database) -> None:
    job = add_job(rows, "report", schedule=HOURLY, next_run=FAR)
    shown = forked("backfill", "report", *FIVE_HOURS, "--dry-run", cwd=folder)
    assert len(shown.stdout.splitlines()) == 5
    assert "5 ticks of report to run; 0 have run" in shown.stderr
    assert dispatches_of(rows, job) == []

    refused = forked("backfill", "report", *FIVE_HOURS, cwd=folder)
    assert refused.returncode == 2
    assert "this would make 5 runs of report: add --yes" in refused.stderr
    assert dispatches_of(rows, job) == []

    made = forked("backfill", "report", *FIVE_HOURS, "--limit", "3", "--yes", cwd=folder)
    assert (made.returncode, made.stdout) == (0, "1-3\n")
    assert "3 runs of report made; 2 more after" in made.stderr

    rest = json.loads(forked("backfill", "report", *FIVE_HOURS, "-y", "--json", cwd=folder).stdout)
    assert (rest["runs"], rest["already_run"], rest["left"]) == ([4, 5], 3, 0)
    none = forked("backfill", "report", *FIVE_HOURS, "-y", cwd=folder)
    assert "0 ticks of report to run; 5 have run" in none.stderr

    listed = json.loads(forked("runs", "report", "--json", cwd=folder).stdout)["runs"]
    assert {run["source"] for run in listed} == {"backfill"}
    gone = json.loads(forked("backfill", "report", "--cancel", "--json", cwd=folder).stdout)
    assert gone == {"schema": 1, "job": "report", "cancelled": 5}
    assert {row["status"] for row in dispatches_of(rows, job)} == {Status.CANCELLED}


@pytest.mark.parametrize(("answer", "made"), [(b"n\n", 0), (b"y\n", 5)])
def test_a_person_is_asked_first(folder: Path, rows: Database, answer: bytes, made: int) -> None:
    job = add_job(rows, "report", schedule=HOURLY, next_run=FAR, overlap=Overlap.ALLOW)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        command = [JOBSUP, "backfill", "report", *FIVE_HOURS, "--max-parallel", "2"]
        done = subprocess.run(
            command, stdin=theirs, capture_output=True, cwd=folder, timeout=30, check=False, env={**os.environ}
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"Make 5 runs of report" in done.stderr
    assert b"2 at a time?" in done.stderr
    assert len(dispatches_of(rows, job)) == made
    assert done.returncode == (0 if made else 130)


def test_what_cannot_be_filled_in_is_refused_with_a_reason(folder: Path, rows: Database) -> None:
    add_job(rows, "by-hand")
    add_job(rows, "report", schedule=HOURLY, next_run=FAR)
    for arguments, code, says in (
        (("by-hand", "--from", "now-1h"), 6, "has no schedule"),
        (("report",), 2, "--from TIME"),
        (("report", "--from", "now-1h", "--to", "now+1h"), 2, "has not come yet"),
        (("reprot", "--from", "now-1h"), 4, 'did you mean "report"'),
    ):
        done = forked("backfill", *arguments, cwd=folder)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr


def test_next_says_what_a_job_waits_for_that_has_no_ticks(folder: Path, rows: Database) -> None:
    jobs.sync(
        rows, "default", [job_spec("load"), job_spec("report", depends_on=("load",))], content_hash="", node="", path=""
    )
    done = forked("next", "report", cwd=folder)
    assert done.stderr == "report starts when load has completed\n"
    assert json.loads(forked("next", "report", "--json", cwd=folder).stdout)["next"] == []
    shown = forked("show", "report", cwd=folder).stdout
    assert "Starts after: load has completed\n" in shown
    assert "Its end starts: report\n" in forked("show", "load", cwd=folder).stdout
    assert json.loads(forked("show", "load", "--json", cwd=folder).stdout)["job"]["starts"] == ["report"]
