"""`jobsup list` and `jobsup show`: the jobs as the database knows them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobsup.actions.documents import definition, job_document, job_state, run_document
from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, pairs, plural, print_json, say, status, table
from jobsup.cli.times import away, local
from jobsup.cli.verb import json_option, verb

if TYPE_CHECKING:
    from jobsup.store.jobs import JobFacts
    from jobsup.store.overview import RunRow

LAST_RUNS = 5


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
    from jobsup.store import jobs

    with here.database() as database:
        now = database.now()
        found = jobs.list_jobs(database, tag=tag, include_retired=everything)
    if paused:
        found = [facts for facts in found if facts.is_paused(now)]
    if as_json:
        print_json({"jobs": [job_document(facts, now) for facts in found]})
    elif found:
        rows = [_row(facts, now) for facts in found]
        click.echo(table(("JOB", "STATE", "SCHEDULE", "NEXT RUN", "", "TAGS"), rows))
    else:
        say("no jobs")


@verb(
    "show",
    ("jobsup show backup", "its definition, its state and its last runs"),
    ("jobsup show backup --json", "for a program"),
)
@click.argument("job", type=JobName())
@json_option
def show(here: Here, job: str, as_json: bool) -> None:
    """Show everything about one job: what it runs, when, how, and how it went lately."""
    from jobsup.cli.runs import runs_table
    from jobsup.store import jobs, overview, slots

    with here.database() as database:
        now = database.now()
        facts = jobs.get_job(database, job)
        last = overview.runs(database, job=job, last=LAST_RUNS)
        starts = slots.dependents(database, facts.job_id)
    if as_json:
        document = {**job_document(facts, now), "starts": starts, "definition": definition(facts)}
        print_json({"job": document, "runs": [run_document(run) for run in last]})
    else:
        _print(facts, now, starts)
        _print_runs(last, runs_table)


def _row(facts: JobFacts, now: datetime) -> tuple[str, ...]:
    from jobsup.schedule import describe

    return (
        facts.name,
        status(job_state(facts, now)),
        describe(facts.spec.schedule),
        local(facts.next_run),
        away(facts.next_run, now) if facts.next_run else "",
        ",".join(facts.spec.tags),
    )


def _print(facts: JobFacts, now: datetime, starts: list[str]) -> None:
    from jobsup.actions.jobs import depends_words, pause_words
    from jobsup.schedule import describe

    told = [
        ("Job", facts.name),
        ("State", status(job_state(facts, now)) + (f", {clean(pause_words(facts))}" if facts.is_paused(now) else "")),
        ("Schedule", describe(facts.spec.schedule)),
        ("Next run", f"{local(facts.next_run)} ({away(facts.next_run, now)})" if facts.next_run else "-"),
        *([("Starts after", depends_words(facts.spec).removeprefix("when "))] if facts.spec.depends_on else []),
        *([("Its end starts", ", ".join(starts))] if starts else []),
    ]
    skipped = ("name", "schedule", "enabled", "kind")
    said = [
        (key, value)
        for key, value in definition(facts).items()
        if key not in skipped and (value is False or not _is_empty(value))
    ]
    said += [(key, value) for key, value in definition(facts)["schedule"].items() if value is not None]
    click.echo(pairs([*told, *((key, clean(_words(value))) for key, value in said)]))


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


def _print_runs(last: list[RunRow], runs_table: Any) -> None:
    if last:
        click.echo(f"\n{plural(len(last), 'last run')}:" if len(last) == 1 else f"\nlast {len(last)} runs:")
        click.echo(runs_table(last))
