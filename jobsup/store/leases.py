"""The leader's lease: one row with a holder, a term and an end. Renewing and resigning touch exactly that term."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, String, Update, literal_column, select, update

from jobsup.model import Lease
from jobsup.runtime import failpoints
from jobsup.store import notifier
from jobsup.store.column_types import UtcDateTime
from jobsup.store.dialect import insert_for, insert_new
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.rows import SchedulerLock
from jobsup.store.statements import Given, Statement

LEADER = "leader"
"""The name of the one lock there is."""
STANDBY_HEX_DIGITS = 16
"""Of a hash of the node's name, which may be longer than the name of a row."""

NOBODY = ""
"""The holder after a resignation."""
_STANDBY = "standby-"
"""How the names of the rows begin by which schedulers that do not lead say that they are there."""


@dataclass(frozen=True, slots=True)
class LeaderFacts:
    """The lease row as it stands; its holder may be dead."""

    holder: str
    node: str
    epoch: int
    acquired_at: datetime
    until: datetime
    renewed_at: datetime | None
    """None: by a version that did not say."""


def current(database: Database) -> LeaderFacts | None:
    """Read who leads; None when nobody ever did."""
    with database.look() as direct:
        return _read(direct)


def acquire(
    database: Database, holder: str, node: str, duration: timedelta, *, is_dead: Callable[[str], bool] | None = None
) -> Lease | None:
    """Begin a term of our own if the lease is free, resigned, past its end, ours, or its holder `is_dead`; else None.

    Every call that succeeds begins a new term (epoch + 1), so whatever an earlier self still has in flight is refused.
    """

    def take(direct: Direct) -> Lease | None:
        now = database.now()
        found = _read(direct)
        epoch = 1 if found is None else found.epoch + 1
        values = {"ours": holder, "host": node, "next": epoch, "until": now + duration, "now": now}
        if found is None:
            direct.run(_BEGIN, values)
            taken = holds(direct, Lease(holder, epoch, now))  # two may have come first at once
        else:
            taken = _is_free(found, holder, now, is_dead) and _replace(direct, found, values)
        failpoints.reach("lease.before_acquire")
        return Lease(holder, epoch, now + duration) if taken else None

    return database.transact_directly(take)


def renew(database: Database, lease: Lease, duration: timedelta) -> Lease | None:
    """Prolong exactly this term; None when somebody else has begun one."""
    with database.directly(is_lasting=False) as direct:
        now = database.now()
        until = now + duration
        renewed = direct.run(_RENEW, {"of": lease.holder, "term": lease.epoch, "until": until, "now": now})
    return Lease(lease.holder, lease.epoch, until) if renewed == 1 else None


def resign(database: Database, lease: Lease) -> None:
    """End this term now, if it still is ours, and wake the others."""
    with database.directly() as direct:
        direct.run(_RESIGN, {"of": lease.holder, "term": lease.epoch, "until": database.now()})
        notifier.wake(database, "scheduler")


def stand_by(database: Database, node: str, duration: timedelta) -> None:
    """Say that a scheduler of this host is there and does not lead; it counts for so long."""
    now = database.now()
    until = now + duration
    row = {"name": _standby_name(node), "holder": NOBODY, "node": node, "epoch": 0, "acquired_at": now}
    with database.directly(is_lasting=False) as direct:
        if direct.run(_STAND_BY, {"row": row["name"], "until": until, "now": now}) == 0:
            insert_new(direct.core, SchedulerLock, [{**row, "dispatch_lock_until": until, "renewed_at": now}])


def standing_by(database: Database) -> list[str]:
    """Return the hosts whose scheduler stands by, by name."""
    with database.read() as connection:
        found = select(SchedulerLock.node).where(
            SchedulerLock.name.startswith(_STANDBY), SchedulerLock.dispatch_lock_until > database.now()
        )
        return sorted(connection.execute(found).scalars())


def _standby_name(node: str) -> str:
    return _STANDBY + hashlib.sha256(node.encode()).hexdigest()[:STANDBY_HEX_DIGITS]


def holds(direct: Direct, lease: Lease) -> bool:
    """Say whether this term is the current one, and let no other begin before the transaction ends."""
    found = _read(direct, keep=True)
    return found is not None and (found.holder, found.epoch) == (lease.holder, lease.epoch)


def _read(direct: Direct, *, keep: bool = False) -> LeaderFacts | None:
    rows = direct.fetch(_READ_AND_KEEP if keep else _READ, {})
    return LeaderFacts(*rows[0]) if rows else None


def _this_term(given: Given) -> Update:
    return update(SchedulerLock).where(
        SchedulerLock.name == literal_column(f"'{LEADER}'"),
        SchedulerLock.holder == given.one("of", String()),
        SchedulerLock.epoch == given.one("term", BigInteger()),
    )


def _prolonged(given: Given) -> dict[str, Any]:
    return {"dispatch_lock_until": given.one("until", UtcDateTime()), "renewed_at": given.one("now", UtcDateTime())}


def _new_term(given: Given) -> dict[str, Any]:
    return {
        "holder": given.one("ours", String()),
        "node": given.one("host", String()),
        "epoch": given.one("next", BigInteger()),
        "acquired_at": given.one("now", UtcDateTime()),
        **_prolonged(given),
    }


_BEGIN = Statement(
    lambda given: (
        insert_for(SchedulerLock, is_server=given.is_server)
        .values(name=literal_column(f"'{LEADER}'"), **_new_term(given))
        .on_conflict_do_nothing()
    )
)
_TAKE_OVER = Statement(
    lambda given: (
        _this_term(given)
        .where(SchedulerLock.dispatch_lock_until == given.one("end", UtcDateTime()))
        .values(**_new_term(given))
    )
)
_RENEW = Statement(lambda given: _this_term(given).values(**_prolonged(given)))
_RESIGN = Statement(
    lambda given: _this_term(given).values(holder=NOBODY, dispatch_lock_until=given.one("until", UtcDateTime()))
)
_STAND_BY = Statement(
    lambda given: (
        update(SchedulerLock).where(SchedulerLock.name == given.one("row", String())).values(**_prolonged(given))
    )
)
_LEADER = select(
    SchedulerLock.holder,
    SchedulerLock.node,
    SchedulerLock.epoch,
    SchedulerLock.acquired_at,
    SchedulerLock.dispatch_lock_until,
    SchedulerLock.renewed_at,
).where(SchedulerLock.name == literal_column(f"'{LEADER}'"))
_READ = Statement(lambda _: _LEADER)
_READ_AND_KEEP = Statement(lambda _: _LEADER.with_for_update(read=True))


def _is_free(found: LeaderFacts, holder: str, now: datetime, is_dead: Callable[[str], bool] | None) -> bool:
    if found.holder in (NOBODY, holder) or found.until <= now:
        return True
    return is_dead is not None and is_dead(found.holder)


def _replace(direct: Direct, found: LeaderFacts, values: dict[str, object]) -> bool:
    """Take the row over only as it was read: two that want it at once cannot both have it."""
    as_read = {"of": found.holder, "term": found.epoch, "end": found.until}
    return direct.run(_TAKE_OVER, {**as_read, **values}) == 1
