"""`jobsup pause` and `jobsup resume`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.times import FUTURE, Duration, Instant
from jobsup.cli.verb import json_option, verb

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
    from jobsup.actions import jobs as actions
    from jobsup.actions.people import requester

    if until is not None and duration is not None:
        raise click.UsageError("--until and --for say the same: give one")
    if reason is not None and len(reason) > REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has at most {REASON_CHARS_MAX} characters")
    with here.database() as database:
        names = actions.choose(database, jobs, every=every, tag=tag)
        until = until if duration is None else database.now() + duration
        paused = actions.pause(database, names, by=requester(), reason=reason, until=until)
        now = database.now()
    if as_json:
        from jobsup.actions.documents import job_document

        print_json({"jobs": [job_document(facts, now) for facts in paused]})
        return
    for facts in paused:
        click.echo(f"{facts.name}: {clean(actions.pause_words(facts))}")


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
    from jobsup.actions import jobs as actions

    with here.database() as database:
        names = actions.choose(database, jobs, every=every, tag=tag)
        resumed = actions.resume(database, names)
        now = database.now()
    if as_json:
        from jobsup.actions.documents import job_document

        print_json({"jobs": [job_document(facts, now) for facts in resumed]})
        return
    for facts in resumed:
        click.echo(f"{facts.name}: resumed")
    if not resumed:
        say("nothing of that was paused")
