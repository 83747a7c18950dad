"""A definition written as TOML is read back as the same definition; a crontab says what it can."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.config.load import load
from jobsup.importing import tables, toml_text
from jobsup.importing.crontab import split_percent
from jobsup.importing.crontab_lines import crontab, lines
from jobsup.model import CalendarSpec, CatchUp, Dst, JobKind, JobSpec, On, Overlap, ParamSpec, ScheduleSpec
from jobsup.schedule import upcoming
from tests.support.cronloop import daemon
from tests.support.store import job_spec

UTC_ZONE = "UTC"
FULL = job_spec(
    "full",
    command=("/bin/sh", "-c", "echo \"a\"\t'b' \\ é\r\nc"),
    schedule=ScheduleSpec(cron="0 3 * * mon", timezone="Europe/Berlin", dst=Dst.BOTH),
    description="über\nall",
    enabled=False,
    tags=("a", "b"),
    queue="slow",
    priority=-5,
    timeout=None,
    kill_grace=timedelta(seconds=1.5),
    max_retries=0,
    retry_backoff=timedelta(0),
    retry_backoff_max=timedelta(hours=2),
    retry_on_lost=False,
    overlap=Overlap.QUEUE,
    catch_up=CatchUp.ALL,
    catch_up_limit=7,
    misfire_grace=timedelta(minutes=5),
    params=(ParamSpec("size", "integer", 5, False, (1, 5), "how much"), ParamSpec("who", "string", "x")),
    env={"A": "1 = '\"", "B": ""},
    cwd="/tmp",
    success_exit_codes=(0, 3),
    output_limit=4096,
    stderr="merge",
)
AT = datetime(2030, 1, 31, 3, 0, tzinfo=UTC)
JOBS = [
    FULL,
    job_spec("plain"),
    job_spec("line", command="a\nb\n'''\"\"\" \\\n"),
    job_spec("python", kind=JobKind.PYTHON, command=None, python="os.path:join", kwargs={"a": [1, {"b": 1.5}]}),
    job_spec("every", schedule=ScheduleSpec(every=timedelta(seconds=90), anchor=AT, timezone=UTC_ZONE)),
    job_spec("once", schedule=ScheduleSpec(at=AT, timezone=UTC_ZONE)),
    job_spec("timer", schedule=ScheduleSpec(on_calendar="Mon 02:30", timezone="Asia/Tokyo")),
    job_spec(
        "months",
        schedule=ScheduleSpec(
            calendar=CalendarSpec(months=3, at="07:30:00", start_date="2027-01-31"), timezone=UTC_ZONE
        ),
    ),
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
@pytest.mark.parametrize("said", ["", '[defaults]\ntimezone = "UTC"\nmax_retries = 9\ncwd = "/"\nstderr = "merge"\n'])
def test_a_table_gives_the_definition_back_under_the_defaults_it_was_made_for(
    tmp_path: Path, job: JobSpec, said: str
) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(said)
    defaults = load(file, {}).defaults
    # A manual job has the zone of its defaults: nothing shows it.
    zone = job.schedule if not job.schedule.is_manual else replace(job.schedule, timezone=defaults.schedule.timezone)
    file.write_text(said + toml_text.table(tables.table_of(job, [defaults])), newline="")
    assert load(file, {}).jobs == (replace(job, schedule=zone),)


def test_a_plain_job_is_written_in_two_lines() -> None:
    assert toml_text.table(tables.table_of(job_spec("plain"))) == '[[job]]\nname = "plain"\ncommand = "true"\n'


def test_every_field_of_a_definition_is_written() -> None:
    known = {"name", "kind", "command", "script", "args", "python", "kwargs", "schedule", "env", "secrets", "params"}
    assert {field.name for field in fields(JobSpec)} == known | set(tables.POLICIES)


def spec(**schedule: Any) -> ScheduleSpec:
    return ScheduleSpec(**{"timezone": UTC_ZONE, **schedule})


@pytest.mark.parametrize(
    "schedule",
    [
        spec(cron="5 4 * * sun"),
        spec(cron="0 5 4 * * sun"),
        spec(cron="@daily"),
        spec(every=timedelta(minutes=15)),
        spec(every=timedelta(hours=6)),
        spec(every=timedelta(days=1), anchor=datetime(2020, 1, 1, tzinfo=UTC)),
    ],
    ids=str,
)
def test_a_line_of_a_crontab_fires_when_the_job_does(schedule: ScheduleSpec) -> None:
    line = lines(job_spec("x", schedule=schedule, command="run"))[-1]
    text = line.removesuffix(" run")
    start, end = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 9, tzinfo=UTC)
    wanted = [tick for tick in upcoming(schedule, start - timedelta(seconds=1), 1000) if tick < end]
    assert wanted
    assert list(daemon(text, UTC_ZONE, start, end)) == wanted


@pytest.mark.parametrize(
    "schedule",
    [
        spec(),
        spec(every=timedelta(minutes=7)),
        spec(every=timedelta(hours=6), timezone="Europe/Berlin"),
        spec(every=timedelta(minutes=5), anchor=datetime(2020, 1, 1, 0, 1, tzinfo=UTC)),
        spec(cron="0 3 L * *"),
        spec(cron="0 3 * * 5#3"),
        spec(cron="H 3 * * *"),
        spec(cron="30 0 3 * * *"),
        spec(at=AT),
        spec(on_calendar="Mon 02:30"),
    ],
    ids=str,
)
def test_what_a_crontab_cannot_say_is_a_comment(schedule: ScheduleSpec) -> None:
    told = lines(job_spec("x", schedule=schedule))
    assert all(line.startswith("#") for line in told)
    assert "no line" in told[-1]


def test_folder_variables_and_per_cent_signs_survive_in_the_line() -> None:
    job = job_spec("x", schedule=spec(cron="0 3 * * *"), command="date +%F", cwd="/a b", env={"A": "1 2"})
    assert lines(job)[-1] == "0 3 * * * export A='1 2'; cd '/a b' || exit; date +\\%F"


def test_a_standard_input_stands_behind_per_cent_signs_and_is_read_back() -> None:
    job = job_spec("x", schedule=spec(cron="0 3 * * *"), command="mail -s 5%", stdin="one\n2 %\n")
    assert lines(job)[-1] == "0 3 * * * mail -s 5\\%%one%2 \\%"
    assert split_percent("mail -s 5\\%%one%2 \\%") == ("mail -s 5%", "one\n2 %")


def test_what_cron_does_not_hold_a_job_to_is_told() -> None:
    job = job_spec("x", memory_max=1 << 20, nice=5, secrets={"TOKEN": {"file": "/t"}}, on=On.EACH, requires=("gpu",))
    told = "\n".join(lines(job))
    for words in ("nice, memory_max: cron holds it", "secrets: TOKEN", "runs on each host", "requires: gpu"):
        assert words in told


def test_zones_come_after_a_cron_tz_line_and_those_of_the_machine_first() -> None:
    text = crontab(
        [
            job_spec("a", schedule=spec(cron="0 1 * * *", timezone="Asia/Tokyo"), command="tokyo"),
            job_spec("b", schedule=spec(cron="0 2 * * *", timezone="Etc/UTC"), command="here"),
            job_spec("c", schedule=spec(cron="0 3 * * *"), command="off", enabled=False),
        ],
        "UTC",
    )
    active = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert active == ["0 2 * * * here", "CRON_TZ=Asia/Tokyo", "0 1 * * * tokyo"]
    assert "#0 3 * * * off" in text
