"""`jobsup backfill`: a job's runs for a time gone by."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, plural, print_json, say
from jobsup.cli.times import PAST, Instant, local
from jobsup.cli.verb import json_option, verb
from jobsup.clock import rfc3339

if TYPE_CHECKING:
    from jobsup.actions.backfill import Range

PARALLEL_MAX = 256
LIMIT_DEFAULT = 1000
LIMIT_MAX = 100_000
SHOWN_MAX = 20
"""Ticks a dry run lists from either end."""


@verb(
    "backfill",
    ("jobsup backfill report --from 2026-11-01 --to 2026-11-08 --dry-run", "show which ticks have not run"),
    ("jobsup backfill report --from now-3d --max-parallel 2 --yes", "run them, two at a time"),
)
@click.argument("job", type=JobName())
@click.option("--from", "start", type=Instant(PAST), metavar="TIME", help="The first tick at this time, or after.")
@click.option("--to", "end", type=Instant(PAST), metavar="TIME", help="The last one; else now.")
@click.option(
    "--max-parallel", type=click.IntRange(1, PARALLEL_MAX), default=1, show_default=True, help="Runs at a time."
)
@click.option(
    "--limit", type=click.IntRange(1, LIMIT_MAX), default=LIMIT_DEFAULT, show_default=True, help="Runs made at most."
)
@click.option("--dry-run", is_flag=True, help="Only say what would run.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--cancel", is_flag=True, help="End the job's backfills that still wait instead.")
@json_option
@click.pass_context
def backfill(
    ctx: click.Context,
    here: Here,
    *,
    job: str,
    start: datetime | None,
    end: datetime | None,
    max_parallel: int,
    limit: int,
    dry_run: bool,
    yes: bool,
    cancel: bool,
    as_json: bool,
) -> None:
    """Run a job for those ticks of a time gone by that have not run.

    The ticks are those of its schedule as it is today; each run has its own in JOBSUP_SCHEDULED_FOR. They stand
    behind all other work, wait while the job is paused, and no tick is ever filled in twice.
    """
    from jobsup.actions import backfill as actions
    from jobsup.actions.people import requester

    if cancel:
        with here.database() as database:
            _tell_cancelled(job, actions.cancel(database, job, requester()), as_json=as_json)
        return
    if start is None:
        raise click.UsageError("say from when: --from TIME", ctx)
    with here.database() as database:
        found = actions.survey(database, job, start, end, limit=limit)
        if dry_run or not found.ticks:
            _show(found, as_json=as_json)
            return
        _confirm(ctx, found, max_parallel, yes=yes)
        ids = actions.fill(database, found, by=requester(), max_parallel=max_parallel)
    if as_json:
        print_json({"job": job, "runs": ids, "already_run": found.done, "left": found.left})
        return
    say(f"{plural(len(ids), 'run')} of {clean(job)} made{_more(found)}")
    if ids:
        click.echo(f"{ids[0]}-{ids[-1]}" if len(ids) > 1 else ids[0])


def _confirm(ctx: click.Context, found: Range, max_parallel: int, *, yes: bool) -> None:
    """Ask a person; a program has to say --yes."""
    count = plural(len(found.ticks), "run")
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"this would make {count} of {found.job.name}: add --yes, or --dry-run to see them", ctx)
    first, last = local(found.ticks[0]), local(found.ticks[-1])
    click.confirm(
        f"Make {count} of {clean(found.job.name)}, {first} to {last}, {max_parallel} at a time?", abort=True, err=True
    )


def _show(found: Range, *, as_json: bool) -> None:
    if as_json:
        instants = [rfc3339(tick) for tick in found.ticks]
        print_json({"job": found.job.name, "ticks": instants, "already_run": found.done, "left": found.left})
        return
    ticks = found.ticks
    for tick in ticks[:SHOWN_MAX]:
        click.echo(local(tick))
    if len(ticks) > 2 * SHOWN_MAX:
        click.echo(f"... {len(ticks) - 2 * SHOWN_MAX} more")
    for tick in ticks[SHOWN_MAX:][-SHOWN_MAX:]:
        click.echo(local(tick))
    have = "has" if found.done == 1 else "have"
    say(f"{plural(len(ticks), 'tick')} of {clean(found.job.name)} to run; {found.done} {have} run{_more(found)}")


def _more(found: Range) -> str:
    return f"; {found.left} more after {local(found.ticks[-1])}: raise --limit, or run it again" if found.left else ""


def _tell_cancelled(job: str, count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job, "cancelled": count})
    else:
        say(f"{plural(count, 'waiting run')} of {clean(job)} cancelled")
