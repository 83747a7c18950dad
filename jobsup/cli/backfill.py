"""`jobsup backfill`: a job's runs for a time gone by."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, plural, print_json, say
from jobsup.cli.times import PAST, Instant, local, read
from jobsup.cli.verb import json_option, verb

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
    from jobsup.actions.operations.jobs import BACKFILL_JOB, CANCEL_BACKFILL

    if start is None and not cancel:
        raise click.UsageError("say from when: --from TIME", ctx)
    with here.gateway() as gate:
        if cancel:
            _tell_cancelled(gate.ask(CANCEL_BACKFILL, name=job), as_json=as_json)
            return
        given = {"name": job, "from": start, "to": end}
        found = gate.ask(BACKFILL_JOB, **given, limit=limit, dry_run=True)
        if dry_run or not found["ticks"]:
            _show(found, as_json=as_json)
            return
        _confirm(ctx, found, max_parallel, yes=yes)
        shown = len(found["ticks"])  # no tick more than was agreed to, though one may have come meanwhile
        found = gate.ask(BACKFILL_JOB, **given, limit=shown, max_parallel=max_parallel)
    ids = found["runs"]
    if as_json:
        print_json({"job": job, "runs": ids, "already_run": found["already_run"], "left": found["left"]})
        return
    say(f"{plural(len(ids), 'run')} of {clean(job)} made{_more(found)}")
    if ids:
        click.echo(f"{ids[0]}-{ids[-1]}" if len(ids) > 1 else ids[0])


def _confirm(ctx: click.Context, found: dict[str, Any], max_parallel: int, *, yes: bool) -> None:
    """Ask a person; a program has to say --yes."""
    ticks, job = found["ticks"], found["job"]
    count = plural(len(ticks), "run")
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"this would make {count} of {job}: add --yes, or --dry-run to see them", ctx)
    first, last = local(read(ticks[0])), local(read(ticks[-1]))
    click.confirm(f"Make {count} of {clean(job)}, {first} to {last}, {max_parallel} at a time?", abort=True, err=True)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({key: found[key] for key in ("job", "ticks", "already_run", "left")})
        return
    ticks, done = found["ticks"], found["already_run"]
    for tick in ticks[:SHOWN_MAX]:
        click.echo(local(read(tick)))
    if len(ticks) > 2 * SHOWN_MAX:
        click.echo(f"... {len(ticks) - 2 * SHOWN_MAX} more")
    for tick in ticks[SHOWN_MAX:][-SHOWN_MAX:]:
        click.echo(local(read(tick)))
    have = "has" if done == 1 else "have"
    say(f"{plural(len(ticks), 'tick')} of {clean(found['job'])} to run; {done} {have} run{_more(found)}")


def _more(found: dict[str, Any]) -> str:
    left = found["left"]
    return f"; {left} more after {local(read(found['ticks'][-1]))}: raise --limit, or run it again" if left else ""


def _tell_cancelled(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        say(f"{plural(answer['cancelled'], 'waiting run')} of {clean(answer['job'])} cancelled")
