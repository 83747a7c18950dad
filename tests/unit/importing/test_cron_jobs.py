"""Jobs made of a crontab load as they stand, fire when cron would, and say what they do not keep."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobsup.config.load import load
from jobsup.importing import cron_places, toml_text
from jobsup.importing.cron_jobs import Setting
from jobsup.importing.draft import Harvest
from jobsup.importing.naming import Names
from jobsup.model import CatchUp, JobSpec, Overlap
from jobsup.schedule import upcoming
from tests.support.cronlines import COMMON
from tests.support.cronloop import daemon

START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
ME = pwd.getpwuid(os.geteuid()).pw_name


def harvest(text: str | bytes, *, has_user: bool = False, zone: str = "Europe/Berlin") -> Harvest:
    content = text if isinstance(text, bytes) else text.encode()
    return cron_places.from_bytes(content, "tab", Setting(None, "/", zone), has_user=has_user, names=Names())


def loaded(found: Harvest, folder: Path) -> tuple[JobSpec, ...]:
    file = folder / "jobs.toml"
    file.write_text(toml_text.write(found.drafts, found.faults, header=("a header",)), encoding="utf-8", newline="")
    return load(file, {}).jobs


def only(text: str, folder: Path) -> JobSpec:
    found = harvest(text)
    assert not found.faults
    (job,) = loaded(found, folder)
    return job


def notes(text: str) -> str:
    return "\n".join(note for draft in harvest(text).drafts for note in draft.notes)


def test_a_crontab_comes_back_from_the_loader_and_fires_when_the_daemon_would(tmp_path: Path) -> None:
    schedules = [line for line in COMMON if not line.startswith("10 2 31 2")]
    jobs = loaded(harvest("".join(f"{line} run-{n}\n" for n, line in enumerate(schedules))), tmp_path)
    assert [job.command for job in jobs] == [f"run-{n}" for n in range(len(schedules))]
    end = START + timedelta(hours=14)  # over the change to summer time
    for job, line in zip(jobs, schedules, strict=True):
        ticks = [tick for tick in upcoming(job.schedule, START - timedelta(seconds=1), 900) if tick < end]
        assert ticks == list(daemon(line, "Europe/Berlin", START, end)), line


def test_a_job_does_what_cron_does_and_no_more(tmp_path: Path) -> None:
    job = only("0 3 * * * x\n", tmp_path)
    assert (job.overlap, job.catch_up, job.max_retries, job.timeout) == (Overlap.ALLOW, CatchUp.NONE, 0, None)
    assert (job.cwd, job.user, job.env) == ("/", None, {})


def test_variables_reach_the_job_but_those_for_cron_itself_do_not(tmp_path: Path) -> None:
    text = 'PATH="/opt/bin:/bin"\nMAILTO=ops@example.org\nHOME=/tmp\nLOGNAME=bob\n0 3 * * * x\n'
    job = only(text, tmp_path)
    assert (job.env, job.cwd) == ({"PATH": "/opt/bin:/bin", "HOME": "/tmp"}, "/tmp")
    assert "mails its output to ops@example.org" in notes(text)
    assert "LOGNAME is left out" in notes(text)


def test_a_variable_for_cron_is_kept_where_the_command_uses_it(tmp_path: Path) -> None:
    assert only("MAILTO=ops\n0 3 * * * x | mail $MAILTO\n", tmp_path).env == {"MAILTO": "ops"}


def test_another_shell_runs_the_line(tmp_path: Path) -> None:
    assert only("SHELL=/bin/bash\n0 3 * * * x && y\n", tmp_path).command == ("/bin/bash", "-c", "x && y")


def test_cron_tz_is_the_zone_of_the_jobs_below_it(tmp_path: Path) -> None:
    found = harvest("0 3 * * * a\nCRON_TZ=America/New_York\n0 3 * * * b\n")
    assert [job.schedule.timezone for job in loaded(found, tmp_path)] == ["Europe/Berlin", "America/New_York"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("cat%one", "one\n"), ("cat%one%two%", "one\ntwo\n"), ("cat%INPUT\\%", "INPUT%\n"), ("cat%", ""), ("cat", "")],
)
def test_what_follows_the_per_cent_sign_is_the_standard_input(line: str, wanted: str, tmp_path: Path) -> None:
    job = only(f"0 3 * * * {line}\n", tmp_path)
    assert (job.command, job.stdin) == ("cat", wanted)


def test_input_and_reboot_and_a_missing_home_are_noted() -> None:
    told = notes("HOME=/nowhere/at/all\n@reboot cat%hello\n")
    assert "the key stdin" in told
    assert "each start of jobsup" in told
    assert "/nowhere/at/all, which does not exist" in told


def test_a_system_crontab_taken_for_a_users_is_noted() -> None:
    assert f"{ME} is a user and no command" in notes(f"17 * * * * {ME} cd / && run-parts /etc/cron.hourly\n")
    assert "is a user" not in notes("17 * * * * cd / && true\n17 * * * * nobody-at-all x\n")


def test_a_job_of_a_user_this_machine_does_not_know_is_switched_off(tmp_path: Path) -> None:
    found = harvest(f"0 3 * * * nobody-by-that-name x\n0 4 * * * {ME} y\n", has_user=True)
    gone, mine = loaded(found, tmp_path)
    assert (gone.enabled, gone.user) == (False, None)
    assert (mine.enabled, mine.user) == (True, ME)
    assert "switched off" in found.drafts[0].notes[-1]


def test_a_bad_schedule_or_zone_is_a_fault_with_its_line_and_the_rest_stays(tmp_path: Path) -> None:
    found = harvest("61 * * * * a\n0 3 * * * b\n0 0 31 2 * c\nCRON_TZ=Mars/Base\n0 3 * * * d\n")
    assert [fault.place for fault in found.faults] == ["tab:1", "tab:3", "tab:5"]
    assert [job.command for job in loaded(found, tmp_path)] == ["b"]


LINES = st.one_of(
    st.text(max_size=40),
    st.builds(lambda a, b: f"{a} {b}", st.sampled_from(COMMON), st.text(max_size=30)),
    st.builds(
        lambda a, b: f"{a} = {b}",
        st.sampled_from(["PATH", "SHELL", "HOME", "CRON_TZ", "A B", "1", "JOBSUP_JOB"]),
        st.text(max_size=10),
    ),
)


@given(
    st.one_of(
        st.lists(LINES, max_size=6).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
        st.binary(max_size=80),
    ),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_text_gives_jobs_that_load_and_faults_but_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, has_user: bool
) -> None:
    found = harvest(content, has_user=has_user)
    jobs = loaded(found, _FOLDER or _folder(tmp_path_factory))
    assert [job.name for job in jobs] == [draft.name for draft in found.drafts]
    for job, draft in zip(jobs, found.drafts, strict=True):
        command = draft.table["command"]
        assert job.command == (tuple(command) if isinstance(command, list) else command)
        assert job.env == draft.table.get("env", {})


_FOLDER: Path | None = None


def _folder(factory: pytest.TempPathFactory) -> Path:
    global _FOLDER  # noqa: PLW0603  (one folder for all examples)
    _FOLDER = factory.mktemp("fuzz")
    return _FOLDER


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A file system with crontabs of its own."""
    for folder in ("etc/cron.d", "etc/cron.daily", "etc/cron.weekly"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/crontab").write_text(
        "17 * * * * root cd / && run-parts --report /etc/cron.hourly\n"
        "25 6 * * * root test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }\n"
        f"5 4 * * sun {ME} /usr/local/bin/report\n"
    )
    (tmp_path / "etc/cron.d/php").write_text(f"9,39 * * * * {ME} php-clean\n")
    (tmp_path / "etc/cron.d/old.disabled").write_text("* * * * * root x\n")
    for name, mode in (("logrotate", 0o755), ("backup", 0o755), ("notes.txt", 0o755), ("off", 0o644)):
        script = tmp_path / "etc/cron.daily" / name
        script.write_text("#!/bin/sh\n")
        script.chmod(mode)
    (tmp_path / "etc/cron.weekly/trim").write_text("#!/bin/sh\n")
    (tmp_path / "etc/cron.weekly/trim").chmod(0o755)
    return tmp_path


def test_the_systems_crontabs_give_a_job_for_each_script_of_their_folders(system: Path) -> None:
    found = cron_places.system(Setting(None, "/", "UTC"), Names(), system)
    made = {draft.name: (draft.table["cron"], draft.table["command"]) for draft in found.drafts}
    assert made == {
        "report": ("5 4 * * sun", "/usr/local/bin/report"),
        "php-clean": ("9,39 * * * *", "php-clean"),
        "backup": ("25 6 * * *", "/etc/cron.daily/backup"),
        "logrotate": ("25 6 * * *", "/etc/cron.daily/logrotate"),
        "trim": ("47 6 * * 7", "/etc/cron.weekly/trim"),
    }
    passed_over = {Path(fault.place).name for fault in found.faults}
    assert passed_over == {"old.disabled", "notes.txt", "off"}


def test_with_anacron_missed_days_are_made_up_for(system: Path) -> None:
    (system / "etc/anacrontab").write_text("1 5 cron.daily run-parts /etc/cron.daily\n")
    found = cron_places.system(Setting(None, "/", "UTC"), Names(), system)
    catch_up = {draft.name: draft.table["catch_up"] for draft in found.drafts}
    assert (catch_up["backup"], catch_up["report"]) == ("latest", "none")


def test_a_users_crontab_is_found_in_the_spool(tmp_path: Path) -> None:
    spool = tmp_path / "var/spool/cron/crontabs"
    spool.mkdir(parents=True)
    (spool / "ann").write_text("@daily x\n")
    assert cron_places.of_user("ann", is_own=False, root=tmp_path) == (b"@daily x\n", str(spool / "ann"))
