"""`jobsup logs`: what a run printed, or prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, say
from jobsup.cli.verb import verb
from jobsup.model import Status

if TYPE_CHECKING:
    from jobsup.cli.printer import Printer
    from jobsup.store.engine import Database

LINES_MAX = 10_000_000


@verb(
    "logs",
    ("jobsup logs backup", "what the job's last run printed"),
    ("jobsup logs -f 17", "follow run 17, retries included"),
)
@click.argument("target", type=JobName(), metavar="JOB|RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--tail", type=click.IntRange(0, LINES_MAX), metavar="N", help="Only the last N lines of what there is.")
@click.option("--raw", is_flag=True, help="The exact bytes, control characters and all.")
def logs(here: Here, *, target: str, follow: bool, tail: int | None, raw: bool) -> None:
    """Print what a run printed on its two streams, in the order it was read; a job's name means its last run.

    Control characters are taken out unless --raw; what did not fit in output_limit is told as a number of bytes.
    """
    from jobsup.actions import runs as actions
    from jobsup.cli.printer import Printer

    printer = Printer(is_raw=raw)
    with here.database() as database:
        run_id = actions.find(database, target, to_follow=follow)
        _print(database, run_id, printer, follow=follow, tail=tail)
        printer.finish()
        if not printer.has_printed:
            _tell_nothing(database, run_id)


def _print(database: Database, run_id: int, printer: Printer, *, follow: bool, tail: int | None) -> None:
    from jobsup.actions import runs as actions
    from jobsup.actions.output import OutputReader, last_lines
    from jobsup.cli.run import attempt_words

    reader = OutputReader(database, run_id)
    pieces = reader.read()
    for piece in pieces if tail is None else last_lines(pieces, tail):
        printer.write(piece)
    if not follow:
        return
    actions.wait(
        database,
        run_id,
        reader=reader,
        on_output=printer.write,
        on_attempt=lambda attempt: say(clean(attempt_words(attempt, database.now()))),
    )


def _tell_nothing(database: Database, run_id: int) -> None:
    from jobsup.actions import runs as actions

    run = actions.get(database, run_id)
    why = f" ({run.error_message or run.reason})" if run.error_message or run.reason else ""
    if run.started_at is None:
        say(clean(f"run {run_id} of {run.job} has not started: it is {run.status}{why}"))
    elif not Status(run.status).is_terminal:
        say(f"run {run_id} of {run.job} has printed nothing yet: -f follows it")
    else:
        say(clean(f"run {run_id} of {run.job} printed nothing: it is {run.status}{why}"))
