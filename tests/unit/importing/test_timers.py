"""systemd's timers become jobs: schedules, command lines, environment, drop-ins."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.config.load import load
from jobsup.importing import exec_lines, timers, toml_text, unit_files
from jobsup.importing.draft import Draft, Harvest
from jobsup.importing.naming import Names
from jobsup.model import JobSpec


class Units:
    """A folder with units in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def pair(self, timer: str, service: str, name: str = "work") -> Harvest:
        self.write(f"{name}.timer", f"[Timer]\n{timer}\n")
        self.write(f"{name}.service", f"[Service]\n{service}\n")
        return self.harvest()

    def harvest(self) -> Harvest:
        return timers.harvest([self.folder], Names(), "Europe/Berlin")

    def only(self, timer: str, service: str) -> tuple[JobSpec, Draft]:
        """Return the one job as the loader gives it back, and its draft."""
        found = self.pair(timer, service)
        assert not found.faults
        (job,) = self.loaded(found)
        return job, found.drafts[0]

    def loaded(self, found: Harvest) -> tuple[JobSpec, ...]:
        file = self.folder / "jobs.toml"
        file.write_text(toml_text.write(found.drafts, found.faults))
        return load(file, {}).jobs


@pytest.fixture
def units(tmp_path: Path) -> Units:
    return Units(tmp_path)


def test_a_calendar_timer_keeps_its_expression_its_zone_and_its_missed_runs(units: Units) -> None:
    job, draft = units.only(
        "OnCalendar=Mon..Fri 02:30\nPersistent=true\nRandomizedDelaySec=1h\nAccuracySec=1us",
        "Type=oneshot\nExecStart=/bin/echo hello 'big world'\nTimeoutStartSec=1h 30min\nNice=5\nWorkingDirectory=/tmp",
    )
    assert (job.name, job.schedule.on_calendar, job.schedule.timezone) == (
        "work",
        "Mon..Fri 02:30",
        "Europe/Berlin",
    )
    assert (job.catch_up, job.max_retries, job.timeout) == ("latest", 0, timedelta(minutes=90))
    assert (job.command, job.cwd, job.enabled) == (("/bin/echo", "hello", "big world"), "/tmp", True)
    told = "\n".join(draft.notes)
    assert "RandomizedDelaySec=1h" in told
    assert "not taken over from work.service: Nice" in told


def test_a_monotonic_timer_becomes_an_interval_and_one_without_a_second_run_a_reboot(units: Units) -> None:
    job, draft = units.only("OnBootSec=15min\nOnUnitActiveSec=1d", "ExecStart=/bin/true")
    assert (job.schedule.every, job.catch_up, job.timeout) == (timedelta(days=1), "none", None)
    assert "OnBootSec=15min is not kept" in "\n".join(draft.notes)
    job, draft = units.only("OnBootSec=15min", "ExecStart=/bin/true")
    assert job.schedule.cron == "@reboot"
    assert "each start of jobsup" in "\n".join(draft.notes)


def test_several_schedules_are_several_jobs(units: Units) -> None:
    found = units.pair("OnCalendar=daily\nOnCalendar=Sun 12:00", "ExecStart=/bin/true")
    assert [(job.name, job.schedule.on_calendar) for job in units.loaded(found)] == [
        ("work", "daily"),
        ("work-2", "Sun 12:00"),
    ]


def test_drop_ins_and_empty_values_replace_what_stands_above(units: Units) -> None:
    units.write("work.timer.d/10-when.conf", "[Timer]\nOnCalendar=\nOnCalendar=06:00\n")
    units.write("work.service.d/env.conf", '[Service]\nEnvironment="A=1 2" B=%n\nUser=\n')
    found = units.pair("OnCalendar=daily", "User=nobody-at-all\nEnvironment=OLD=1\nExecStart=/bin/true")
    (job,) = units.loaded(found)
    assert (job.schedule.on_calendar, job.user) == ("06:00", None)
    assert job.env == {"OLD": "1", "A": "1 2", "B": "work.service"}


def test_the_timers_unit_and_the_services_description_count(units: Units) -> None:
    units.write("other.service", "[Unit]\nDescription=Other work\n[Service]\nExecStart=/bin/true\n")
    units.write("work.timer", "[Timer]\nOnCalendar=daily\nUnit=other.service\n")
    (job,) = units.loaded(units.harvest())
    assert (job.name, job.description) == ("work", "Other work")


def test_several_commands_are_one_shell_line_that_stops_where_systemd_would(units: Units) -> None:
    job, _ = units.only(
        "OnCalendar=daily",
        "Type=oneshot\nEnvironment=WHO=me\nExecStartPre=-/bin/false\nExecStart=/bin/echo ${WHO} $WHO 'a b' $$x\n"
        "ExecStart=/bin/false\nExecStart=/bin/echo never",
    )
    assert isinstance(job.command, str)
    env = {"WHO": "me you"}
    done = subprocess.run(["/bin/sh", "-c", job.command], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout) == (1, "me you me you a b $x\n")


@pytest.mark.parametrize(
    ("service", "doubt"),
    [
        ("ExecStart=/bin/true\nUser=nobody-by-that-name", "whom this machine does not know"),
        ("ExecStart=/bin/true\nEnvironmentFile=/nowhere/env", "does not exist here"),
        ("ExecStart=/bin/true %m", "specifier %m"),
        ("ExecStart=+/bin/true", "more privileges"),
        ("ExecStart=/bin/true\nDynamicUser=yes", "DynamicUser"),
        ("ExecStart=/bin/true\nWorkingDirectory=/nowhere", "/nowhere does not exist"),
    ],
)
def test_what_would_run_half_understood_is_switched_off(units: Units, service: str, doubt: str) -> None:
    job, draft = units.only("OnCalendar=daily", service)
    assert not job.enabled
    assert doubt in draft.notes[-1]
    assert "switched off" in draft.notes[-1]


def test_an_environment_file_is_kept_and_its_mode_is_spoken_of(units: Units) -> None:
    units.write("env", "A=1\n")
    job, draft = units.only("OnCalendar=daily", f"ExecStart=/bin/true\nEnvironmentFile=-{units.folder}/env")
    assert job.env_file == f"{units.folder}/env"
    assert "chmod 600" in "\n".join(draft.notes)


def test_a_timer_that_nothing_enables_is_switched_off_where_others_are_enabled(units: Units) -> None:
    units.pair("OnCalendar=daily", "ExecStart=/bin/true", "used")
    units.pair("OnCalendar=daily", "ExecStart=/bin/true", "unused")
    wants = units.folder / "timers.target.wants"
    wants.mkdir()
    (wants / "used.timer").symlink_to(units.folder / "used.timer")
    assert {job.name: job.enabled for job in units.loaded(units.harvest())} == {"used": True, "unused": False}


def test_an_enabled_instance_of_a_template_is_a_job(units: Units) -> None:
    units.pair("OnCalendar=daily", "ExecStart=/bin/echo %i %p", "dump@")
    wants = units.folder / "timers.target.wants"
    wants.mkdir()
    (wants / "dump@db.timer").symlink_to(units.folder / "dump@.timer")
    (job,) = units.loaded(units.harvest())
    assert (job.name, job.command) == ("dump-db", ("/bin/echo", "db", "dump"))


def test_faults_name_their_unit_and_stop_nothing_else(units: Units) -> None:
    units.pair("OnCalendar=daily", "ExecStart=/bin/true", "good")
    units.pair("OnCalendar=yesterday-ish", "ExecStart=/bin/true", "when")
    units.pair("OnCalendar=daily", "ExecStart=/bin/echo 'open", "quote")
    units.pair("OnCalendar=daily", "Type=oneshot", "nothing")
    units.pair("Persistent=yes", "ExecStart=/bin/true", "never")
    units.write("lonely.timer", "[Timer]\nOnCalendar=daily\n")
    units.write("masked.timer", "")
    found = units.harvest()
    assert [draft.name for draft in found.drafts] == ["good"]
    told = {Path(fault.place).name: fault.message for fault in found.faults}
    assert set(told) == {"when.timer", "quote.timer", "nothing.timer", "never.timer", "lonely.timer", "masked.timer"}
    assert "left open" in told["quote.timer"]
    assert "lonely.service is not there" in told["lonely.timer"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (r"/bin/a 'b c' \"d\" e\ f", ["/bin/a", "b c", '"d"', r"e\ f"]),
        (r'/bin/a "x\x41\n" \101', ["/bin/a", "xA\n", "A"]),
        ("@/bin/a name b", ["/bin/a", "b"]),
        ("/bin/a ''", ["/bin/a", ""]),
        (r"/bin/a \;", ["/bin/a", ";"]),
    ],
)
def test_words_are_parted_and_unescaped_as_systemd_does(value: str, words: list[str]) -> None:
    assert [command.argv() for command in exec_lines.exec_lines(value)] == [words]


def test_a_lone_semicolon_parts_commands() -> None:
    assert [each.argv() for each in exec_lines.exec_lines("/bin/a b ; -/bin/c")] == [["/bin/a", "b"], ["/bin/c"]]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1h 30min", 5400), ("2d", 172800), ("500ms", 0.5), ("1.5s", 1.5)]
)
def test_time_spans_are_systemds(text: str, seconds: float) -> None:
    assert unit_files.span(text) == timedelta(seconds=seconds)


def test_what_is_no_time_span_is_refused_and_infinity_is_none() -> None:
    assert unit_files.span("infinity") is None
    for text in ("", "x", "5 parsecs", "-1s"):
        with pytest.raises(ValueError, match="time span"):
            unit_files.span(text)


def test_a_backslash_joins_lines_and_comments_between_them_do_not_count(units: Units) -> None:
    job, _ = units.only("OnCalendar=daily", "ExecStart=/bin/echo a \\\n# no\n  b \\\n  c")
    assert job.command == ("/bin/echo", "a", "b", "c")
