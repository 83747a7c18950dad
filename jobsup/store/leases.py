"""The leader's lease: one row with a holder, a term and an end. Renewing and resigning touch exactly that term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from jobsup.model import Lease
from jobsup.store import notifier
from jobsup.store.engine import Database
from jobsup.store.rows import SchedulerLock

LEADER = "leader"
"""The name of the one lock there is."""

NOBODY = ""
"""The holder after a resignation."""


@dataclass(frozen=True, slots=True)
class LeaderFacts:
    """The lease row as it stands; its holder may be dead."""

    holder: str
    node: str
    epoch: int
    acquired_at: datetime
    until: datetime


def current(database: Database) -> LeaderFacts | None:
    """Read who leads; None when nobody ever did."""
    with database.read() as connection:
        return _read(connection)


def acquire(
    database: Database, holder: str, node: str, duration: timedelta, *, is_dead: Callable[[str], bool] | None = None
) -> Lease | None:
    """Begin a term of our own if the lease is free, resigned, past its end, ours, or its holder `is_dead`; else None.

    Every call that succeeds begins a new term (epoch + 1), so whatever an earlier self still has in flight is refused.
    """
    now = database.now()
    with database.write() as connection:
        found = _read(connection)
        epoch = 1 if found is None else found.epoch + 1
        values = {
            "holder": holder,
            "node": node,
            "epoch": epoch,
            "acquired_at": now,
            "dispatch_lock_until": now + duration,
        }
        if found is None:
            connection.execute(insert(SchedulerLock).values(name=LEADER, **values))
        elif not _is_free(found, holder, now, is_dead) or not _replace(connection, found, values):
            return None
    return Lease(holder, epoch, now + duration)


def renew(database: Database, lease: Lease, duration: timedelta) -> Lease | None:
    """Prolong exactly this term; None when somebody else has begun one."""
    until = database.now() + duration
    with database.write() as connection:
        renewed = connection.execute(
            update(SchedulerLock)
            .where(
                SchedulerLock.name == LEADER, SchedulerLock.holder == lease.holder, SchedulerLock.epoch == lease.epoch
            )
            .values(dispatch_lock_until=until)
        )
    return Lease(lease.holder, lease.epoch, until) if renewed.rowcount == 1 else None


def resign(database: Database, lease: Lease) -> None:
    """End this term now, if it still is ours, and wake the others."""
    now = database.now()
    with database.write() as connection:
        connection.execute(
            update(SchedulerLock)
            .where(
                SchedulerLock.name == LEADER, SchedulerLock.holder == lease.holder, SchedulerLock.epoch == lease.epoch
            )
            .values(holder=NOBODY, dispatch_lock_until=now)
        )
    notifier.wake(database, "scheduler")


def holds(connection: Connection, lease: Lease) -> bool:
    """Say, inside a transaction, whether this term is still the current one."""
    found = _read(connection)
    return found is not None and (found.holder, found.epoch) == (lease.holder, lease.epoch)


def _read(connection: Connection) -> LeaderFacts | None:
    row = connection.execute(
        select(
            SchedulerLock.holder,
            SchedulerLock.node,
            SchedulerLock.epoch,
            SchedulerLock.acquired_at,
            SchedulerLock.dispatch_lock_until,
        ).where(SchedulerLock.name == LEADER)
    ).one_or_none()
    return None if row is None else LeaderFacts(*row)


def _is_free(found: LeaderFacts, holder: str, now: datetime, is_dead: Callable[[str], bool] | None) -> bool:
    if found.holder in (NOBODY, holder) or found.until <= now:
        return True
    return is_dead is not None and is_dead(found.holder)


def _replace(connection: Connection, found: LeaderFacts, values: dict[str, object]) -> bool:
    """Take the row over only as it was read: two that want it at once cannot both have it."""
    taken = connection.execute(
        update(SchedulerLock)
        .where(SchedulerLock.name == LEADER, SchedulerLock.epoch == found.epoch, SchedulerLock.holder == found.holder)
        .values(**values)
    )
    return taken.rowcount == 1
