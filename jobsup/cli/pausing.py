"""`jobsup pause` and `jobsup resume`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.times import FUTURE, Duration, Instant
from jobsup.cli.verb import json_option, verb
from jobsup.clock import SystemClock

REASON_CHARS_MAX = 1000


@verb(
    "pause",
    ("jobsup pause backup --for 2h --reason 'disk full'", "one job, for two hours"),
    ("jobsup pause --all --until 06:00", "everything, until six in the morning"),
)
@click.argument("jobs", nargs=-1, type=JobName(), metavar="[JOB]...")
@click.option("--all", "every", is_flag=True, help="All jobs.")
@click.option("--tag", metavar="TAG", help="All jobs with this tag.")
@click.option("--until", type=Instant(FUTURE), metavar="TIME", help="Resume by itself then.")
@click.option("--for", "duration", type=Duration(), metavar="DURATION", help="Resume by itself after that.")
@click.option("--reason", metavar="TEXT", help="Why; `why` and `list` tell it.")
@json_option
def pause(
    here: Here,
    *,
    jobs: tuple[str, ...],
    every: bool,
    tag: str | None,
    until: datetime | None,
    duration: timedelta | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Stop jobs from running by their schedule.

    What runs goes on; ticks in the meantime are recorded as SKIPPED with the reason `paused`.
    """
    from jobsup.actions.operations.jobs import PAUSE_JOBS

    if until is not None and duration is not None:
        raise click.UsageError("--until and --for say the same: give one")
    if reason is not None and len(reason) > REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has at most {REASON_CHARS_MAX} characters")
    until = until if duration is None else SystemClock().now() + duration
    with here.gateway() as gate:
        chosen = {"jobs": list(jobs) or None, "all": every or None, "tag": tag}
        paused = gate.ask(PAUSE_JOBS, **chosen, reason=reason, until=until)["jobs"]
    if as_json:
        print_json({"jobs": paused})
        return
    for job in paused:
        click.echo(clean(f"{job['name']}: {job['paused']}"))


@verb(
    "resume",
    ("jobsup resume backup", "let one job run again"),
    ("jobsup resume --all", "all of them"),
)
@click.argument("jobs", nargs=-1, type=JobName(), metavar="[JOB]...")
@click.option("--all", "every", is_flag=True, help="All jobs.")
@click.option("--tag", metavar="TAG", help="All jobs with this tag.")
@json_option
def resume(here: Here, *, jobs: tuple[str, ...], every: bool, tag: str | None, as_json: bool) -> None:
    """Let paused jobs run by their schedule again, from the next tick on."""
    from jobsup.actions.operations.jobs import RESUME_JOBS

    with here.gateway() as gate:
        resumed = gate.ask(RESUME_JOBS, jobs=list(jobs) or None, all=every or None, tag=tag)["jobs"]
    if as_json:
        print_json({"jobs": resumed})
        return
    for job in resumed:
        click.echo(clean(f"{job['name']}: resumed"))
    if not resumed:
        say("nothing of that was paused")
