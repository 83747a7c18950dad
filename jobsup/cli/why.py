"""`jobsup why`: the cause, in words."""

from __future__ import annotations

from datetime import datetime

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json
from jobsup.cli.times import PAST, Instant
from jobsup.cli.verb import json_option, verb
from jobsup.clock import rfc3339


@verb(
    "why",
    ("jobsup why backup --at 02:30", "what became of last night's tick"),
    ("jobsup why 17", "why run 17 is what it is"),
)
@click.argument("target", type=JobName(), metavar="JOB|RUN")
@click.option("--at", type=Instant(PAST), metavar="TIME", help="The tick at that time; else the job's last run.")
@json_option
@click.pass_context
def why(ctx: click.Context, here: Here, *, target: str, at: datetime | None, as_json: bool) -> None:
    """Say why a job ran, was skipped, waits, or did not run: from what is recorded, and what comes next."""
    from jobsup.actions import why as actions
    from jobsup.actions.documents import run_document
    from jobsup.actions.runs import is_run_id

    is_run = is_run_id(target)
    if is_run and at is not None:
        raise click.UsageError("--at goes with a job, not with a run", ctx)
    with here.database() as database:
        if is_run:
            story = actions.about_run(database, int(target))
        elif at is not None:
            story = actions.about_instant(database, target, at)
        else:
            story = actions.about_job(database, target)
    if not as_json:
        click.echo("\n".join(clean(sentence) for sentence in story.sentences))
        return
    print_json(
        {
            "job": story.job,
            "at": rfc3339(story.at),
            "outcome": story.outcome,
            "why": list(story.sentences),
            "runs": [run_document(run) for run in story.runs],
            "next_run": rfc3339(story.next_run),
        }
    )
