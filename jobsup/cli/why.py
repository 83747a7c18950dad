"""`jobsup why`: the cause, in words."""

from __future__ import annotations

from datetime import datetime

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json
from jobsup.cli.times import PAST, Instant
from jobsup.cli.verb import json_option, verb


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
    from jobsup.actions.operations.schedules import WHY_JOB, WHY_RUN
    from jobsup.actions.runs import is_run_id

    is_run = is_run_id(target)
    if is_run and at is not None:
        raise click.UsageError("--at goes with a job, not with a run", ctx)
    with here.gateway() as gate:
        story = gate.ask(WHY_RUN, id=int(target)) if is_run else gate.ask(WHY_JOB, name=target, at=at)
    if as_json:
        print_json(story)
    else:
        click.echo("\n".join(clean(sentence) for sentence in story["why"]))
