"""From nothing to a configuration that is right: init, check, config, systemd, db."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from tests.support.command import JOBSUP
from tests.support.command import forked as jobsup

BAD = """\
[worker]
coutn = 2
[[job]]
name = "a"
command = "true"
cron = "61 * * * *"
[[job]]
name = "a"
comand = "true"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobsup.toml").write_text(
        '[database]\nurl = "sqlite:///data.db"\n[supervisor]\nruntime_dir = "run"\n'
        '[[job]]\nname = "backup"\ncommand = "true"\ncron = "0 3 * * *"\ntimezone = "UTC"\n'
        '[[job]]\nname = "manual"\ncommand = "true"\n'
    )
    return tmp_path


def test_init_writes_a_file_that_check_accepts_and_never_overwrites(tmp_path: Path) -> None:
    done = jobsup("init", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "jobsup.toml\n")
    written = (tmp_path / "jobsup.toml").read_text()
    checked = jobsup("check", "--strict", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "hello" in checked.stdout
    again = jobsup("init", cwd=tmp_path)
    assert again.returncode == 6
    assert again.stderr == "jobsup: jobsup.toml exists: edit it, move it away, or name another file\n"
    assert (tmp_path / "jobsup.toml").read_text() == written


def test_a_warning_that_many_jobs_get_is_one_line(tmp_path: Path) -> None:
    job = '[[job]]\nname = "job-{}"\ncommand = "true"\ncron = "{}"\n'
    crons = ["*/7 * * * *", "0 3 * * *", "*/7 * * * *", "*/9 * * * *", "*/7 * * * *"]
    (tmp_path / "jobsup.toml").write_text("".join(job.format(n, cron) for n, cron in enumerate(crons)))
    sevens, nines = [line for line in jobsup("check", cwd=tmp_path).stderr.splitlines() if "is not every" in line]
    assert sevens.startswith('warning: jobsup.toml:4: [[job]] 1 "job-0" cron: minute */7 is not every 7 minutes')
    assert sevens.endswith("(and 2 more like it, the next at jobsup.toml:12)")
    assert nines.startswith('warning: jobsup.toml:16: [[job]] 4 "job-3" cron: minute */9')
    assert "more like it" not in nines
    assert len(json.loads(jobsup("check", "--json", cwd=tmp_path).stdout)["problems"]) == 4


def test_init_writes_where_it_is_told(tmp_path: Path) -> None:
    assert jobsup("init", "deep/er/x.toml", cwd=tmp_path).returncode == 0
    assert jobsup("init", "-c", "y.toml", cwd=tmp_path).returncode == 0
    assert (tmp_path / "deep/er/x.toml").read_text() == (tmp_path / "y.toml").read_text()


def test_check_reports_every_problem_with_its_line_and_ends_with_7(tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text(BAD)
    done = jobsup("check", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stdout == ""
    *problems, last = done.stderr.splitlines()
    assert len(problems) >= 4
    assert all(re.match(r"jobsup\.toml:\d+: ", problem) for problem in problems)
    assert problems[0] == 'jobsup.toml:2: [worker] coutn: unknown key; did you mean "count"?'
    assert last == f"{len(problems)} problems found"


def test_check_has_its_problems_as_json_too(tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text(BAD)
    done = jobsup("check", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert done.returncode == 7
    assert (answer["schema"], answer["ok"], answer["next"]) == (1, False, [])
    assert answer["problems"][0] == {
        "message": 'unknown key; did you mean "count"?',
        "file": "jobsup.toml",
        "table": "[worker]",
        "key": "coutn",
        "line": 2,
        "warning": False,
    }


def test_check_previews_the_next_runs_and_makes_nothing(folder: Path) -> None:
    done = jobsup("check", cwd=folder)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["JOB", "backup"]
    assert "2 jobs, of which 1 will run by schedule" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["jobsup.toml"]


def test_warnings_count_only_when_asked(folder: Path) -> None:
    with (folder / "jobsup.toml").open("a") as file:
        file.write('[[job]]\nname = "past"\ncommand = "true"\nat = "2001-01-01T00:00:00Z"\n')
    done = jobsup("check", cwd=folder)
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert jobsup("check", "--strict", cwd=folder).returncode == 7


def test_no_configuration_at_all_names_the_places_and_what_to_do(tmp_path: Path) -> None:
    empty = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = jobsup("status", cwd=tmp_path, env=empty)
    assert done.returncode == 7
    assert done.stderr.startswith("jobsup: no configuration found (looked at jobsup.toml, ")
    assert "jobsup init" in done.stderr


def test_the_environment_names_the_configuration(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = jobsup("config", "path", cwd=elsewhere, env={"JOBSUP_CONFIG": str(folder / "jobsup.toml")})
    assert done.stdout == f"{folder / 'jobsup.toml'}\n"


def test_config_show_tells_each_value_and_where_it_is_from(folder: Path) -> None:
    env = {"WORKER_POLL_INTERVAL": "7"}
    rows = json.loads(jobsup("config", "show", "--json", cwd=folder, env=env).stdout)["settings"]
    shown = {row["key"]: (row["value"], row["origin"]) for row in rows}
    assert shown["database.url"] == (f'"sqlite:///{folder}/data.db"', "jobsup.toml:2")
    assert shown["worker.poll_interval"] == ('"7s"', "environment WORKER_POLL_INTERVAL")
    assert shown["worker.count"] == ("4", "default")
    text = jobsup("config", "show", "worker.poll_interval", cwd=folder, env=env).stdout
    assert text.splitlines()[1].split() == ["worker.poll_interval", '"7s"', "environment", "WORKER_POLL_INTERVAL"]


def test_config_show_refuses_a_key_there_is_not(folder: Path) -> None:
    done = jobsup("config", "show", "worker.coutn", cwd=folder)
    assert done.returncode == 2
    assert 'did you mean "worker.count"?' in done.stderr


def test_the_printed_unit_fits_this_installation(folder: Path) -> None:
    with (folder / "jobsup.toml").open("a") as file:
        file.write('kill_grace = "25s"\n')
    unit = jobsup("systemd", cwd=folder).stdout
    assert f"ExecStart={JOBSUP} start -c {folder}/jobsup.toml" in unit
    assert f"ExecReload={JOBSUP} reload -c {folder}/jobsup.toml" in unit
    assert "TimeoutStopSec=75" in unit


def test_a_unit_is_printed_before_there_is_a_configuration_with_a_warning(tmp_path: Path) -> None:
    empty = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = jobsup("systemd", cwd=tmp_path, env=empty)
    assert done.returncode == 0
    assert f"ExecStart={JOBSUP} start -c /etc/jobsup/jobsup.toml" in done.stdout
    assert done.stderr.startswith("warning: ")


def test_db_verbs_make_check_and_tell_the_tables(folder: Path) -> None:
    missing = jobsup("db", "check", cwd=folder)
    assert missing.returncode == 3
    assert "does not exist yet" in missing.stderr
    assert not (folder / "data.db").exists()
    made = jobsup("db", "upgrade", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "made" in made.stderr
    assert jobsup("db", "upgrade", cwd=folder).stderr == "already up to date\n"
    current = json.loads(jobsup("db", "current", "--json", cwd=folder).stdout)
    assert current["current"] == current["head"] == made.stdout.strip()
    assert jobsup("db", "check", cwd=folder).stdout == "ok\n"
    with sqlite3.connect(folder / "data.db") as connection:
        connection.execute("DROP INDEX ix_job_due")
    broken = jobsup("db", "check", "--json", cwd=folder)
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["faults"] == ["index ix_job_due is missing"]


@pytest.mark.parametrize("verb", [["status"], ["runs"], ["run", "backup"]])
def test_a_database_that_is_none_is_one_line(folder: Path, verb: list[str]) -> None:
    (folder / "data.db").write_bytes(b"this is no database " * 100)
    done = jobsup(*verb, cwd=folder)
    assert done.returncode in (3, 7)
    assert "is corrupt or no SQLite file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_database_is_left_alone(folder: Path) -> None:
    jobsup("db", "upgrade", cwd=folder)
    with sqlite3.connect(folder / "data.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for verb in (["runs"], ["run", "backup"], ["db", "upgrade"]):
        done = jobsup(*verb, cwd=folder)
        assert done.returncode == 7
        assert "newer than this jobsup" in done.stderr
        assert done.stderr.count("\n") == 1


def test_version_is_told_to_people_and_programs() -> None:
    number = jobsup("version").stdout.split()[1]
    assert json.loads(jobsup("version", "--json").stdout)["version"] == number
    assert jobsup("--version").stdout == f"jobsup {number}\n"
