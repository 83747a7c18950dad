"""`jobsup run`: a run now, and if wanted its output and its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.times import FUTURE, Instant, away, read
from jobsup.cli.verb import json_option, verb
from jobsup.clock import SystemClock
from jobsup.errors import ExitCode, NotFoundError
from jobsup.model import Status

if TYPE_CHECKING:
    from jobsup.cli.gateway import Gateway

REASON_CHARS_MAX = 200
SIGNAL_BASE = 128


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
@click.option("--on", metavar="HOST", help="On this host; else where its definition says.")
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
    on: str | None,
    as_json: bool,
) -> None:
    """Run a job now, beside its schedule; print the number of the run.

    A job with `on = "each"` gets a run on every living host, or one on the host that --on names.

    With --wait or --follow the command ends as the job does: its own exit code, 128+n for signal n, 124 when it
    ran out of time, 130 when it was cancelled, 6 when it was skipped.
    """
    from jobsup.actions.operations.jobs import RUN_JOB

    if reason is not None and len(reason) > REASON_CHARS_MAX:
        raise click.UsageError(f"--reason has at most {REASON_CHARS_MAX} characters", ctx)
    if follow and as_json:
        raise click.UsageError("--follow prints output and --json a document: take --wait --json", ctx)
    given = _params(ctx, params)
    asked = {"params": given or None, "at": at, "reason": reason, "force": force or None, "on": on or None}
    with here.gateway() as gate:
        try:
            answer = gate.ask(RUN_JOB, name=job, **asked)
        except NotFoundError:
            if not gate.is_remote and here.defines(job):
                path = here.path()
                raise NotFoundError(f"job {job!r} is in {path}, but not in force yet: `jobsup reload`") from None
            raise
        made = (answer["run"], *answer["others"])
        told = [_see_to(gate, run, wait=wait, follow=follow, is_quiet=as_json) for run in made]
    if as_json:
        print_json({**told[0].document, "others": [each.document for each in told[1:]]})
    ctx.exit(next((each.code for each in told if each.code), ExitCode.OK))


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one run, as far as it was waited for."""

    document: dict[str, Any]
    code: int


def _see_to(gate: Gateway, made: dict[str, Any], *, wait: bool, follow: bool, is_quiet: bool) -> _Told:
    """Tell of a run that was made, and wait for its end if that is wanted."""
    if made["status"] == Status.SKIPPED:
        say(f"run {made['id']} of {clean(made['job'])} is SKIPPED: {clean(made['error_message'] or made['reason'])}")
        if not is_quiet:
            click.echo(made["id"])
        return _Told(made, exit_code(made))
    _announce(made, is_quiet=is_quiet)
    if not (wait or follow):
        if not is_quiet:
            click.echo(made["id"])
        return _Told(made, ExitCode.OK)
    last = _wait(gate, made, follow=follow, prints_id=not is_quiet and not follow)
    return _Told({**made, "last": last}, exit_code(last))


def exit_code(run: dict[str, Any]) -> int:
    """Return the code `run --wait` ends with: the job's own, 128 + its signal, or one that says what became of it."""
    match run["status"]:
        case Status.TIMEOUT:
            return ExitCode.TIMEOUT
        case Status.CANCELLED:
            return ExitCode.CANCELLED
        case Status.SKIPPED:
            return ExitCode.CONFLICT
        case Status.COMPLETED:
            return run["exit_code"] or ExitCode.OK
    if run["signal"] is not None:
        return SIGNAL_BASE + int(run["signal"])
    return run["exit_code"] or ExitCode.FAILED


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


def _announce(made: dict[str, Any], *, is_quiet: bool) -> None:
    """Tell the run's number, and warn when nobody is there to take it."""
    now, available_at, lack = SystemClock().now(), read(made["available_at"]), made["lack"]
    if not is_quiet:
        begins = f", to start {away(available_at, now)}" if available_at and available_at > now else ""
        where = f" on {clean(made['target'])}" if made["target"] else ""
        say(f"run {made['id']} of {clean(made['job'])}{where}{begins}: `jobsup logs -f {made['id']}` follows it")
    if made["note"]:
        say(f"note: {clean(made['note'])}")
    if lack is not None:
        until = "is (`jobsup start`)" if lack == "no worker is running" else "does"
        say(f"warning: {clean(lack)}: the run waits until one {until}")


def _wait(gate: Gateway, made: dict[str, Any], *, follow: bool, prints_id: bool) -> dict[str, Any]:
    from jobsup.cli.gateway import wait_to_the_end
    from jobsup.cli.printer import Printer

    printer = Printer(is_raw=False)

    def tell(attempt: dict[str, Any]) -> None:
        printer.finish()
        say(clean(attempt_words(attempt, SystemClock().now())))

    try:
        if prints_id:
            click.echo(made["id"])
        return wait_to_the_end(gate, made["id"], on_output=printer.write if follow else None, on_attempt=tell)
    except KeyboardInterrupt:
        say(f"\nrun {made['id']} goes on: `jobsup cancel {made['id']}` ends it")
        raise


def attempt_words(attempt: dict[str, Any], now: datetime) -> str:
    """Say in a line what an attempt's state is."""
    from jobsup.cli.runs import ending, lasted
    from jobsup.cli.times import brief

    status, number = Status(attempt["status"]), attempt["id"]
    if not status.is_terminal:
        available_at = read(attempt["available_at"])
        begins = f" {away(available_at, now)}" if available_at and available_at > now else ""
        return f"run {number}, retry {attempt['retry_count']} of run {attempt['retry_of']}, starts{begins}"
    cause = attempt["error_message"] or attempt["reason"]
    why = f" ({cause})" if cause and cause != f"exit code {attempt['exit_code']}" else ""
    ended = f", exit {ending(attempt)}" if ending(attempt) else ""
    took = lasted(attempt)
    after = "" if took is None else f" after {brief(took)}"
    return f"run {number} {status}{after}{ended}{why}"
