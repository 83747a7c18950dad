"""`jobsup import portal`, as people type it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.support.command import forked, jobsup
from tests.support.oldportal import OldPortalFile

CONFIG = 'include = ["jobs.d/*.toml"]\n[database]\nurl = "sqlite:///jobsup.db"\n'


@pytest.fixture
def old(tmp_path: Path) -> OldPortalFile:
    (tmp_path / "jobsup.toml").write_text(CONFIG)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/work.py").write_text("print('work')\n")
    portal = OldPortalFile(tmp_path / "reflex.db")
    portal.log(
        portal.job("Nightly job", schedule_type="daily", schedule_time="03:00"), "2020-01-01 03:00:00", text="hi\n"
    )
    return portal


def test_jobs_schedules_and_history_come_over_and_again_adds_nothing(tmp_path: Path, old: OldPortalFile) -> None:
    done = jobsup("import", "portal", "--from", "sqlite:///reflex.db", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Nightly-job\n")
    assert "1 job added, 0 changed, 1 run added" in done.stderr
    assert "cleanup_retention_days" in done.stderr
    runs = json.loads(forked("runs", "--json", cwd=tmp_path).stdout)["runs"]
    assert [(run["job"], run["status"], run["source"]) for run in runs] == [("Nightly-job", "COMPLETED", "manual")]
    assert forked("logs", "Nightly-job", cwd=tmp_path).stdout == "hi\n"
    (upcoming,) = json.loads(forked("next", "Nightly-job", "-n", "1", "--json", cwd=tmp_path).stdout)["next"]
    assert upcoming["at"].endswith("T03:00:00Z")
    again = forked("import", "portal", "--from", "sqlite:///reflex.db", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert "0 jobs added, 0 changed, 0 runs added" in again.stderr


def test_with_write_the_jobs_move_into_a_file_and_keep_their_history(tmp_path: Path, old: OldPortalFile) -> None:
    first = forked("import", "portal", "--from", old.url, "--write", cwd=tmp_path)
    assert (first.returncode, first.stdout) == (0, "jobs.d/portal.toml\n")
    assert "the history of 1 job comes when this is done again" in first.stderr
    (job,) = tomllib.loads((tmp_path / "jobs.d/portal.toml").read_text())["job"]
    assert (job["cron"], job["timezone"], job["tags"]) == ("0 3 * * *", "UTC", ["portal-1"])
    (tmp_path / "jobs.d/portal.toml").unlink()

    forked("import", "portal", "--from", old.url, cwd=tmp_path)
    moved = forked("import", "portal", "--from", old.url, "--write", cwd=tmp_path)
    assert (moved.returncode, "handed over to the file: Nightly-job" in moved.stderr) == (0, True)
    (listed,) = json.loads(forked("list", "--json", cwd=tmp_path).stdout)["jobs"]
    assert listed["name"] == "Nightly-job"
    assert len(json.loads(forked("runs", "--json", cwd=tmp_path).stdout)["runs"]) == 1
    assert forked("check", cwd=tmp_path).returncode == 0


def test_what_cannot_be_imported_is_one_line(tmp_path: Path, old: OldPortalFile) -> None:
    faults = {
        ("--from", "sqlite:///none.db"): 4,
        ("--from", "reflex.db"): 2,
        ("--from", old.url, "--tz", "Mars/Base"): 2,
        ("--from", old.url, "--base", "nowhere"): 4,
        ("--from", old.url, "--label", "a b"): 2,
        (): 2,
    }
    for arguments, code in faults.items():
        done = forked("import", "portal", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1), done.stderr
    assert not (tmp_path / "jobsup.db").exists()
