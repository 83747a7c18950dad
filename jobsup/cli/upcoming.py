"""`jobsup next`: the runs to come, with what a clock change or a pause does to them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say, table
from jobsup.cli.times import FUTURE, Instant, Zone, away, local
from jobsup.cli.verb import json_option, verb
from jobsup.clock import rfc3339

if TYPE_CHECKING:
    from jobsup.actions.jobs import Tick

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
    from jobsup.actions.jobs import next_ticks, waits_for

    with here.database() as database:
        now = database.now()
        ticks = next_ticks(database, jobs, after=after or now, count=count)
        waiting = waits_for(database, jobs)
    if as_json:
        documents = [
            {
                "job": tick.job,
                "at": rfc3339(tick.at),
                "starts": rfc3339(tick.starts),
                "note": tick.note or None,
                "hosts": None if tick.hosts is None else list(tick.hosts),
            }
            for tick in ticks
        ]
        print_json({"next": documents})
        return
    for sentence in waiting:
        say(sentence)
    if ticks:
        rows = [(tick.job, local(tick.at, zone), away(tick.at, now), clean(_special(tick))) for tick in ticks]
        click.echo(table(("JOB", "NEXT RUN", "", ""), rows))
    elif not waiting:
        say("nothing is scheduled")


def _special(tick: Tick) -> str:
    """Say what is not as usual: where it runs, when that is not one host whichever, and what moves or holds it."""
    if tick.hosts is None:
        return tick.note
    where = f"on each of {', '.join(tick.hosts)}" if tick.hosts else "on each host, and none can run it now"
    return f"{where}; {tick.note}" if tick.note else where
