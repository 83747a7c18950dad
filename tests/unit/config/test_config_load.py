"""What a right configuration becomes: defaults, paths, zones, parameters, includes, environment, origins."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.config import schema
from jobsup.config.keys import DEFAULT_KEYS, KEYS, SETTING_KEYS
from jobsup.config.load import load
from jobsup.config.settings import Config
from jobsup.errors import ConfigError
from jobsup.model import CalendarSpec, CatchUp, Dst, JobKind, JobSpec, Overlap, ParamSpec, ScheduleSpec
from tests.support.config_folder import Folder


def one_job(folder: Folder, lines: str, before: str = "") -> JobSpec:
    text = f'{before}\n[[job]]\nname = "a"\n{lines}\n'
    (job,) = folder.load(text if "command" in lines or "python" in lines else f'{text}command = "true"\n').jobs
    return job


def test_an_empty_file_gives_every_default_and_no_warning(folder: Folder) -> None:
    config = folder.load("", XDG_RUNTIME_DIR="/run/user/1")
    assert config.database.url == f"sqlite:///{folder.path}/jobsup.db"
    assert (config.jobs, config.warnings, config.set) == ((), (), "default")
    assert config.scheduler == type(config.scheduler)()
    assert config.worker == type(config.worker)()
    assert config.logging == type(config.logging)()
    assert config.files == (config.path,) == (f"{folder.path}/jobsup.toml",)
    assert set(config.origins.values()) == {"default"}


def test_every_key_of_the_schema_can_be_set_by_environment_and_every_setting_is_in_the_schema() -> None:
    for section, table in schema.SECTIONS.items():
        known = {key.name for key in KEYS.values() if key.section == section}
        assert known == {field.alias or name for name, field in table.model_fields.items()} - {
            "env",
            "params",
            "secrets",
        }
    sections = {spec.name: spec.type for spec in fields(Config) if "Settings" in str(spec.type)}
    defaults = Config(path="")
    for section in sections:
        names = {spec.name for spec in fields(getattr(defaults, section))}
        assert names == {key.name for key in SETTING_KEYS if key.section == section}
    job_fields = {spec.name for spec in fields(JobSpec)} | {spec.name for spec in fields(ScheduleSpec)}
    assert {key.name for key in DEFAULT_KEYS} <= job_fields


def test_a_config_travels_between_processes(folder: Folder) -> None:
    config = folder.load('[[job]]\nname = "a"\ncommand = ["x"]\nevery = "1m"')
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('command = "echo hi"', {"kind": JobKind.COMMAND, "command": "echo hi"}),
        ('command = ["echo", ""]', {"command": ("echo", "")}),
        (
            'python = "a.b:C.d"\nkwargs = { x = [1, { y = 2.5 }] }',
            {"kind": JobKind.PYTHON, "kwargs": {"x": [1, {"y": 2.5}]}},
        ),
        ('timeout = "none"', {"timeout": None}),
        ('timeout = "1h30m"', {"timeout": timedelta(minutes=90)}),
        ('misfire_grace = "5m"', {"misfire_grace": timedelta(minutes=5)}),
        ('overlap = "queue"\ncatch_up = "all"', {"overlap": Overlap.QUEUE, "catch_up": CatchUp.ALL}),
        ("success_exit_codes = [0, 3, 3]", {"success_exit_codes": (0, 3)}),
        ('output_limit = "64KiB"', {"output_limit": 65536}),
        ('retry_backoff = "2h"', {"retry_backoff_max": timedelta(hours=2)}),
        ("params = { n = 5 }", {"params": (ParamSpec("n", "integer", 5),)}),
        (
            "params = { n = 0.5, b = true }",
            {"params": (ParamSpec("n", "number", 0.5), ParamSpec("b", "boolean", True))},
        ),
        (
            "params.n = { choices = [1, 2], required = true, description = 'd' }",
            {"params": (ParamSpec("n", "integer", None, True, (1, 2), "d"),)},
        ),
        ("params.n = {}", {"params": (ParamSpec("n", "string"),)}),
        ('env = { A = "1" }', {"env": {"A": "1"}}),
    ],
)
def test_a_key_of_a_job_becomes_its_value(folder: Folder, lines: str, expected: dict[str, Any]) -> None:
    job = one_job(folder, lines)
    assert {name: getattr(job, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('cron = "0 3 * * *"\ntimezone = "Europe/Berlin"', {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}),
        (
            'every = "90s"\nanchor = 2027-01-01',
            {"every": timedelta(seconds=90), "anchor": datetime(2027, 1, 1, tzinfo=UTC)},
        ),
        ('at = "2027-01-31T03:00:00"\ntimezone = "Asia/Tokyo"', {"at": datetime(2027, 1, 30, 18, tzinfo=UTC)}),
        ('at = 2027-01-31T03:00:00+02:00\ntimezone = "Asia/Tokyo"', {"at": datetime(2027, 1, 31, 1, tzinfo=UTC)}),
        ('on_calendar = "Mon..Fri 07:30"\ndst = "skip"', {"on_calendar": "Mon..Fri 07:30", "dst": Dst.SKIP}),
        (
            "calendar = { months = 1, at = 06:30:00, start_date = 2027-01-31 }",
            {"calendar": CalendarSpec(months=1, at="06:30:00", start_date="2027-01-31")},
        ),
        ("priority = 1", {"is_manual": True}),
    ],
)
def test_a_schedule_is_read_in_the_zone_of_its_job(folder: Folder, lines: str, expected: dict[str, Any]) -> None:
    spec = one_job(folder, lines, '[defaults]\ntimezone = "UTC"').schedule
    assert {name: getattr(spec, name) for name in expected} == expected


def test_a_job_without_a_zone_gets_the_machines_own(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: "Asia/Tokyo")
    assert one_job(folder, "").schedule.timezone == "Asia/Tokyo"
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: None)
    config = folder.load("")
    assert config.defaults.schedule.timezone == "UTC"
    assert "time zone has no known name" in str(config.warnings[0])


def test_a_job_says_more_than_defaults_and_defaults_more_than_settings(folder: Folder) -> None:
    before = '[worker]\njob_timeout = "1m"\n[scheduler]\nmax_retry_attempts = 7\n'
    assert one_job(folder, "", before).timeout == timedelta(minutes=1)
    assert one_job(folder, "", before).max_retries == 7
    before += '[defaults]\ntimeout = "2m"\ntags = ["x"]\nenv = { A = "1", B = "2" }\nparams = { p = 1, q = 2 }\n'
    job = one_job(folder, "env = { B = '3' }\nparams = { q = 'x' }\nmax_retries = 0", before)
    assert (job.timeout, job.max_retries, job.tags) == (timedelta(minutes=2), 0, ("x",))
    assert job.env == {"A": "1", "B": "3"}
    assert [(param.name, param.default) for param in job.params] == [("p", 1), ("q", "x")]


def test_relative_paths_start_from_the_file_they_stand_in(folder: Folder) -> None:
    folder.write("#!/bin/sh\n", "jobs.d/run.me").chmod(0o755)
    folder.write("", "jobs.d/env")
    folder.write('[[job]]\nname = "b"\nscript = "run.me"\nenv_file = "env"\ncwd = ".."\n', "jobs.d/b.toml")
    folder.write('[[job]]\nname = "a"\nscript = "jobs.d/run.me"\n', "jobs.d/../jobs.d2/a.toml")
    folder.write("", "jobs.d2/jobs.d/run.me").chmod(0o755)
    config = folder.load('include = ["jobs.d*/*.toml"]\n[defaults]\ncwd = "jobs.d"\n')
    b, a = config.jobs
    assert (b.script, b.env_file, b.cwd) == (
        f"{folder.path}/jobs.d/run.me",
        f"{folder.path}/jobs.d/env",
        f"{folder.path}",
    )
    assert (a.script, a.cwd) == (f"{folder.path}/jobs.d2/jobs.d/run.me", f"{folder.path}/jobs.d")
    assert config.files[1:] == (f"{folder.path}/jobs.d/b.toml", f"{folder.path}/jobs.d2/a.toml")


def test_included_files_are_read_in_order_and_once_and_hold_jobs_only(folder: Folder) -> None:
    for name in ("z", "a", "m"):
        folder.write(f'[[job]]\nname = "{name}"\ncommand = "true"\n', f"{name}.toml")
    config = folder.load('include = ["*.toml", "a.toml", "gone/*.toml"]\n')
    assert [job.name for job in config.jobs] == ["a", "m", "z"]
    assert [str(warning) for warning in config.warnings] == ['jobsup.toml:1: include[2]: no file matches "gone/*.toml"']
    folder.write("[defaults]\n", "bad.toml")
    assert folder.problems('include = ["bad.toml"]') == [
        "bad.toml:1: defaults: an included file holds [[job]] tables only"
    ]


WARNINGS = [
    (
        '[scheduler]\ndispatch_lock_duration = "30s"',
        "[scheduler] dispatch_lock_duration: is 30s: when a scheduler dies",
    ),
    ("[worker]\ncount = 0", "[worker] count: is 0: no job runs on this host"),
    (
        '[worker]\nheartbeat_interval = "1m"',
        "[worker] heartbeat_interval: worker_offline_threshold 3m is shorter than 4",
    ),
    ('[[job]]\nname = "a"\ncommand = "x"\nat = "2026-01-01T00:00:00Z"', '[[job]] 1 "a" at: lies in the past'),
    (
        '[[job]]\nname = "a"\ncommand = "x"\nat = "2027-03-28T02:30:00"\ntimezone = "Europe/Berlin"',
        '[[job]] 1 "a" at: does not exist in Europe/Berlin',
    ),
    (
        '[[job]]\nname = "a"\ncommand = "x"\nat = "2026-10-25T02:30:00"\ntimezone = "Europe/Berlin"',
        '[[job]] 1 "a" at: comes twice in Europe/Berlin',
    ),
    ('[[job]]\nname = "a"\ncommand = "x"\ncron = "*/7 * * * *"', '[[job]] 1 "a" cron: '),
]


@pytest.mark.parametrize(("text", "words"), WARNINGS)
def test_what_is_odd_but_possible_is_a_warning(folder: Folder, text: str, words: str) -> None:
    (line,) = folder.warnings(text)
    assert words in line
    assert line.startswith("jobsup.toml:")


def test_a_long_poll_interval_alone_raises_its_own_maximum(folder: Folder) -> None:
    worker = folder.load("", WORKER_POLL_INTERVAL="3600").worker
    assert worker.poll_interval == worker.max_poll_interval == timedelta(hours=1)


ENVIRONMENT = [
    ("SCHEDULER_POLL_INTERVAL", "3600", "scheduler", "poll_interval", timedelta(hours=1)),
    ("DISPATCH_LOCK_DURATION", "5", "scheduler", "dispatch_lock_duration", timedelta(seconds=5)),
    ("JOB_TIMEOUT_THRESHOLD", "2m", "scheduler", "job_timeout_threshold", timedelta(minutes=2)),
    ("MAX_RETRY_ATTEMPTS", "1", "scheduler", "max_retry_attempts", 1),
    ("CLEANUP_RETENTION_DAYS", "7", "scheduler", "cleanup_retention_days", 7),
    ("WORKER_OFFLINE_THRESHOLD", "60", "scheduler", "worker_offline_threshold", timedelta(minutes=1)),
    ("WORKER_POLL_INTERVAL", "0.5", "worker", "poll_interval", timedelta(milliseconds=500)),
    ("WORKER_MAX_POLL_INTERVAL", "90", "worker", "max_poll_interval", timedelta(seconds=90)),
    ("WORKER_HEARTBEAT_INTERVAL", "1", "worker", "heartbeat_interval", timedelta(seconds=1)),
    ("WORKER_JOB_TIMEOUT", "none", "worker", "job_timeout", None),
    ("JOBSUP_WORKER_QUEUES", "a, b", "worker", "queues", ("a", "b")),
    ("JOBSUP_DATABASE_MIGRATE", "off", "database", "migrate", False),
    ("JOBSUP_DATABASE_FREE_SPACE_MIN", "1MiB", "database", "free_space_min", 1 << 20),
    ("JOBSUP_LOGGING_LEVEL", "debug", "logging", "level", "DEBUG"),
    ("JOBSUP_DEFAULTS_MAX_RETRIES", "9", "defaults", "max_retries", 9),
    ("JOBSUP_DEFAULTS_SUCCESS_EXIT_CODES", "0,75", "defaults", "success_exit_codes", (0, 75)),
]


@pytest.mark.parametrize(("variable", "text", "section", "key", "value"), ENVIRONMENT)
def test_a_variable_overrides_the_file(
    folder: Folder, variable: str, text: str, section: str, key: str, value: object
) -> None:
    config = folder.load('[worker]\nmax_poll_interval = "2m"\nqueues = ["z"]\n', **{variable: text})
    assert getattr(getattr(config, section), key) == value
    assert config.origins[f"{section}.{key}"] == f"environment {variable}"
    assert config.origins["worker.max_poll_interval"] in ("jobsup.toml:2", "environment WORKER_MAX_POLL_INTERVAL")


def test_a_database_from_the_environment_starts_from_the_working_folder(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = folder.write('[database]\nurl = "sqlite:///a.db?timeout=5"')
    monkeypatch.chdir(tmp_path)
    assert load(file, {}).database.url == f"sqlite:///{folder.path}/a.db?timeout=5"
    assert load(file, {"REFLEX_DB_URL": "sqlite:///b.db"}).database.url == f"sqlite:///{tmp_path}/b.db"
    both = load(file, {"REFLEX_DB_URL": "sqlite:///b.db", "JOBSUP_DATABASE_URL": "postgresql://u:s3cret@h/d"})
    assert both.database.url == "postgresql://u:s3cret@h/d"
    assert [str(each) for each in both.warnings] == [
        "environment: REFLEX_DB_URL: disagrees with JOBSUP_DATABASE_URL, which wins"
    ]


def test_a_bad_variable_is_named_even_beside_a_bad_file(folder: Folder) -> None:
    lines = folder.problems(
        "[worker]\ncount = -1", JOBSUP_WORKER_COUNT="many", MAX_RETRY_ATTEMPTS="-1", JOBSUP_DATABASE_WAIT="soon"
    )
    assert lines == [
        "jobsup.toml:2: [worker] count: must be between 0 and 1024, not -1",
        'environment: JOBSUP_DATABASE_WAIT: "soon" is not a duration: write it like "30s", "1h30m" or "2d"',
        "environment: MAX_RETRY_ATTEMPTS: must be between 0 and 1000, not -1",
        'environment: JOBSUP_WORKER_COUNT: must be a whole number, not "many"',
    ]


def test_an_unknown_variable_is_warned_about_and_reserved_ones_are_not(folder: Folder) -> None:
    reserved = [
        "CONFIG",
        "URL",
        "TOKEN",
        "FAILPOINT",
        "PARAM_X",
        "RUN_ID",
        "ATTEMPT",
        "JOB",
        "INSTANCE",
        "SCHEDULED_FOR",
    ]
    environ = {f"JOBSUP_{name}": "x" for name in reserved}
    assert folder.warnings("", **environ, JOBSUP_WROKER_COUNT="1", PATH="/bin", JOBSUP_WORKER_COUNT="") == [
        'environment: JOBSUP_WROKER_COUNT: unknown variable, passed over; did you mean "JOBSUP_WORKER_COUNT"?'
    ]


def test_a_socket_path_too_long_for_the_kernel_is_refused_at_the_key_that_sets_it(folder: Folder) -> None:
    (line,) = folder.problems(f'[supervisor]\nruntime_dir = "/{"x" * 100}"')
    assert line.startswith("jobsup.toml:2: [supervisor] runtime_dir: the control socket /xxx")
    assert line.endswith(
        "would have 114 bytes, and the kernel takes 107: set [supervisor] runtime_dir to a shorter folder"
    )
    (line,) = folder.problems("", JOBSUP_SUPERVISOR_RUNTIME_DIR="x" * 200)
    assert line.startswith("environment: JOBSUP_SUPERVISOR_RUNTIME_DIR: the control socket")


def test_ten_thousand_jobs_load_in_a_few_seconds(folder: Folder) -> None:
    text = "".join(f'[[job]]\nname = "j{n}"\ncommand = "true"\ncron = "{n % 60} 3 * * *"\n' for n in range(10_000))
    began = os.times().user
    assert len(folder.load(text).jobs) == 10_000
    assert os.times().user - began < 8


@pytest.mark.parametrize(
    "module", ["settings", "search", "places", "durations", "quick", "document", "source", "diff", "show", "starter"]
)
def test_what_fast_commands_need_does_not_load_pydantic(module: str) -> None:
    program = f"import sys, jobsup.config.{module}; sys.exit('pydantic' in sys.modules or 'sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


def test_the_schema_is_loaded_without_a_look_at_every_installed_package() -> None:
    program = (
        "import sys, importlib.metadata; importlib.metadata.distributions = lambda: sys.exit(1);"
        "import jobsup.config.schema; sys.exit('pydantic' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


def test_an_error_with_many_problems_survives_a_process_border(folder: Folder) -> None:
    folder.write("[worker]\ncount = -1\nx = 1\n")
    with pytest.raises(ConfigError) as caught:
        load("jobsup.toml", {})
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.problems == caught.value.problems
    assert len(copy.problems) == 2
