"""`jobsup list` and `jobsup show`: the jobs as the database knows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.run_shown import show_run
from jobsup.cli.text import clean, pairs, plural, print_json, say, status, table
from jobsup.cli.times import away, local, read
from jobsup.cli.verb import json_option, verb
from jobsup.clock import SystemClock


@verb(
    "list",
    ("jobsup list", "every job, its schedule and its next run"),
    ("jobsup list --tag nightly --json", "those with a tag, for a program"),
)
@click.option("--tag", metavar="TAG", help="Only jobs with this tag.")
@click.option("--paused", is_flag=True, help="Only paused jobs.")
@click.option("--all", "everything", is_flag=True, help="Also those that were removed from their file.")
@json_option
def list_(here: Here, tag: str | None, paused: bool, everything: bool, as_json: bool) -> None:
    """List the jobs by name."""
    from jobsup.actions.operations.jobs import LIST_JOBS

    with here.gateway() as gate:
        found = gate.ask(LIST_JOBS, tag=tag, paused=paused or None, all=everything or None)["jobs"]
    now = SystemClock().now()
    if as_json:
        print_json({"jobs": found})
    elif found:
        rows = [_row(job, now) for job in found]
        click.echo(table(("JOB", "STATE", "SCHEDULE", "NEXT RUN", "", "TAGS"), rows))
    else:
        say("no jobs")


@verb(
    "show",
    ("jobsup show backup", "its definition, its state and its last runs"),
    ("jobsup show 17", "run 17, what it cost and returned"),
)
@click.argument("job", type=JobName(), metavar="JOB|RUN")
@json_option
def show(here: Here, job: str, as_json: bool) -> None:
    """Show everything about one job: what it runs, when, how, and how it went lately; or about one run."""
    from jobsup.actions.runs import is_run_id

    if is_run_id(job):
        show_run(here, int(job), as_json=as_json)
    else:
        _show_job(here, job, as_json=as_json)


def _show_job(here: Here, job: str, *, as_json: bool) -> None:
    from jobsup.actions.operations.jobs import SHOW_JOB
    from jobsup.cli.runs import runs_table

    with here.gateway() as gate:
        found = gate.ask(SHOW_JOB, name=job)
    if as_json:
        print_json(found)
        return
    _print(found["job"])
    last = found["runs"]
    if last:
        click.echo(f"\n{plural(len(last), 'last run')}:" if len(last) == 1 else f"\nlast {len(last)} runs:")
        click.echo(runs_table(last))


def _row(job: dict[str, Any], now: datetime) -> tuple[str, ...]:
    next_run = read(job["next_run"])
    return (
        clean(job["name"]),
        status(job["state"]),
        clean(job["schedule"]),
        local(next_run),
        away(next_run, now) if next_run else "",
        clean(",".join(job["tags"])),
    )


def _print(job: dict[str, Any]) -> None:
    definition = job["definition"]
    next_run = read(job["next_run"])
    is_paused = job["state"] == "paused"
    told = [
        ("Job", clean(job["name"])),
        ("State", status(job["state"]) + (f", {clean(job['paused'])}" if is_paused else "")),
        ("Schedule", clean(job["schedule"])),
        ("Next run", f"{local(next_run)} ({away(next_run, SystemClock().now())})" if next_run else "-"),
        *([("Starts after", clean(job["depends"]).removeprefix("when "))] if job["depends"] else []),
        *([("Its end starts", clean(", ".join(job["starts"])))] if job["starts"] else []),
    ]
    skipped = ("name", "schedule", "enabled", "kind")
    said = [
        (key, value)
        for key, value in definition.items()
        if key not in skipped and (value is False or not _is_empty(value))
    ]
    said += [(key, value) for key, value in definition["schedule"].items() if value is not None]
    click.echo(pairs([*told, *((clean(key), clean(_words(value))) for key, value in said)]))


def _words(value: Any) -> str:
    from jobsup.config.report import shown

    if isinstance(value, dict):
        return ", ".join(f"{key} = {shown(each)}" for key, each in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(_words({key: said for key, said in each.items() if not _is_empty(said)}) for each in value)
    return value if isinstance(value, str) else shown(value)


def _is_empty(value: Any) -> bool:
    """Say whether a key says nothing; 0 says something."""
    return value is None or value is False or value in ([], {}, "")
