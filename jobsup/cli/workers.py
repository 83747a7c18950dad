"""`jobsup workers`: the registrations of all hosts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, say, status, table
from jobsup.cli.times import away, brief
from jobsup.cli.verb import json_option, verb
from jobsup.model import host_tag


@verb(
    "workers",
    ("jobsup workers", "the workers of all hosts"),
    ("jobsup workers --all --json", "also those that are gone, for a program"),
)
@click.option("--all", "everything", is_flag=True, help="Also those OFFLINE.")
@json_option
def workers(here: Here, everything: bool, as_json: bool) -> None:
    """List the workers that share the database, by host."""
    from jobsup.actions.operations.hosts import LIST_WORKERS

    with here.gateway() as gate:
        found = gate.ask(LIST_WORKERS, all=everything or None)
    rows, now = found["workers"], datetime.fromisoformat(found["at"])
    if as_json:
        print_json({"workers": rows})
    elif rows:
        headers = ("WORKER", "NODE", "PID", "STATUS", "HEARTBEAT", "UP", "DONE", "QUEUES", "TAGS", "VERSION")
        click.echo(table(headers, [_row(row, now) for row in rows]))
    else:
        say("no workers")


def _row(row: dict[str, Any], now: datetime) -> tuple[str, ...]:
    return (
        row["worker_id"],
        clean(row["node"]),
        str(row["pid"]),
        status(row["status"]),
        away(datetime.fromisoformat(row["last_heartbeat"]), now),
        brief(now - datetime.fromisoformat(row["started_at"])),
        str(row["jobs_processed"]),
        clean(",".join(row["queues"])) or "all",
        clean(",".join(tag for tag in row["tags"] if tag != host_tag(row["node"]))),
        clean(row["version"]),
    )
