"""With nothing running the verbs of jobs and runs work, and the others say what to do."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobsup.model import CatchUp, On, Overlap, ParamSpec, Reason, ScheduleSpec, Status
from jobsup.store.engine import Database
from tests.support.command import forked as jobsup
from tests.support.command import jobsup as installed
from tests.support.store import add_dispatch, add_job, add_log, add_worker, create_database, job_row

TICK = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)
DAILY = ScheduleSpec(cron="0 3 * * *", timezone="UTC")
FAR = datetime(2099, 1, 1, 3, 0, tzinfo=UTC)

RUN_KEYS = {
    *("id", "job", "status", "reason", "source", "retry_count", "retry_of", "scheduled_for", "created_at"),
    *("claimed_at", "started_at", "completed_at", "exit_code", "signal", "worker_id", "host"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobsup.toml").write_text(
        '[database]\nurl = "sqlite:///jobsup.db"\n[supervisor]\nruntime_dir = "run"\nnode = "here"\n'
    )
    return tmp_path


@pytest.fixture
def rows(folder: Path) -> Iterator[Database]:
    """The database that the configuration of `folder` names, on the machine's clock."""
    database = create_database(folder / "jobsup.db")
    yield database
    database.close()


def test_status_tells_what_the_database_knows_and_ends_with_3(folder: Path, rows: Database) -> None:
    add_dispatch(rows, add_job(rows, "backup", next_run=FAR, schedule=DAILY))
    done = jobsup("status", "--json", cwd=folder)
    answer = json.loads(done.stdout)
    assert done.returncode == 3
    assert answer["schema"] == 1
    assert answer["state"] == "stopped"
    assert set(answer["supervisor"]) >= {"pid", "started_at", "config", "generation"}
    assert answer["supervisor"]["config"] == str(folder / "jobsup.toml")
    assert answer["children"] == answer["workers"] == []
    assert answer["scheduler"] | {"role": "none", "lag_seconds": 0.0} == answer["scheduler"]
    assert answer["scheduler"]["next_due"] == "2099-01-01T03:00:00Z"
    assert answer["counts"] == {**dict.fromkeys(map(str, Status), 0), "PENDING": 1}
    text = jobsup("status", cwd=folder)
    assert text.returncode == 3
    assert "stopped" in text.stdout
    assert "1 PENDING" in text.stdout


def test_status_works_before_there_is_a_database_and_does_not_make_one(folder: Path) -> None:
    done = jobsup("status", "--json", cwd=folder)
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert answer["state"] == "stopped"
    assert "does not exist yet" in answer["problems"][0]
    assert not (folder / "jobsup.db").exists()


@pytest.mark.parametrize("verb", [["stop"], ["restart"], ["reload"], ["scale", "workers=2"]])
def test_verbs_for_the_supervisor_say_that_nothing_runs(folder: Path, verb: list[str]) -> None:
    done = jobsup(*verb, cwd=folder)
    assert done.returncode == 3
    assert done.stderr.startswith("jobsup: nothing is running at ")
    assert "jobsup start" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", [["list"], ["runs"], ["next"], ["run", "x"], ["why", "x"], ["logs", "1"], ["workers"]])
def test_verbs_for_rows_ask_for_a_start_when_there_is_no_database(folder: Path, verb: list[str]) -> None:
    done = jobsup(*verb, cwd=folder)
    assert done.returncode == 3
    assert "does not exist yet: `jobsup start` makes it" in done.stderr
    assert not (folder / "jobsup.db").exists()


def test_run_makes_a_dispatch_and_warns_that_nobody_takes_it(folder: Path, rows: Database) -> None:
    add_job(rows, "backup")
    done = jobsup("run", "backup", "--reason", "a test", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == "1\n"
    assert "warning: no worker is running" in done.stderr
    printed = json.loads(jobsup("runs", "--json", cwd=folder).stdout)
    assert set(printed) == {"schema", "runs"}
    [run] = printed["runs"]
    assert set(run) >= RUN_KEYS
    assert (run["job"], run["status"], run["source"]) == ("backup", "PENDING", "manual")
    assert run["requested_by"].endswith("(a test)")
    assert datetime.fromisoformat(run["created_at"]).tzinfo is not None


def test_a_database_that_another_program_holds_is_told_after_one_wait_for_it(folder: Path, rows: Database) -> None:
    add_job(rows, "backup")
    config = folder / "jobsup.toml"
    config.write_text(config.read_text().replace("jobsup.db", "jobsup.db?timeout=2"))
    foreign = sqlite3.connect(folder / "jobsup.db", isolation_level=None)
    foreign.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    done = jobsup("run", "backup", cwd=folder)
    took = time.monotonic() - began
    foreign.close()
    assert done.returncode == 3
    assert "jobsup.db: locked by another program" in done.stderr
    assert done.stderr.count("\n") == 1
    assert took < 2 * 2, "the audit does not wait for the same once more"
    assert json.loads(jobsup("runs", "--json", cwd=folder).stdout)["runs"] == []


def test_run_prints_the_dispatch_it_made_as_json(folder: Path, rows: Database) -> None:
    params = (ParamSpec("day", "string"), ParamSpec("pages", "integer", required=True))
    add_job(rows, "report", params=params)
    made = json.loads(jobsup("run", "report", "-p", "pages=3", "--json", cwd=folder).stdout)
    assert set(made) >= RUN_KEYS | {"schema"}
    assert made["params"] == {"pages": 3}


def test_a_job_on_each_host_is_run_on_all_or_on_one(folder: Path, rows: Database) -> None:
    add_worker(rows, "worker-1", node="db1")
    add_worker(rows, "worker-2", node="db2")
    add_job(rows, "tidy", on=On.EACH, schedule=DAILY, next_run=FAR, overlap=Overlap.ALLOW)
    made = json.loads(jobsup("run", "tidy", "--json", cwd=folder).stdout)
    assert [made["target"], *(other["target"] for other in made["others"])] == ["db1", "db2"]
    done = jobsup("run", "tidy", "--on", "db2", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert "run 3 of tidy on db2" in done.stderr
    unknown = jobsup("run", "tidy", "--on", "db3", cwd=folder)
    assert unknown.returncode == 4
    assert "no worker has been on a host 'db3'" in unknown.stderr
    header, *lines = jobsup("runs", "tidy", cwd=folder).stdout.splitlines()
    assert header.split()[2] == "ON"
    assert [line.split()[2] for line in lines] == ["db2", "db2", "db1"]
    [tick] = json.loads(jobsup("next", "tidy", "-n", "1", "--json", cwd=folder).stdout)["next"]
    assert tick["hosts"] == ["db1", "db2"]
    assert "on each of db1, db2" in jobsup("next", "tidy", "-n", "1", cwd=folder).stdout


def test_wrong_parameters_are_all_told_and_nothing_is_made(folder: Path, rows: Database) -> None:
    add_job(rows, "report", params=(ParamSpec("pages", "integer", required=True),))
    done = jobsup("run", "report", "-p", "page=3", cwd=folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert 'did you mean "pages"?' in done.stderr
    assert json.loads(jobsup("runs", "--json", cwd=folder).stdout)["runs"] == []


def test_an_unknown_job_is_not_found_with_a_hint(folder: Path, rows: Database) -> None:
    add_job(rows, "backup")
    for verb in (["run"], ["show"], ["why"], ["next"], ["runs"], ["pause"], ["resume"], ["logs"]):
        done = jobsup(*verb, "bakup", cwd=folder)
        assert (done.returncode, done.stdout) == (4, ""), verb
        assert done.stderr == 'jobsup: no job is called "bakup"; did you mean "backup"?\n'


def test_a_job_that_is_only_in_the_file_asks_for_a_reload(folder: Path, rows: Database) -> None:
    with (folder / "jobsup.toml").open("a") as file:
        file.write('[[job]]\nname = "new"\ncommand = "true"\n')
    done = jobsup("run", "new", cwd=folder)
    assert done.returncode == 4
    assert done.stderr == "jobsup: job 'new' is in jobsup.toml, but not in force yet: `jobsup reload`\n"


def test_an_overlapping_run_is_skipped_and_told_so(folder: Path, rows: Database) -> None:
    add_dispatch(rows, add_job(rows, "backup"), Status.IN_PROGRESS)
    done = jobsup("run", "backup", "--wait", cwd=folder)
    assert done.returncode == 6
    assert "run 2 of backup is SKIPPED: run 1 was still running" in done.stderr


def test_pause_keeps_who_why_and_until_and_resume_ends_it(folder: Path, rows: Database) -> None:
    add_job(rows, "backup", next_run=FAR, schedule=DAILY, tags=("night",))
    add_job(rows, "other")
    done = jobsup("pause", "--tag", "night", "--for", "2h", "--reason", "disk full", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.startswith("backup: paused by ")
    row = job_row(rows, "backup")
    assert row["paused_reason"] == "disk full"
    assert timedelta(hours=1, minutes=59) < row["paused_until"] - rows.now() < timedelta(hours=2)
    assert job_row(rows, "other")["paused_at"] is None
    listed = json.loads(jobsup("list", "--paused", "--json", cwd=folder).stdout)["jobs"]
    assert [(job["name"], job["state"], job["paused_reason"]) for job in listed] == [("backup", "paused", "disk full")]
    refused = jobsup("run", "backup", cwd=folder)
    assert refused.returncode == 6
    assert "disk full" in refused.stderr
    assert jobsup("run", "backup", "--force", cwd=folder).returncode == 0
    assert jobsup("resume", "--all", cwd=folder).stdout == "backup: resumed\n"
    assert job_row(rows, "backup")["paused_at"] is None


def test_pause_wants_to_know_which_jobs(folder: Path, rows: Database) -> None:
    add_job(rows, "backup")
    for words in ([], ["backup", "--all"], ["--all", "--tag", "x"]):
        done = jobsup("pause", *words, cwd=folder)
        assert done.returncode == 2
        assert "say which jobs" in done.stderr
    assert jobsup("pause", "--tag", "none", cwd=folder).returncode == 4


def test_next_gives_instants_in_order_with_notes(folder: Path, rows: Database) -> None:
    berlin = ScheduleSpec(cron="30 2 * * *", timezone="Europe/Berlin")
    add_job(rows, "a", next_run=FAR, schedule=berlin)
    add_job(rows, "b", next_run=FAR, schedule=ScheduleSpec(every=timedelta(hours=12)))
    add_job(rows, "manual")
    done = jobsup("next", "--at", "2027-03-27T12:00:00Z", "-n", "3", "--json", cwd=folder)
    answer = json.loads(done.stdout)
    assert set(answer) == {"schema", "next"}
    assert [(each["job"], each["at"]) for each in answer["next"]] == [
        ("b", "2027-03-28T00:00:00Z"),
        ("a", "2027-03-28T01:00:00Z"),
        ("b", "2027-03-28T12:00:00Z"),
    ]
    assert answer["next"][1]["note"].startswith("moved")
    shown = jobsup("next", "a", "--at", "2027-03-27T12:00:00Z", "-n", "1", "--tz", "Asia/Tokyo", cwd=folder).stdout
    assert "2027-03-28 10:00:00" in shown
    assert "moved" in shown


def test_runs_are_filtered_by_job_status_time_and_number(folder: Path, rows: Database) -> None:
    a, b = add_job(rows, "a"), add_job(rows, "b")
    add_dispatch(rows, a, Status.FAILED, created_at=rows.now() - timedelta(days=2))
    add_dispatch(rows, a, Status.FAILED)
    add_dispatch(rows, a, Status.COMPLETED)
    add_dispatch(rows, b, Status.SKIPPED)

    def ids(*words: str) -> list[int]:
        return [run["id"] for run in json.loads(jobsup("runs", *words, "--json", cwd=folder).stdout)["runs"]]

    assert ids() == [4, 3, 2, 1]
    assert ids("a") == [3, 2, 1]
    assert ids("--last", "2") == [4, 3]
    assert ids("--status", "failed", "--since", "24h") == [2]
    assert ids("--status", "FAILED", "--status", "SKIPPED") == [4, 2, 1]


def test_logs_give_exact_bytes_or_harmless_text(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a")
    run = add_dispatch(rows, job, Status.COMPLETED)
    add_log(
        rows,
        run,
        b"one\n\x1b[31mtwo\x1b[0m\nend\n",
        output_bytes=1021,
        output_dropped=1000,
        output_gap_at=4,
        stream_marks=[[21, 1]],
    )
    text = jobsup("logs", "a", cwd=folder)
    assert text.stdout == "one\n[... 1000 bytes dropped ...]\ntwo\nend\n"
    raw = jobsup("logs", str(run), "--raw", cwd=folder)
    assert raw.stdout == "one\n\x1b[31mtwo\x1b[0m\nend\n"
    assert raw.stderr == "[... 1000 bytes dropped ...]\n"
    assert jobsup("logs", "a", "--tail", "1", cwd=folder).stdout == "end\n"


def test_a_run_without_output_says_why_on_standard_error(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a")
    assert "has not run yet" in jobsup("logs", "a", cwd=folder).stderr
    add_dispatch(rows, job, Status.SKIPPED, error_message="run 7 was still running")
    done = jobsup("logs", "a", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "run 1 of a has not started: it is SKIPPED (run 7 was still running)\n"
    missing = jobsup("logs", "99", cwd=folder)
    assert (missing.returncode, missing.stderr) == (4, "jobsup: no run 99: see `jobsup runs`\n")


def test_cancel_ends_what_waits_and_refuses_what_has_ended(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a")
    waiting, ended = add_dispatch(rows, job), add_dispatch(rows, job, Status.COMPLETED)
    done = jobsup("cancel", str(waiting), str(ended), "99", cwd=folder)
    assert done.returncode == 6
    assert done.stdout == "run 1: cancelled\n"
    assert done.stderr.splitlines() == [
        "jobsup: run 2 has ended already: COMPLETED",
        "jobsup: no run 99: see `jobsup runs`",
    ]


def test_cancel_of_a_failed_attempt_names_the_retry_that_waits(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a")
    failed = add_dispatch(rows, job, Status.FAILED)
    add_dispatch(rows, job, source="retry", retry_of=failed, retry_count=1)
    done = jobsup("cancel", str(failed), cwd=folder)
    assert done.returncode == 6
    assert "its retry, run 2, is PENDING: cancel that" in done.stderr


def test_retry_makes_a_new_attempt_once(folder: Path, rows: Database) -> None:
    failed = add_dispatch(rows, add_job(rows, "a"), Status.FAILED)
    done = jobsup("retry", str(failed), cwd=folder)
    assert (done.returncode, done.stdout) == (0, "2\n")
    again = jobsup("retry", str(failed), cwd=folder)
    assert again.returncode == 6
    assert "retried already, as run 2" in again.stderr


def test_numbers_no_run_can_have_are_not_found(folder: Path, rows: Database) -> None:
    add_job(rows, "a")
    for verb in ("logs", "why"):
        assert jobsup(verb, str(1 << 63), cwd=folder).returncode == 4
    assert jobsup("cancel", str(1 << 63), cwd=folder).returncode == 2


def test_a_shell_completes_the_names_of_jobs(folder: Path, rows: Database) -> None:
    for name in ("backup", "back", "other"):
        add_job(rows, name)
    words = {"_JOBSUP_COMPLETE": "bash_complete", "COMP_WORDS": "jobsup show ba", "COMP_CWORD": "2"}
    assert installed(cwd=folder, env=words).stdout.split() == ["plain,back", "plain,backup"]
    assert installed(cwd=folder.parent, env=words).stderr == ""


def test_show_has_the_definition_with_secrets_masked(folder: Path, rows: Database) -> None:
    add_job(rows, "a", env={"TOKEN": "hunter2"}, description="does things\x1b[31m", catch_up=CatchUp.ALL)
    text = jobsup("show", "a", cwd=folder).stdout
    assert "hunter2" not in text
    assert "TOKEN" in text
    assert "\x1b" not in text
    answer = json.loads(jobsup("show", "a", "--json", cwd=folder).stdout)
    assert answer["job"]["definition"]["catch_up"] == "all"
    assert "hunter2" not in json.dumps(answer)


def _why(folder: Path, *words: str) -> tuple[str, str]:
    answer = json.loads(jobsup("why", *words, "--json", cwd=folder).stdout)
    return answer["outcome"], " ".join(answer["why"])


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.OVERLAP, "an earlier run had not ended"),
        (Reason.PAUSED, "the job was paused"),
        (Reason.MISSED, "nothing was running at that instant"),
        (Reason.MISFIRE_GRACE, "misfire_grace"),
        (Reason.CATCH_UP_LIMIT, "catch_up_limit"),
        (Reason.DST_GAP, "did not exist that day"),
    ],
)
def test_why_tells_each_reason_of_a_skip_in_words(folder: Path, rows: Database, reason: Reason, words: str) -> None:
    job = add_job(rows, "a", next_run=FAR, schedule=DAILY)
    add_dispatch(rows, job, Status.SKIPPED, scheduled_for=TICK, skipped_until=TICK, skipped_count=1, reason=reason)
    outcome, text = _why(folder, "a", "--at", "2026-03-10T03:00:00Z")
    assert outcome == "SKIPPED"
    assert words in text
    assert "The next tick is 2099-01-01T03:00:00Z" in text


def test_why_tells_who_paused_the_job_when_the_pause_is_long_over(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a", next_run=FAR, schedule=DAILY)
    columns = {"reason": Reason.PAUSED, "error_message": "by ann@db1: disk full"}
    add_dispatch(rows, job, Status.SKIPPED, scheduled_for=TICK, **columns)
    assert "the job was paused (by ann@db1: disk full)" in _why(folder, "a", "--at", "2026-03-10T03:00:00Z")[1]


def test_why_finds_a_tick_within_a_counted_range(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a", next_run=FAR, schedule=DAILY)
    until = TICK + timedelta(days=9)
    columns = {"skipped_until": until, "skipped_count": 10, "reason": Reason.MISSED}
    add_dispatch(rows, job, Status.SKIPPED, scheduled_for=TICK, **columns)
    outcome, text = _why(folder, "a", "--at", "2026-03-15T03:00:00Z")
    assert outcome == "SKIPPED"
    assert "10 ticks" in text


def test_why_says_what_is_not_due_not_yet_and_not_recorded(folder: Path, rows: Database) -> None:
    add_job(rows, "a", next_run=FAR, schedule=DAILY)
    outcome, text = _why(folder, "a", "--at", "2026-03-10T04:00:00Z")
    assert outcome == "not_due"
    assert "The tick before is 2026-03-10T03:00:00Z, the one after 2026-03-11T03:00:00Z." in text
    assert _why(folder, "a", "--at", "2090-01-01T03:00:00Z")[0] == "not_yet"
    outcome, text = _why(folder, "a", "--at", "2020-01-01T03:00:00Z")
    assert outcome == "unknown"
    assert "first defined at" in text
    assert _why(folder, "a") == ("never_ran", "It has not run yet. The next tick is 2099-01-01T03:00:00Z: it will run.")


def test_why_tells_that_a_due_tick_has_no_scheduler(folder: Path, rows: Database) -> None:
    add_job(rows, "a", next_run=TICK, schedule=DAILY, row={"created_at": TICK - timedelta(days=9)})
    outcome, text = _why(folder, "a", "--at", "2026-03-10T03:00:00Z")
    assert outcome == "due"
    assert "no scheduler has dispatched it yet: none is running" in text


def test_why_tells_the_chain_of_attempts_and_what_the_last_waits_for(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a")
    first = add_dispatch(rows, job, Status.TIMEOUT, reason=Reason.WORKER_LOST)
    later = rows.now() + timedelta(hours=1)
    second = add_dispatch(rows, job, source="retry", retry_of=first, retry_count=1, available_at=later)
    for run in (first, second):
        outcome, text = _why(folder, str(run))
        assert outcome == "PENDING"
        assert "Attempt 1 (run 1) was lost" in text
        assert "its worker was lost" in text
        assert "Attempt 2 (run 2) waits for its retry delay" in text
        assert "`jobsup retry 2` starts it now." in text


def test_why_tells_that_no_worker_serves_the_queue(folder: Path, rows: Database) -> None:
    add_worker(rows, queues=["light"])
    run = add_dispatch(rows, add_job(rows, "a", queue="heavy"))
    assert 'no worker serves the queue "heavy"' in _why(folder, str(run))[1]


def test_why_tells_which_run_holds_the_place(folder: Path, rows: Database) -> None:
    job = add_job(rows, "a")
    running = add_dispatch(rows, job, Status.IN_PROGRESS)
    waiting = add_dispatch(rows, job)
    assert f"waits for run {running} of the same job to end" in _why(folder, str(waiting))[1]
