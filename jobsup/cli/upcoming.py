"""`jobsup next`: the runs to come, with what a clock change or a pause does to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say, table
from jobsup.cli.times import FUTURE, Instant, Zone, away, local
from jobsup.cli.verb import json_option, verb

TICKS_MAX = 10_000


@verb(
    "next",
    ("jobsup next", "the next ten runs of all jobs"),
    ("jobsup next backup -n 3 --tz America/New_York", "of one job, on another clock"),
)
@click.argument("jobs", nargs=-1, type=JobName(), metavar="[JOB]...")
@click.option("-n", "count", type=click.IntRange(1, TICKS_MAX), default=10, show_default=True, help="How many.")
@click.option("--at", "after", type=Instant(FUTURE), metavar="TIME", help="Those after this; else after now.")
@click.option("--tz", "zone", type=Zone(), metavar="ZONE", help="Show times in this zone; else the machine's.")
@json_option
def next_(
    here: Here, *, jobs: tuple[str, ...], count: int, after: datetime | None, zone: str | None, as_json: bool
) -> None:
    """Show the next runs, the soonest first.

    The last column says what is special: a tick that a clock change or a calendar moves, merges or repeats, that a
    blackout holds or skips, that starts later by its jitter, or that a pause costs.
    """
    from jobsup.actions.operations.schedules import NEXT_TICKS

    with here.gateway() as gate:
        found = gate.ask(NEXT_TICKS, jobs=list(jobs) or None, n=count, after=after)
    if as_json:
        print_json({"next": found["next"]})
        return
    for sentence in found["waits"]:
        say(clean(sentence))
    now = datetime.fromisoformat(found["at"])
    if found["next"]:
        rows = [_row(tick, now, zone) for tick in found["next"]]
        click.echo(table(("JOB", "NEXT RUN", "", ""), rows))
    elif not found["waits"]:
        say("nothing is scheduled")


def _row(tick: dict[str, Any], now: datetime, zone: str | None) -> tuple[str, ...]:
    at = datetime.fromisoformat(tick["at"])
    return clean(tick["job"]), local(at, zone), away(at, now), clean(_special(tick))


def _special(tick: dict[str, Any]) -> str:
    """Say what is not as usual: where it runs, when that is not one host whichever, and what moves or holds it."""
    hosts, note = tick["hosts"], tick["note"] or ""
    if hosts is None:
        return note
    where = f"on each of {', '.join(hosts)}" if hosts else "on each host, and none can run it now"
    return f"{where}; {note}" if note else where
