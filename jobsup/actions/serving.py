"""Who can take which run: the workers that live, what they serve, and the runs that wait for none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobsup.model import Status, WorkerStatus
from jobsup.runtime import procs
from jobsup.store import workers
from jobsup.store.engine import Database
from jobsup.store.hosts import LEASE_HEARTBEATS
from jobsup.store.requirements import tags_of
from jobsup.store.run_rows import RunRow
from jobsup.store.waiting import Asked, Waiting, waiting
from jobsup.store.workers import WorkerRow


@dataclass(frozen=True, slots=True)
class Unserved:
    """Runs that wait for a worker there is none of, and what is missing."""

    runs: Waiting
    lack: str
    """`no worker serves the queue "gpu"`."""


def living(database: Database) -> list[WorkerRow]:
    """Return the workers that are alive as far as can be seen from here."""
    now = database.now()
    here = (procs.boot_id(), procs.pid_namespace())
    return [
        row
        for row in workers.list_workers(database)
        if (
            procs.is_alive(row.process_id, row.process_started)
            if (row.boot_id, row.pid_namespace) == here
            else now - row.last_heartbeat < row.heartbeat_interval * LEASE_HEARTBEATS
        )
    ]


def serving(rows: Iterable[WorkerRow], asked: Asked) -> list[WorkerRow]:
    """Return those of some workers that can take a run which asks this of them."""
    return [
        row
        for row in rows
        if row.status is not WorkerStatus.DRAINING
        and _serves_queue(row, asked)
        and asked.target in ("", row.node)
        and set(asked.requires) <= set(row.tags)
    ]


def lack(rows: Sequence[WorkerRow], asked: Asked) -> str | None:
    """Say what is missing for a run that none of these workers can take; None when one can."""
    if serving(rows, asked):
        return None
    active = [row for row in rows if row.status is not WorkerStatus.DRAINING]
    if not active:
        return "no worker is running"
    if asked.target and not any(row.node == asked.target for row in active):
        return f"no worker is running on {asked.target}"
    if not any(_serves_queue(row, asked) for row in active):
        return f'no worker serves the queue "{asked.queue}"'
    where = f" on {asked.target}" if asked.target else ""
    if not asked.requires:
        return f'no worker{where} serves the queue "{asked.queue}"'
    return f'no worker{where} of the queue "{asked.queue}" has {_tag_words(asked.requires)}'


def lacks(database: Database, found: Iterable[RunRow]) -> dict[int, str]:
    """Say of the runs that wait for a worker there is none of what is missing, by their number."""
    waits = [run for run in found if run.status is Status.PENDING and run.available_at <= database.now()]
    present = living(database) if waits else []
    return {run.id: text for run in waits if (text := lack(present, asked_by(run))) is not None}


def unserved(database: Database, rows: Sequence[WorkerRow] | None = None) -> list[Unserved]:
    """Return what waits and can be taken by none of the workers (None: of those that live), longest waiting first."""
    kinds = waiting(database)
    if not kinds:
        return []
    present = living(database) if rows is None else rows
    return [Unserved(kind, missing) for kind in kinds if (missing := lack(present, kind.asked)) is not None]


def asked_by(run: RunRow) -> Asked:
    """Return what a run asks of a worker."""
    return Asked(run.queue, tags_of(run.requires), run.target)


def unserved_words(each: Unserved) -> str:
    """Say in a sentence which runs wait in vain, and what to do."""
    runs = each.runs
    which = f"run {runs.first_id} waits" if runs.count == 1 else f"{runs.count} runs wait, from run {runs.first_id} on,"
    return f"{which} for a worker: {each.lack}: {remedy(each)}"


def remedy(each: Unserved) -> str:
    """Say what would let them run."""
    asked = each.runs.asked
    if asked.target:
        return f"start one on {asked.target} (`jobsup start`), or cancel what waits for it"
    if asked.requires:
        return "start one that has (`[worker] tags`), or change what the job `requires`"
    return "start one (`jobsup start`)" if each.lack == "no worker is running" else "start one that does"


def _serves_queue(row: WorkerRow, asked: Asked) -> bool:
    return not row.queues or asked.queue in row.queues


def _tag_words(tags: Sequence[str]) -> str:
    return f"the tag {tags[0]}" if len(tags) == 1 else f"all the tags {', '.join(tags)}"
