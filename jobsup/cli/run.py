"""`jobsup run`: a run now, and if wanted its output and its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.times import FUTURE, Instant, away
from jobsup.cli.verb import json_option, verb
from jobsup.errors import ExitCode, NotFoundError
from jobsup.model import Status

if TYPE_CHECKING:
    from jobsup.store.dispatches import Created
    from jobsup.store.engine import Database
    from jobsup.store.overview import RunRow

REASON_CHARS_MAX = 200


@verb(
    "run",
    ("jobsup run backup --follow", "run it now, watch it, end with its exit code"),
    ("jobsup run report -p day=monday -p pages=3", "with parameters"),
)
@click.argument("job", type=JobName())
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; may be given often.")
@click.option("-w", "--wait", is_flag=True, help="Wait for the end, retries included; end with the job's exit code.")
@click.option("-f", "--follow", is_flag=True, help="Print its output as it comes, and wait.")
@click.option("--at", type=Instant(FUTURE), metavar="TIME", help="Not before then; else at once.")
@click.option("--reason", metavar="TEXT", help="Why; it is written beside your name.")
@click.option("--on", default="", metavar="HOST", help="On this host; else where its definition says.")
@click.option("--force", is_flag=True, help="Also when the job is paused or disabled.")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    here: Here,
    *,
    job: str,
    params: tuple[str, ...],
    wait: bool,
    follow: bool,
    at: datetime | None,
    reason: str | None,
    force: bool,
    on: str,
    as_json: bool,
) -> None:
    """Run a job now, beside its schedule; print the number of the run.

    A job with `on = "each"` gets a run on every living host, or one on the host that --on names.

    With --wait or --follow the command ends as the job does: its own exit code, 128+n for signal n, 124 when it
    ran out of time, 130 when it was cancelled, 6 when it was skipped.
    """
    from jobsup.actions import runs as actions
    from jobsup.actions.people import requester

    if reason is not None and len(reason) > REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has at most {REASON_CHARS_MAX} characters", ctx)
    if follow and as_json:
        raise click.UsageError("--follow prints output and --json a document: take --wait --json", ctx)
    given = _params(ctx, params)
    with here.database() as database:
        try:
            created = actions.run(database, job, given, by=requester(reason), at=at, force=force, on=on)
        except NotFoundError:
            if here.defines(job):
                path = here.path()
                raise NotFoundError(f"job {job!r} is in {path}, but not in force yet: `jobsup reload`") from None
            raise
        all_made = (created, *created.others)
        told = [_see_to(database, job, each, wait=wait, follow=follow, is_quiet=as_json) for each in all_made]
    if as_json:
        print_json({**told[0].document, "others": [each.document for each in told[1:]]})
    ctx.exit(next((each.code for each in told if each.code), ExitCode.OK))


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one run, as far as it was waited for."""

    document: dict[str, Any]
    code: int


def _see_to(database: Database, job: str, created: Created, *, wait: bool, follow: bool, is_quiet: bool) -> _Told:
    """Tell of a run that was made, and wait for its end if that is wanted."""
    from jobsup.actions import runs as actions

    made = actions.get(database, created.dispatch_id)
    document = _document(made)
    if created.status is Status.SKIPPED:
        say(f"run {made.id} of {job} is SKIPPED: {clean(created.message or created.reason)}")
        if not is_quiet:
            click.echo(made.id)
        return _Told(document, actions.exit_code(made))
    _announce(database, made, is_quiet=is_quiet)
    if not (wait or follow):
        if not is_quiet:
            click.echo(made.id)
        return _Told(document, ExitCode.OK)
    last = _wait(database, made, follow=follow, prints_id=not is_quiet and not follow)
    return _Told({**document, "last": _document(last)}, actions.exit_code(last))


def _params(ctx: click.Context, words: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise click.UsageError(f"--param {word!r}: write NAME=VALUE", ctx)
        if name in given:
            raise click.UsageError(f"--param {name} is given twice", ctx)
        given[name] = value
    return given


def _announce(database: Database, made: RunRow, *, is_quiet: bool) -> None:
    """Tell the run's number, and warn when nobody is there to take it."""
    from jobsup.actions import serving

    if not is_quiet:
        begins = f", to start {away(made.available_at, database.now())}" if made.available_at > database.now() else ""
        where = f" on {clean(made.target)}" if made.target else ""
        say(f"run {made.id} of {made.job}{where}{begins}: `jobsup logs -f {made.id}` follows it")
    if made.note:
        say(f"note: {clean(made.note)}")
    present = serving.living(database)
    missing = serving.lack(present, serving.asked_by(made))
    if missing is not None:
        start = " (`jobsup start`)" if not present else ""
        say(f"warning: {missing}: the run waits until one {'is' if not present else 'does'}{start}")


def _wait(database: Database, made: RunRow, *, follow: bool, prints_id: bool) -> RunRow:
    from jobsup.actions import runs as actions
    from jobsup.cli.printer import Printer

    printer = Printer(is_raw=False)

    def tell(attempt: RunRow) -> None:
        printer.finish()
        say(clean(attempt_words(attempt, database.now())))

    try:
        if prints_id:
            click.echo(made.id)
        return actions.wait(database, made.id, on_output=printer.write if follow else None, on_attempt=tell)
    except KeyboardInterrupt:
        say(f"\nrun {made.id} goes on: `jobsup cancel {made.id}` ends it")
        raise


def attempt_words(attempt: RunRow, now: datetime) -> str:
    """Say in a line what an attempt's state is."""
    from jobsup.cli.runs import ending
    from jobsup.cli.times import brief

    status = Status(attempt.status)
    if not status.is_terminal:
        begins = f" {away(attempt.available_at, now)}" if attempt.available_at > now else ""
        return f"run {attempt.id}, retry {attempt.retry_count} of run {attempt.retry_of}, starts{begins}"
    why = f" ({attempt.error_message or attempt.reason})" if attempt.error_message or attempt.reason else ""
    ended = f", exit {ending(attempt)}" if ending(attempt) else ""
    took = ""
    if attempt.started_at and attempt.completed_at:
        took = f" after {brief(attempt.completed_at - attempt.started_at)}"
    return f"run {attempt.id} {status}{took}{ended}{why}"


def _document(run: RunRow) -> dict[str, Any]:
    from jobsup.actions.documents import run_document

    return run_document(run)
