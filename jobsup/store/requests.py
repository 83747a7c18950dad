"""Requests with a key of their sender's: the same one twice, for whatever reason, is done once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobsup.errors import ConflictError
from jobsup.store.engine import Database
from jobsup.store.portal_rows import PortalRequest
from jobsup.store.users import hash_secret

KEPT = timedelta(days=1)
"""How long a key is remembered."""
KEY_CHARS_MAX = 255


def once(database: Database, key: str, body: str, make: Callable[[], int]) -> tuple[int, bool]:
    """Make a run, unless this key has made one: then return that one's id, and False.

    ConflictError when the key came with another `body`, or with the same one a moment ago and nothing is known of
    its run yet.
    """
    key_hash, body_hash, now = hash_secret(key), hash_secret(body), database.now()
    try:
        with database.write() as connection:
            connection.execute(delete(PortalRequest).where(PortalRequest.created_at < now - KEPT))
            connection.execute(insert(PortalRequest).values(key_hash=key_hash, body_hash=body_hash, created_at=now))
    except IntegrityError:
        return _known(database, key_hash, body_hash), False
    mine = PortalRequest.key_hash == key_hash
    try:
        made = make()
    except Exception:
        with database.write() as connection:
            connection.execute(delete(PortalRequest).where(mine))
        raise
    with database.write() as connection:
        connection.execute(update(PortalRequest).where(mine).values(dispatch_id=made))
    return made, True


def _known(database: Database, key_hash: str, body_hash: str) -> int:
    with database.read() as connection:
        statement = select(PortalRequest.body_hash, PortalRequest.dispatch_id)
        row = connection.execute(statement.where(PortalRequest.key_hash == key_hash)).one_or_none()
    if row is not None and row.body_hash != body_hash:
        raise ConflictError("this idempotency key came with another request: take a new key for a new request")
    if row is None or row.dispatch_id is None:
        raise ConflictError("the request with this idempotency key is being worked on: ask again in a moment")
    return int(row.dispatch_id)
