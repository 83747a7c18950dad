"""`jobsup export`, as people type it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from jobsup.config.load import load
from jobsup.model import ScheduleSpec
from jobsup.store import jobs
from tests.support.command import forked, jobsup
from tests.support.store import add_job, create_database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration, and a database with two jobs."""
    (tmp_path / "jobsup.toml").write_text('[database]\nurl = "sqlite:///jobsup.db"\n[defaults]\nmax_retries = 1\n')
    database = create_database(tmp_path / "jobsup.db")
    daily = ScheduleSpec(cron="0 3 * * *", timezone="UTC")
    add_job(database, "backup", command="tar 100%", schedule=daily, env={"A": "b"}, cwd="/")
    add_job(database, "manual", command=("a", "b c"))
    database.close()
    return tmp_path


def test_the_jobs_come_out_as_tables_that_give_them_back(folder: Path) -> None:
    done = jobsup("export", cwd=folder)
    assert done.returncode == 0
    assert done.stderr == "2 jobs\n"
    backup, manual = tomllib.loads(done.stdout)["job"]
    wanted = {"name": "backup", "command": "tar 100%", "cron": "0 3 * * *", "timezone": "UTC", "max_retries": 3}
    assert backup == {**wanted, "cwd": "/", "env": {"A": "b"}}
    assert manual == {"name": "manual", "command": ["a", "b c"], "max_retries": 3}
    (folder / "out.toml").write_text(done.stdout)
    assert [job.name for job in load(folder / "out.toml", {}).jobs] == ["backup", "manual"]


SHARED = """
[pools]
tapes = 2
[calendars.closed]
dates = ["2026-12-24"]
ranges = [["2026-12-27", "2027-01-02"]]
yearly = ["05-01"]
weekdays = ["SAT", "SUN"]
[[blackout]]
name = "inventory"
cron = "0 22 * * FRI"
duration = "6h"
timezone = "Europe/Berlin"
jobs = ["shop-*"]
policy = "skip"
[[blackout]]
name = "move"
from = 2030-05-04T02:30:00Z
until = 2030-05-04T06:00:00Z
[[job]]
name = "shop-orders"
command = "true"
cron = "0 9 1 * *"
timezone = "UTC"
use_calendar = "closed"
calendar_rule = "next_business_day"
pool = "tapes"
"""


def test_what_jobs_share_comes_out_when_asked_for_and_gives_itself_back(tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text('[database]\nurl = "sqlite:///jobsup.db"\n' + SHARED)
    config = load(tmp_path / "jobsup.toml", {})
    database = create_database(tmp_path / "jobsup.db")
    jobs.sync(database, "default", config.jobs, content_hash="", node="", path="", shared=config.shared)
    database.close()
    without = forked("export", cwd=tmp_path)
    assert "calendars" not in without.stdout
    assert without.stderr == "1 job; their blackout, calendars, pools: `jobsup export --shared`\n"
    whole = forked("export", "--shared", cwd=tmp_path)
    assert whole.stderr == "1 job\n"
    (tmp_path / "out.toml").write_text(whole.stdout)
    again = load(tmp_path / "out.toml", {})
    assert again.shared == config.shared
    assert again.jobs == config.jobs
    refused = forked("export", "--shared", "--crontab", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_named_jobs_come_out_as_a_crontab(folder: Path) -> None:
    done = forked("export", "backup", "--crontab", cwd=folder)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "0 3 * * * export A=b; cd / || exit; tar 100\\%")
    assert "# backup: timeout: 10m" in lines
    assert "manual" not in done.stdout


def test_an_exported_crontab_can_be_imported_again(folder: Path) -> None:
    (folder / "tab").write_text(forked("export", "--crontab", cwd=folder).stdout)
    done = forked("import", "crontab", "tab", cwd=folder)
    (job,) = tomllib.loads(done.stdout)["job"]
    assert (done.returncode, job["cron"]) == (0, "0 3 * * *")
    assert job["command"] == "export A=b; cd / || exit; tar 100%"


def test_an_unknown_job_or_no_database_is_one_line(folder: Path) -> None:
    unknown = forked("export", "bakcup", cwd=folder)
    assert (unknown.returncode, unknown.stdout) == (4, "")
    assert 'did you mean "backup"?' in unknown.stderr
    (folder / "jobsup.db").unlink()
    gone = forked("export", cwd=folder)
    assert (gone.returncode, gone.stdout, len(gone.stderr.splitlines())) == (3, "", 1)
