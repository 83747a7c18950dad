"""`jobsup explain`: what a schedule means and when it fires, for a person, a program, or thousands of them."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import IO, Any

import click

from jobsup.actions.explain import explain_one
from jobsup.actions.questions import N_DEFAULT, N_MAX
from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, say, table
from jobsup.cli.times import PAST, Instant, Zone, away, written
from jobsup.cli.verb import json_option, verb
from jobsup.clock import SystemClock
from jobsup.errors import JobsupError
from jobsup.model import Dst

LINE_BYTES_MAX = 1 << 20


@verb(
    "explain",
    ("jobsup explain '30 2 * * mon-fri' --tz Europe/Berlin", "words and the next five runs"),
    ("jobsup explain --every 90s -n 3 --json", "for a program"),
)
@click.argument("expression", required=False, metavar="[CRON]")
@click.option("--every", metavar="DURATION", help="An interval instead, such as 90s.")
@click.option("--on-calendar", metavar="EXPR", help="A systemd calendar expression instead.")
@click.option("--tz", "timezone", type=Zone(), metavar="ZONE", help="The time zone; else the machine's.")
@click.option("--dst", type=click.Choice([*Dst]), help="What a clock change does; else cron.")
@click.option("--at", "after", type=Instant(PAST), metavar="TIME", help="Show runs after this; else after now.")
@click.option("-n", "count", type=click.IntRange(0, N_MAX), default=N_DEFAULT, show_default=True, help="How many runs.")
@click.option("--batch", is_flag=True, help="Read one JSON object a line, answer each with one.")
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    here: Here,  # noqa: ARG001  (every verb is handed it)
    *,
    expression: str | None,
    every: str | None,
    on_calendar: str | None,
    timezone: str | None,
    dst: str | None,
    after: datetime | None,
    count: int,
    batch: bool,
    as_json: bool,
) -> None:
    """Say what a schedule means, when it fires next, and what is odd about it.

    With --batch each line of standard input is an object with the keys of a [[job]] (cron, every, anchor, calendar,
    on_calendar, at, schedules, timezone, dst), `after` and `n`; each answer is {"next": [...]} or {"error": "..."}.
    """
    given = {"cron": expression, "every": every, "on_calendar": on_calendar, "timezone": timezone, "dst": dst}
    question = {key: value for key, value in given.items() if value is not None}
    if batch:
        if question:
            raise click.UsageError("--batch takes everything from standard input", ctx)
        answer_all(sys.stdin.buffer, sys.stdout.buffer)
        return
    instant = after or SystemClock().now()
    answer = explain_one({**question, "n": count}, instant)
    if as_json:
        print_json(answer)
    else:
        _print_answer(answer, instant)


def answer_all(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each line before the next one is read; what is wrong with one is its answer."""
    while line := questions.readline(LINE_BYTES_MAX + 1):
        if not line.strip():
            continue
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = questions.readline(LINE_BYTES_MAX)
            answer: dict[str, Any] = {"error": f"the line has more than {LINE_BYTES_MAX} bytes"}
        else:
            answer = _answer(line)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _answer(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
        if not isinstance(document, dict):
            return {"error": "each line must be one JSON object"}
        return explain_one(document, SystemClock().now())
    except JobsupError as error:
        return {"error": str(error)}
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, nested without end
        return {"error": f"not a JSON object: {error}"}
    except Exception as error:  # noqa: BLE001  (one odd question must not leave the others without an answer)
        return {"error": f"internal error: {type(error).__name__}: {error}"}


def _print_answer(answer: dict[str, Any], after: datetime) -> None:
    zone = answer["timezone"]
    click.echo(answer["words"] if zone in answer["words"] else f"{answer['words']} ({zone})")
    notes = answer.get("notes") or [""] * len(answer["next"])
    rows = []
    for text, note in zip(answer["next"], notes, strict=True):
        instant = datetime.fromisoformat(text)
        shown = written(instant, answer["timezone"], "%a %Y-%m-%d %H:%M:%S %Z")
        rows.append((shown, text, away(instant, after), note))
    if rows:
        click.echo(table(("NEXT", "UTC", "", ""), rows))
    else:
        say("it does not fire after that")
    for warning in answer.get("warnings", ()):
        say(f"warning: {clean(warning)}")
