"""Tokens of programs: for the API, with scopes, or for the one address that starts one job."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobsup.config.report import hint
from jobsup.errors import ConflictError, NotFoundError, UsageError
from jobsup.model import Role
from jobsup.store.engine import Database
from jobsup.store.portal_rows import PortalToken
from jobsup.store.users import NAME, hash_secret

SCOPES = ("read", "run", "cancel", "pause", "edit", "manage")
"""What a token may be allowed: to read everything but users, tokens and the audit; to run and retry; to cancel; to
pause and resume; to change definitions of jobs; and what only an admin may."""
ROLE_SCOPES = {
    Role.VIEWER: SCOPES[:1],
    Role.OPERATOR: SCOPES[:4],
    Role.AUTHOR: SCOPES[:5],
    Role.ADMIN: SCOPES,
}
"""A role's name stands for all that the role may."""
HOOK_SCOPE = "hook"
PREFIX = "jobsup_"
"""By which a token is known for one where it should not be."""
USED_STEP = timedelta(minutes=1)
"""How exact `last_used_at` is: it must not cost a write for each request."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret."""

    id: int
    name: str
    scopes: tuple[str, ...]
    job: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None


def create(
    database: Database,
    name: str,
    scopes: Sequence[str],
    *,
    by: str,
    job: str | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Make a token and return its secret, which nothing shows again. With `job` it starts that one and does no more.

    A scope may also be a role's name.
    """
    scopes = [each for scope in scopes for each in _meant(scope)]
    _check(database, name, scopes, job, expires_at)
    secret = PREFIX + secrets.token_urlsafe(32)
    values = {
        "name": name,
        "token_hash": hash_secret(secret),
        "scopes": [HOOK_SCOPE] if job else sorted(set(scopes)),
        "job": job,
        "created_at": database.now(),
        "created_by": by,
        "expires_at": expires_at,
    }
    try:
        with database.write() as connection:
            connection.execute(insert(PortalToken).values(values))
    except IntegrityError:
        raise ConflictError(f'token "{name}" exists: revoke it, or take another name') from None
    return secret


def find(database: Database, secret: str) -> Token | None:
    """Return the token of a secret, and note that it is used; None when there is none, or it has expired."""
    now = database.now()
    with database.read() as connection:
        statement = _TOKENS.where(PortalToken.token_hash == hash_secret(secret))
        row = connection.execute(statement).mappings().one_or_none()
    token = None if row is None else _token(row)
    if token is None or (token.expires_at is not None and token.expires_at <= now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= USED_STEP:
        with database.write() as connection:
            connection.execute(update(PortalToken).where(PortalToken.id == token.id).values(last_used_at=now))
    return token


def list_tokens(database: Database) -> list[Token]:
    """Read all tokens by name."""
    with database.read() as connection:
        return [_token(row) for row in connection.execute(_TOKENS.order_by(PortalToken.name)).mappings()]


def revoke(database: Database, name: str) -> None:
    """Delete a token; NotFoundError names the nearest."""
    with database.write() as connection:
        if not connection.execute(delete(PortalToken).where(PortalToken.name == name)).rowcount:
            known = connection.execute(select(PortalToken.name)).scalars()
            raise NotFoundError(f'no token is called "{name}"{hint(name, known)}')


_TOKENS = select(
    PortalToken.id,
    PortalToken.name,
    PortalToken.scopes,
    PortalToken.job,
    PortalToken.created_at,
    PortalToken.created_by,
    PortalToken.expires_at,
    PortalToken.last_used_at,
)


def _check(database: Database, name: str, scopes: Sequence[str], job: str | None, expires_at: datetime | None) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(f"token name {name!r}: up to 64 letters, digits, dots, hyphens, underscores and @")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        known = ", ".join((*SCOPES, *Role))
        raise UsageError(f"unknown scope {unknown[0][:40]!r}: one of {known}")
    if bool(scopes) == bool(job):
        raise UsageError(f"say what the token may do: scopes ({', '.join(SCOPES)}), or the one job that it starts")
    if expires_at is not None and expires_at <= database.now():
        raise UsageError("the token would have expired already")


def _meant(scope: str) -> tuple[str, ...]:
    return ROLE_SCOPES[Role(scope)] if scope in list(Role) else (scope,)


def _token(row: Any) -> Token:
    return Token(**{**row, "scopes": tuple(row["scopes"])})
