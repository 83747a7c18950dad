"""`jobsup runs`, `cancel` and `retry`: what has run, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import click

from jobsup.actions.accounts import progress_words
from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say, status, table
from jobsup.cli.times import PAST, Instant, brief, local, read
from jobsup.cli.verb import json_option, verb
from jobsup.errors import ExitCode, JobsupError
from jobsup.model import Status

RUNS_MAX = 10_000
RUN_ID_MAX = (1 << 63) - 1
LAST_DEFAULT = 20


@verb(
    "runs",
    ("jobsup runs --last 5", "the five newest runs"),
    ("jobsup runs backup --status FAILED --since 24h", "a job's failures of one day"),
)
@click.argument("job", required=False, type=JobName(), metavar="[JOB]")
@click.option(
    "--last", "last", type=click.IntRange(1, RUNS_MAX), default=LAST_DEFAULT, show_default=True, help="How many."
)
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice([*Status], case_sensitive=False), help="Only these."
)
@click.option("--since", type=Instant(PAST), metavar="TIME", help="Only those made since then.")
@json_option
def runs(
    here: Here, *, job: str | None, last: int, statuses: tuple[str, ...], since: datetime | None, as_json: bool
) -> None:
    """List runs, the newest first: attempts, and ticks that were skipped."""
    from jobsup.actions.operations.runs import LIST_RUNS

    with here.gateway() as gate:
        found = gate.ask(LIST_RUNS, job=job, last=last, status=list(statuses) or None, since=since)["runs"]
    if as_json:
        print_json({"runs": found})
    elif found:
        click.echo(runs_table(found))
    else:
        say("no runs")


@verb(
    "cancel",
    ("jobsup cancel 17", "end a run that waits or runs"),
    ("jobsup cancel 17 18 19", "several"),
)
@click.argument("run_ids", nargs=-1, required=True, type=click.IntRange(1, RUN_ID_MAX), metavar="RUN...")
@json_option
@click.pass_context
def cancel(ctx: click.Context, here: Here, *, run_ids: tuple[int, ...], as_json: bool) -> None:
    """End runs: one that waits at once, one that runs by TERM, and KILL after its kill_grace. Not retried."""
    from jobsup.actions.operations.runs import CANCEL_RUN

    with here.gateway() as gate:
        done, code = _each(run_ids, lambda run_id: gate.ask(CANCEL_RUN, id=run_id)["run"])
    if as_json:
        print_json({"runs": [{"id": run_id, "status": run["status"]} for run_id, run in done]})
    else:
        for run_id, run in done:
            click.echo(f"run {run_id}: {'cancelled' if run['status'] == Status.CANCELLED else 'being cancelled'}")
    ctx.exit(code)


@verb(
    "retry",
    ("jobsup retry 17", "run it once more, with the same parameters"),
    ("jobsup retry 17 --json", "and print the new run for a program"),
)
@click.argument("run_ids", nargs=-1, required=True, type=click.IntRange(1, RUN_ID_MAX), metavar="RUN...")
@json_option
@click.pass_context
def retry(ctx: click.Context, here: Here, *, run_ids: tuple[int, ...], as_json: bool) -> None:
    """Make a new attempt at what ended runs were for; a retry that waits for its time starts now."""
    from jobsup.actions.operations.runs import RETRY_RUN

    with here.gateway() as gate:
        done, code = _each(run_ids, lambda run_id: gate.ask(RETRY_RUN, id=run_id)["run"])
    if as_json:
        print_json({"runs": [run for _, run in done]})
    else:
        for run_id, run in done:
            click.echo(run["id"])
            say(f"run {run_id}: retried as run {run['id']}")
    ctx.exit(code)


def runs_table(found: Iterable[dict[str, Any]]) -> str:
    """Return runs as columns for a person."""
    headers = ("RUN", "JOB", "ON", "STATUS", "REASON", "SCHEDULED", "STARTED", "TOOK", "EXIT", "SOURCE", "NOTE")
    rows = [_row(run) for run in found]
    # A column that says nothing is left out: where most run anywhere, and nothing is special.
    shown = [at for at, header in enumerate(headers) if header not in {"ON", "NOTE"} or any(row[at] for row in rows)]
    return table([headers[at] for at in shown], [[row[at] for at in shown] for row in rows])


def ending(run: dict[str, Any]) -> str:
    """Say how a process ended: its exit code, or its signal's name."""
    if run["signal"] is not None:
        return signal_name(run["signal"])
    return "" if run["exit_code"] is None else str(run["exit_code"])


def lasted(run: dict[str, Any]) -> timedelta | None:
    """Return how long an ended run took."""
    started, completed = read(run["started_at"]), read(run["completed_at"])
    return completed - started if started and completed else None


def signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    source = run["source"] if not run["retry_count"] else f"{run['source']} {run['retry_count']}"
    if run["parent_id"] is not None:
        source = f"{source} of {run['parent_id']}"
    ticks = f" x{run['skipped_count']}" if run["skipped_count"] and run["skipped_count"] > 1 else ""
    took = lasted(run)
    return (
        str(run["id"]),
        clean(run["job"]),
        clean(run["target"]),
        status(run["status"]),
        f"{run['reason']}{ticks}",
        local(read(run["scheduled_for"])),
        local(read(run["started_at"])),
        "" if took is None else brief(took),
        ending(run),
        source,
        clean("; ".join(filter(None, (run["lack"], _far(run), run["note"])))),
    )


def _far(run: dict[str, Any]) -> str:
    """Say how far a run is; one that went well is at its end, whatever it said last."""
    return "" if run["status"] == Status.COMPLETED else progress_words(run["progress"])


def _each(run_ids: Iterable[int], act: Callable[[int], Any]) -> tuple[list[tuple[int, Any]], int]:
    """Do the same to each run; one that refuses is told and does not hold up the others."""
    from jobsup.cli.main import complain

    done, code = [], int(ExitCode.OK)
    for run_id in dict.fromkeys(run_ids):
        try:
            done.append((run_id, act(run_id)))
        except JobsupError as error:
            complain(str(error))
            code = code or int(error.exit_code)
    return done, code
