"""What people did, and what they were refused: written once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from jobsup.store.engine import Database
from jobsup.store.portal_rows import Audit

DONE = "done"
REFUSED = "refused"

LAST_DEFAULT = 50
LAST_MAX = 10_000
SUBJECT_CHARS_MAX = 255
ACTOR_CHARS_MAX = 255
ADDRESS_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that was done, or refused."""

    id: int
    at: datetime
    actor: str
    origin: str
    address: str
    verb: str
    subject: str
    outcome: str
    detail: dict[str, Any]


def record(
    database: Database,
    *,
    actor: str,
    origin: str,
    verb: str,
    subject: str,
    address: str = "",
    outcome: str = DONE,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write down who did what to what; never hand it a secret."""
    record_each(
        database, {subject: detail or {}}, actor=actor, origin=origin, verb=verb, address=address, outcome=outcome
    )


def record_each(
    database: Database,
    details: Mapping[str, Mapping[str, Any]],
    *,
    actor: str,
    origin: str,
    verb: str,
    address: str = "",
    outcome: str = DONE,
) -> None:
    """Write down who did the same to several, in one transaction: `details` by subject."""
    shared = {"at": database.now(), "actor": actor[:ACTOR_CHARS_MAX], "origin": origin, "verb": verb}
    shared |= {"address": address[:ADDRESS_CHARS_MAX], "outcome": outcome}
    rows = [
        {**shared, "subject": subject[:SUBJECT_CHARS_MAX], "detail": dict(detail)}
        for subject, detail in details.items()
    ]
    with database.write() as connection:
        connection.execute(insert(Audit), rows)


def entries(
    database: Database,
    *,
    subject: str | None = None,
    actor: str | None = None,
    verb: str | None = None,
    since: datetime | None = None,
    before: int | None = None,
    last: int = LAST_DEFAULT,
) -> list[AuditRow]:
    """Read the newest `last` entries, newest first, that meet every condition given; `before` is an id."""
    statement = select(Audit.__table__).order_by(Audit.id.desc()).limit(min(last, LAST_MAX))
    if subject is not None:
        statement = statement.where(Audit.subject == subject)
    if actor is not None:
        statement = statement.where(Audit.actor == actor)
    if verb is not None:
        statement = statement.where(Audit.verb == verb)
    if since is not None:
        statement = statement.where(Audit.at >= since)
    if before is not None:
        statement = statement.where(Audit.id < before)
    with database.read() as connection:
        return [AuditRow(**row) for row in connection.execute(statement).mappings()]
