"""`jobsup forecast`: what the days to come will ask for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, plural, print_json, table
from jobsup.cli.times import Zone, local
from jobsup.cli.verb import json_option, verb

DAYS_MAX = 366
LISTED_MAX = 10
"""Collisions, full pools and marks that are listed for a person; JSON has them all."""


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
    from jobsup.actions.operations.schedules import FORECAST

    with here.gateway() as gate:
        found = gate.ask(FORECAST, jobs=list(jobs) or None, days=days)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_lines(found, zone)))


def _lines(found: dict[str, Any], zone: str | None) -> list[str]:
    from jobsup.cli.heat import heat_map

    if not found["jobs"]:
        return ["nothing is scheduled"]
    columns = shutil.get_terminal_size().columns
    running, start = found["running"], datetime.fromisoformat(found["start"])
    peak_at = start + timedelta(minutes=max(range(len(running)), key=lambda minute: running[minute]))
    peak = f"at most {found['peak']:.1f} runs at a time, at {local(peak_at, zone)}"
    lines = [
        f"{plural(found['jobs'], 'job')}, {peak}; {sum(found['starts']):.0f} runs in all",
        "",
        *heat_map(running, start, zone=zone, columns=columns),
    ]

    def when(instant: str) -> str:
        return local(datetime.fromisoformat(instant), zone)

    lines += _section(
        ("MOST STARTS AT", "RUNS"), [(when(each["at"]), str(each["starts"])) for each in found["collisions"]]
    )
    lines += _section(
        ("POOL", "PLACES", "ASKED FOR", "FROM", "UNTIL"),
        [
            (
                clean(each["pool"].partition("/")[2]),
                str(each["places"]),
                f"{each['peak']:.1f}",
                when(each["start"]),
                when(each["end"]),
            )
            for each in found["overloads"]
        ],
    )
    lines += _section(
        ("BLACKOUT", "POLICY", "FROM", "UNTIL"),
        [(clean(each["name"]), each["policy"], when(each["start"]), when(each["end"])) for each in found["blackouts"]],
    )
    lines += _section(
        ("SPECIAL TICK", "JOB", ""),
        [(when(each["at"]), clean(each["job"]), clean(each["note"])) for each in found["notes"]],
    )
    unknown = found["unknown_durations"]
    if unknown:
        some = ", ".join(clean(name) for name in unknown[:LISTED_MAX])
        more = " ..." if len(unknown) > LISTED_MAX else ""
        lines += ["", f"taken as 10 s a run, for want of one to go by: {some}{more}"]
    return lines


def _section(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lay a list out below a blank line; none when it is empty, and what is too much is counted."""
    if not rows:
        return []
    more = [f"... {len(rows) - LISTED_MAX} more"] if len(rows) > LISTED_MAX else []
    return ["", table(headers, rows[:LISTED_MAX]), *more]
