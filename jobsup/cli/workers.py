"""`jobsup workers`: the registrations of all hosts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from jobsup.actions.documents import worker_document
from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, say, status, table
from jobsup.cli.times import away, brief
from jobsup.cli.verb import json_option, verb
from jobsup.model import host_tag

if TYPE_CHECKING:
    from jobsup.store.workers import WorkerRow


@verb(
    "workers",
    ("jobsup workers", "the workers of all hosts"),
    ("jobsup workers --all --json", "also those that are gone, for a program"),
)
@click.option("--all", "everything", is_flag=True, help="Also those OFFLINE.")
@json_option
def workers(here: Here, everything: bool, as_json: bool) -> None:
    """List the workers that share the database, by host."""
    from jobsup.store import workers as store

    with here.database() as database:
        now = database.now()
        rows = store.list_workers(database, include_offline=everything)
    if as_json:
        print_json({"workers": [worker_document(row) for row in rows]})
    elif rows:
        headers = ("WORKER", "NODE", "PID", "STATUS", "HEARTBEAT", "UP", "DONE", "QUEUES", "TAGS", "VERSION")
        click.echo(table(headers, [_row(row, now) for row in rows]))
    else:
        say("no workers")


def _row(row: WorkerRow, now: datetime) -> tuple[str, ...]:
    return (
        row.worker_id,
        clean(row.node),
        str(row.process_id),
        status(row.status),
        away(row.last_heartbeat, now),
        brief(now - row.started_at),
        str(row.jobs_processed),
        ",".join(row.queues) or "all",
        ",".join(tag for tag in row.tags if tag != host_tag(row.node)),
        row.version,
    )
