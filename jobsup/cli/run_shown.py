"""What `jobsup show RUN` prints."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import click

from jobsup.actions.accounts import account_words, progress_words
from jobsup.cli.here import Here
from jobsup.cli.text import clean, pairs, print_json, status
from jobsup.cli.times import brief, local, read


def show_run(here: Here, run_id: int, *, as_json: bool) -> None:
    """Show all that is known of a run."""
    from jobsup.actions.operations.runs import SHOW_RUN

    with here.gateway() as gate:
        found = gate.ask(SHOW_RUN, id=run_id)
    if as_json:
        print_json(found)
    else:
        click.echo(pairs([(name, value) for name, value in _rows(found["run"]) if value]))


def _rows(run: dict[str, Any]) -> list[tuple[str, str]]:
    from jobsup.cli.runs import ending

    account = run["account"]
    retry = f", retry {run['retry_count']} of run {run['retry_of']}" if run["retry_of"] else ""
    by = f", by {clean(run['requested_by'])}" if run["requested_by"] else ""
    why = ": ".join(filter(None, (run["reason"], run["error_message"])))
    return [
        ("Run", f"{run['id']} of {clean(run['job'])}"),
        ("Status", status(run["status"])),
        ("Why", clean(why)),
        ("Source", f"{run['source']}{retry}{by}"),
        *((name, _local(run[key])) for name, key in _INSTANTS),
        *((name, _brief(account[key])) for name, key in _LENGTHS),
        ("Exit", ending(run)),
        ("Worker", clean(" at ".join(filter(None, (run["worker_id"], run["host"]))))),
        ("Progress", clean(progress_words(run["progress"]))),
        ("Used", account_words(account)),
        ("Parameters", clean(", ".join(f"{name}={value}" for name, value in (run["params"] or {}).items()))),
        ("Returned", "" if run["result"] is None else clean(json.dumps(run["result"], ensure_ascii=False))),
        ("Note", clean(run["note"] or "")),
    ]


_INSTANTS = (("Due", "scheduled_for"), ("Started", "started_at"), ("Ended", "completed_at"))
_LENGTHS = (("Took", "wall_seconds"), ("Waited", "queue_seconds"), ("Late", "lateness_seconds"))


def _local(written: str | None) -> str:
    return "" if written is None else local(read(written))


def _brief(seconds: float | None) -> str:
    return "" if seconds is None else brief(timedelta(seconds=seconds))
