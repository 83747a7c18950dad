"""Hosts and their workers: who leads, who works, who was last heard of when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from jobsup.actions.health import leads
from jobsup.model import Status
from jobsup.store import history, overview, workers
from jobsup.store.engine import Database
from jobsup.store.history import Wanted
from jobsup.store.hosts import LEASE_HEARTBEATS
from jobsup.store.overview import Summary
from jobsup.store.run_rows import RunLine
from jobsup.store.workers import WorkerRow

RUNNING_MAX = 500
OFFLINE_MAX = 50


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker and what it does."""

    row: WorkerRow
    runs: tuple[RunLine, ...]
    is_silent: bool
    """Not heard of for longer than a live one would be."""


@dataclass(frozen=True, slots=True)
class Host:
    """The workers of one node."""

    node: str
    is_leader: bool
    stands_by: bool
    """It has a scheduler that would lead if the leader were gone."""
    workers: tuple[Worker, ...]

    @property
    def places(self) -> int:
        return sum(worker.row.concurrency for worker in self.workers)

    @property
    def busy(self) -> int:
        return sum(len(worker.runs) for worker in self.workers)


@dataclass(frozen=True, slots=True)
class Workers:
    """The whole fleet."""

    at: datetime
    summary: Summary
    leads: bool
    hosts: tuple[Host, ...]
    gone: tuple[WorkerRow, ...]
    """Those that stopped or were lost, the last heard of first."""


def workers_of(database: Database) -> Workers:
    """Read who is there and what they do."""
    summary = overview.summary(database)
    wanted = Wanted(statuses=frozenset({Status.IN_PROGRESS}))
    running = history.page(database, wanted, rows=RUNNING_MAX).runs
    rows = workers.list_workers(database, include_offline=True)
    here = [row for row in rows if row.status != "OFFLINE"]
    gone = sorted((row for row in rows if row.status == "OFFLINE"), key=lambda row: row.last_heartbeat, reverse=True)
    return Workers(
        summary.at,
        summary,
        leads(summary),
        tuple(_hosts(here, running, summary)),
        tuple(gone[:OFFLINE_MAX]),
    )


def _hosts(rows: Sequence[WorkerRow], running: Sequence[RunLine], summary: Summary) -> list[Host]:
    """Return each node that has workers or a scheduler."""
    leader = summary.leader.node if summary.leader is not None and leads(summary) else ""
    groups = {node: list(group) for node, group in groupby(rows, key=lambda row: row.node)}
    return [
        Host(
            node,
            node == leader,
            node != leader and node in summary.standbys,
            tuple(_worker(row, running, summary.at) for row in groups.get(node, ())),
        )
        for node in sorted({*groups, *summary.standbys, leader} - {""})
    ]


def _worker(row: WorkerRow, running: Sequence[RunLine], now: datetime) -> Worker:
    own = tuple(run for run in running if run.worker_id == row.worker_id)
    return Worker(row, own, now - row.last_heartbeat > row.heartbeat_interval * LEASE_HEARTBEATS)
