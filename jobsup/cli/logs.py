"""`jobsup logs`: what a run printed, or prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, say
from jobsup.cli.verb import verb
from jobsup.clock import SystemClock
from jobsup.model import Status

if TYPE_CHECKING:
    from jobsup.cli.gateway import Gateway
    from jobsup.cli.printer import Printer

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
    from jobsup.actions.operations.runs import FIND_RUN
    from jobsup.cli.printer import Printer

    printer = Printer(is_raw=raw)
    with here.gateway() as gate:
        run_id = gate.ask(FIND_RUN, target=target, follow=follow or None)["run"]["id"]
        _print(gate, run_id, printer, follow=follow, tail=tail)
        printer.finish()
        if not printer.has_printed:
            _tell_nothing(gate, run_id)


def _print(gate: Gateway, run_id: int, printer: Printer, *, follow: bool, tail: int | None) -> None:
    from jobsup.actions.output import last_lines
    from jobsup.cli.gateway import wait_to_the_end
    from jobsup.cli.run import attempt_words

    place = 0
    if tail is not None:
        pieces = list(gate.output(run_id))
        place = sum(piece.length for piece in pieces)
        for piece in last_lines(pieces, tail):
            printer.write(piece)
    elif not follow:
        for piece in gate.output(run_id):
            printer.write(piece)
    if not follow:
        return
    wait_to_the_end(
        gate,
        run_id,
        place=place,
        on_output=printer.write,
        on_attempt=lambda attempt: say(clean(attempt_words(attempt, SystemClock().now()))),
    )


def _tell_nothing(gate: Gateway, run_id: int) -> None:
    from jobsup.actions.operations.runs import SHOW_RUN

    run = gate.ask(SHOW_RUN, id=run_id)["run"]
    cause = run["error_message"] or run["reason"]
    why = f" ({cause})" if cause else ""
    if run["started_at"] is None:
        say(clean(f"run {run_id} of {run['job']} has not started: it is {run['status']}{why}"))
    elif not Status(run["status"]).is_terminal:
        say(clean(f"run {run_id} of {run['job']} has printed nothing yet: -f follows it"))
    else:
        say(clean(f"run {run_id} of {run['job']} printed nothing: it is {run['status']}{why}"))
