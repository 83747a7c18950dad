"""What waits for a worker now, by what it asks of one: the few kinds of waiting runs there are, not the runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select

from jobsup.store.column_types import UtcDateTime
from jobsup.store.engine import Database
from jobsup.store.made import fetch
from jobsup.store.requirements import tags_of
from jobsup.store.rows import WAITING, JobDispatch


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run asks of a worker."""

    queue: str
    requires: tuple[str, ...] = ()
    target: str = ""
    """The host it must run on; empty: any."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """All runs that wait and ask the same."""

    asked: Asked
    count: int
    first_id: int
    since: datetime
    """Since when the one that waits longest could have been started."""


def waiting(database: Database) -> list[Waiting]:
    """Read what waits and may be started by now, the longest waiting first."""
    with database.read() as connection:
        rows = fetch(connection, _KINDS, {"at": database.now()}).all()
    found = [
        Waiting(Asked(row.queue, tags_of(row.requires), row.target), row.number, row.first_id, row.since)
        for row in rows
    ]
    return sorted(found, key=lambda each: each.since)


_KINDS = (
    select(
        JobDispatch.queue,
        JobDispatch.requires,
        JobDispatch.target,
        func.count().label("number"),
        func.min(JobDispatch.id).label("first_id"),
        func.min(JobDispatch.available_at, type_=UtcDateTime()).label("since"),
    )
    .where(WAITING, JobDispatch.available_at <= bindparam("at", type_=UtcDateTime()))
    .group_by(JobDispatch.queue, JobDispatch.requires, JobDispatch.target)
)
