"""The hosts there are, by the workers they have: where a job that runs on each of them is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, bindparam, func, or_, select

from jobsup.model import WorkerStatus
from jobsup.store.column_types import UtcDateTime
from jobsup.store.engine import Database
from jobsup.store.made import fetch
from jobsup.store.rows import WorkerRegistration

LEASE_HEARTBEATS = 4
"""A worker elsewhere is lost once it has not been heard of for this many of its own heartbeat intervals."""
HOST_GRACE = timedelta(seconds=60)
"""A host belongs to those that live until so long after its last worker was heard of: what comes due while it restarts
waits for it instead of passing it over."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that lives."""

    node: str
    offers: tuple[tuple[frozenset[str], frozenset[str]], ...]
    """Of each of its workers the queues it serves (none: all) and its tags."""

    def can_run(self, queue: str, requires: frozenset[str]) -> bool:
        return any((not queues or queue in queues) and requires <= tags for queues, tags in self.offers)


def living(connection: Connection, now: datetime) -> list[Host]:
    """Return the hosts that live, by name; when none does (all have been down), those that lived last.

    A worker is there until it is found to be gone, which is not judged here: after the database was away nobody has
    been heard of for long. A host's workers that are there decide what it offers; those it had, only when none is
    there at the moment.
    """
    rows = fetch(connection, _HEARD_OF, {"since": now - HOST_GRACE}).all()
    if not rows and (latest := fetch(connection, _LAST_SIGN, {}).scalar_one()) is not None:
        rows = fetch(connection, _HEARD_OF, {"since": latest - HOST_GRACE}).all()
    found = []
    for node, group in groupby(rows, key=lambda row: row.node):
        had = list(group)
        there = [row for row in had if row.status != WorkerStatus.OFFLINE]
        offers = {(frozenset(row.queues), frozenset(row.tags)) for row in there or had}
        found.append(Host(node, tuple(offers)))
    return found


def living_now(database: Database) -> list[Host]:
    """Return the same as of this moment."""
    with database.read() as connection:
        return living(connection, database.now())


def able(hosts: Sequence[Host], queue: str, requires: Iterable[str]) -> list[str]:
    """Return the names of those hosts that have a worker which could take such a run."""
    wanted = frozenset(requires)
    return [host.node for host in hosts if host.can_run(queue, wanted)]


def known(database: Database) -> list[str]:
    """Return the names of all hosts whose workers are still written down, living or not."""
    with database.read() as connection:
        return sorted(connection.execute(select(WorkerRegistration.node).distinct()).scalars())


_LAST_SIGN = select(func.max(WorkerRegistration.last_heartbeat, type_=UtcDateTime()))
_HEARD_OF = (
    select(
        WorkerRegistration.node,
        WorkerRegistration.status,
        WorkerRegistration.queues,
        WorkerRegistration.tags,
    )
    .where(
        or_(
            WorkerRegistration.status != WorkerStatus.OFFLINE,
            WorkerRegistration.last_heartbeat >= bindparam("since", type_=UtcDateTime()),
        )
    )
    .order_by(WorkerRegistration.node)
)
