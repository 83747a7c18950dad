"""`jobsup forecast`: what the days to come will ask for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, plural, print_json, table
from jobsup.cli.times import Zone, local
from jobsup.cli.verb import json_option, verb
from jobsup.clock import rfc3339

if TYPE_CHECKING:
    from jobsup.actions.forecast import Outlook

DAYS_MAX = 366
LISTED_MAX = 10
"""Collisions, full pools and marks that are listed for a person; JSON has them all."""
DIGITS = 3


@verb(
    "forecast",
    ("jobsup forecast --days 2", "how many runs go on, hour by hour"),
    ("jobsup forecast --json", "the same for a program, minute by minute"),
)
@click.argument("jobs", nargs=-1, type=JobName(), metavar="[JOB]...")
@click.option("--days", type=click.IntRange(1, DAYS_MAX), default=7, show_default=True, help="How far ahead.")
@click.option("--tz", "zone", type=Zone(), metavar="ZONE", help="Show times in this zone; else the machine's.")
@json_option
def forecast(here: Here, *, jobs: Sequence[str], days: int, zone: str | None, as_json: bool) -> None:
    """Show how many runs will go on at a time, where many start together, and which pools will be full.

    Each run is taken to last as long as its job's latest ones did, by their median; a job that has not run yet is
    taken as 10 seconds. Jobs that are paused for good, that depend on others, or run only when asked are left out.
    """
    from jobsup.actions.forecast import outlook

    with here.database() as database:
        found = outlook(database, days=days, names=jobs)
    if as_json:
        print_json(_document(found, days))
    else:
        click.echo("\n".join(_lines(found, zone)))


def _document(found: Outlook, days: int) -> dict[str, Any]:
    told = found.forecast
    return {
        "start": rfc3339(told.start),
        "days": days,
        "jobs": found.jobs,
        "peak": round(told.peak, DIGITS),
        "running": [round(value, DIGITS) for value in told.running],
        "starts": [round(value, DIGITS) for value in told.starts],
        "collisions": [{"at": rfc3339(each.at), "starts": each.starts} for each in told.collisions],
        "pools": [{"pool": pool, "places": places} for pool, places in found.pools.items()],
        "overloads": [
            {
                "pool": each.pool,
                "places": each.places,
                "start": rfc3339(each.start),
                "end": rfc3339(each.end),
                "peak": round(each.peak, DIGITS),
            }
            for each in told.overloads
        ],
        "notes": [{"at": rfc3339(each.at), "job": each.job, "note": each.note} for each in told.notes],
        "blackouts": [
            {"name": each.name, "policy": each.policy, "start": rfc3339(each.start), "end": rfc3339(each.end)}
            for each in found.blackouts
        ],
        "unknown_durations": list(found.unknown),
    }


def _lines(found: Outlook, zone: str | None) -> list[str]:
    from jobsup.cli.heat import heat_map

    told = found.forecast
    if not found.jobs:
        return ["nothing is scheduled"]
    columns = shutil.get_terminal_size().columns
    peak_at = max(range(told.minutes), key=lambda minute: told.running[minute])
    peak = f"at most {told.peak:.1f} runs at a time, at {local(told.at(peak_at), zone)}"
    lines = [
        f"{plural(found.jobs, 'job')}, {peak}; {sum(told.starts):.0f} runs in all",
        "",
        *heat_map(told.running, told.start, zone=zone, columns=columns),
    ]
    lines += _section(
        ("MOST STARTS AT", "RUNS"), [(local(each.at, zone), str(each.starts)) for each in told.collisions]
    )
    lines += _section(
        ("POOL", "PLACES", "ASKED FOR", "FROM", "UNTIL"),
        [
            (
                clean(each.pool.partition("/")[2]),
                str(each.places),
                f"{each.peak:.1f}",
                local(each.start, zone),
                local(each.end, zone),
            )
            for each in told.overloads
        ],
    )
    lines += _section(
        ("BLACKOUT", "POLICY", "FROM", "UNTIL"),
        [(clean(each.name), each.policy, local(each.start, zone), local(each.end, zone)) for each in found.blackouts],
    )
    lines += _section(
        ("SPECIAL TICK", "JOB", ""), [(local(each.at, zone), clean(each.job), clean(each.note)) for each in told.notes]
    )
    if found.unknown:
        some = ", ".join(clean(name) for name in found.unknown[:LISTED_MAX])
        more = " ..." if len(found.unknown) > LISTED_MAX else ""
        lines += ["", f"taken as 10 s a run, for want of one to go by: {some}{more}"]
    return lines


def _section(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lay a list out below a blank line; none when it is empty, and what is too much is counted."""
    if not rows:
        return []
    more = [f"... {len(rows) - LISTED_MAX} more"] if len(rows) > LISTED_MAX else []
    return ["", table(headers, rows[:LISTED_MAX]), *more]
