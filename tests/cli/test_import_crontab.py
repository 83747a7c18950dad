"""`jobsup import crontab` and `import systemd-timers`, as people type them."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

from tests.support.command import forked, jobsup

CRONTAB = """\
MAILTO=ops@example.org
# nightly backup
0 3 * * * /usr/local/bin/backup.sh --full
*/5 * * * * cd / && ./feed%input
61 * * * * broken
"""

CONFIG = '[database]\nurl = "sqlite:///jobsup.db"\n'


def test_it_prints_toml_with_notes_and_ends_with_1_for_a_line_it_cannot_read(tmp_path: Path) -> None:
    done = jobsup("import", "crontab", "-", cwd=tmp_path, stdin=CRONTAB)
    assert done.returncode == 1
    jobs = tomllib.loads(done.stdout)["job"]
    assert [job["name"] for job in jobs] == ["backup", "feed"]
    assert jobs[0]["description"] == "nightly backup"
    assert "# standard input:3: cron mails its output to ops@example.org" in done.stdout
    assert "# not taken over: standard input:5: cron '61 * * * *'" in done.stdout
    errors = done.stderr.splitlines()
    assert any(line.startswith("standard input:4: feed: what follows % is") for line in errors)
    assert [line for line in errors if line.startswith("jobsup: ")] == [
        "jobsup: standard input:5: cron '61 * * * *': minute '61': '61' is out of range; it must be 0-59"
    ]
    (tmp_path / "jobsup.toml").write_text(CONFIG + done.stdout)
    assert forked("check", cwd=tmp_path).returncode == 0


def test_write_saves_beside_the_configuration_and_says_when_it_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text(CONFIG + '[[job]]\nname = "backup"\ncommand = "true"\n')
    (tmp_path / "jobsup.toml").chmod(0o640)
    (tmp_path / "night.tab").write_text("0 3 * * * backup\n")
    done = forked("import", "crontab", "night.tab", "--write", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "jobs.d/night.toml\n")
    assert 'jobsup.toml does not read jobs.d/night.toml: add include = ["jobs.d/*.toml"]' in done.stderr
    saved = tmp_path / "jobs.d/night.toml"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o640
    assert tomllib.loads(saved.read_text())["job"][0]["name"] == "backup-2"  # the other is taken

    again = forked("import", "crontab", "night.tab", "--write", cwd=tmp_path)
    assert (again.returncode, "--force replaces it" in again.stderr) == (6, True)
    with_include = 'include = ["jobs.d/*.toml"]\n' + (tmp_path / "jobsup.toml").read_text()
    (tmp_path / "jobsup.toml").write_text(with_include)
    forced = forked("import", "crontab", "night.tab", "--force", "--write", cwd=tmp_path)
    assert (forced.returncode, "include" in forced.stderr) == (0, False)
    assert forked("check", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in saved.parent.iterdir()) == ["night.toml"]


def test_write_takes_a_file_or_a_folder_and_needs_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "tab").write_text("0 3 * * * x\n")
    (tmp_path / "folder").mkdir()
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    assert forked("import", "crontab", "tab", "--write", "a.toml", cwd=tmp_path, env=env).stdout == "a.toml\n"
    assert forked("import", "crontab", "tab", "--write", "folder", cwd=tmp_path, env=env).stdout == "folder/tab.toml\n"
    alone = forked("import", "crontab", "tab", "--write", cwd=tmp_path, env=env)
    assert (alone.returncode, "--write FILE" in alone.stderr) == (4, True)


def test_the_systems_and_a_users_crontab_are_found_below_another_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/crontab").write_text("0 3 * * * nobody-by-that-name x\n")
    (tmp_path / "var/spool/cron/crontabs").mkdir(parents=True)
    (tmp_path / "var/spool/cron/crontabs/root").write_text("@daily y\n")
    system = forked("import", "crontab", "--system", "--root", str(tmp_path), cwd=tmp_path)
    (job,) = tomllib.loads(system.stdout)["job"]
    assert (system.returncode, job["command"], job["enabled"]) == (0, "x", False)
    user = forked("import", "crontab", "--user", "root", "--root", str(tmp_path), cwd=tmp_path)
    (job,) = tomllib.loads(user.stdout)["job"]
    assert (user.returncode, job["command"]) == (0, "y")


def test_what_is_not_there_or_said_twice_is_one_line(tmp_path: Path) -> None:
    faults = {
        ("nowhere.tab",): 4,
        ("nowhere.tab", "--system"): 2,
        ("--user", "nobody-by-that-name"): 4,
        ("-", "--force"): 2,
        ("-", "-c", "nowhere.toml"): 7,
        (".",): 4,
    }
    for arguments, code in faults.items():
        done = forked("import", "crontab", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1), done.stderr
        assert done.stderr.startswith("jobsup: ")


def test_timers_of_a_folder_are_printed_and_a_missing_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    (tmp_path / "units/work.timer").write_text("[Timer]\nOnCalendar=daily\nPersistent=yes\n")
    (tmp_path / "units/work.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    done = jobsup("import", "systemd-timers", "units", cwd=tmp_path)
    assert done.returncode == 0
    (job,) = tomllib.loads(done.stdout)["job"]
    assert (job["name"], job["on_calendar"], job["catch_up"]) == ("work", "daily", "latest")
    (tmp_path / "units/lonely.timer").write_text("[Timer]\nOnCalendar=daily\n")
    assert forked("import", "systemd-timers", "units", cwd=tmp_path).returncode == 1
    assert forked("import", "systemd-timers", "none", cwd=tmp_path).returncode == 4
