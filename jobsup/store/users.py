"""Who may sign in to the portal, and which browsers have."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobsup.config.report import hint
from jobsup.errors import ConflictError, NotFoundError, UsageError
from jobsup.model import Role
from jobsup.store.engine import Database
from jobsup.store.portal_rows import PortalSession, PortalSetup, PortalUser

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", re.ASCII)
SESSIONS_MAX = 32
"""Sessions of one user; a further one ends the oldest."""
AGENT_CHARS_MAX = 255
ADDRESS_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class User:
    """A user as everybody may see them."""

    id: int
    name: str
    role: Role
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in."""

    token_hash: str
    user: User
    created_at: datetime
    expires_at: datetime
    address: str
    agent: str


def add(database: Database, name: str, role: Role, password_hash: str) -> User:
    """Make a user; UsageError for a name that cannot be one, ConflictError for one that is taken."""
    if not NAME.fullmatch(name):
        raise UsageError(f"user name {name!r}: up to 64 letters, digits, dots, hyphens, underscores and @")
    now = database.now()
    values = {"name": name, "role": role, "password_hash": password_hash, "created_at": now, "updated_at": now}
    try:
        with database.write() as connection:
            connection.execute(insert(PortalUser).values(values))
            return _get(connection, name)
    except IntegrityError:
        raise ConflictError(f'user "{name}" exists: `jobsup user passwd` and `jobsup user role` change them') from None


def add_first(database: Database, name: str, password_hash: str) -> User:
    """Make the first user, an admin; ConflictError when there is one already, whoever came first."""
    if not NAME.fullmatch(name):
        raise UsageError(f"user name {name!r}: up to 64 letters, digits, dots, hyphens, underscores and @")
    now = database.now()
    with database.write() as connection:
        if connection.execute(select(func.count()).select_from(PortalUser)).scalar_one():
            raise ConflictError("the portal is set up already: sign in")
        connection.execute(
            insert(PortalUser).values(
                name=name, role=Role.ADMIN, password_hash=password_hash, created_at=now, updated_at=now
            )
        )
        connection.execute(delete(PortalSetup))
        return _get(connection, name)


def open_setup(database: Database, token: str) -> None:
    """Let this token make the first user; each host has one of its own."""
    with database.write() as connection:
        connection.execute(insert(PortalSetup).values(token_hash=hash_secret(token), created_at=database.now()))


def opens_setup(database: Database, token: str) -> bool:
    """Say whether a token may make the first user of this database."""
    statement = select(func.count()).select_from(PortalSetup).where(PortalSetup.token_hash == hash_secret(token))
    with database.read() as connection:
        return bool(token) and connection.execute(statement).scalar_one() > 0


def set_password(database: Database, name: str, password_hash: str) -> User:
    """Change a password; every session of the user ends."""
    with database.write() as connection:
        user = _get(connection, name)
        _update(connection, user, password_hash=password_hash, updated_at=database.now())
        connection.execute(delete(PortalSession).where(PortalSession.user_id == user.id))
    return user


def set_role(database: Database, name: str, role: Role) -> User:
    """Give a user another role; ConflictError when no admin would be left."""
    with database.write() as connection:
        user = _get(connection, name)
        if user.role is Role.ADMIN and role is not Role.ADMIN:
            _keep_an_admin(connection, name)
        _update(connection, user, role=role, updated_at=database.now())
        return _get(connection, name)


def remove(database: Database, name: str) -> User:
    """Delete a user and their sessions; ConflictError for the last admin."""
    with database.write() as connection:
        user = _get(connection, name)
        if user.role is Role.ADMIN:
            _keep_an_admin(connection, name)
        connection.execute(delete(PortalUser).where(PortalUser.id == user.id))
    return user


def list_users(database: Database) -> list[User]:
    """Read all users by name."""
    with database.read() as connection:
        return [_user(row) for row in connection.execute(_USERS.order_by(PortalUser.name)).mappings()]


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(PortalUser)).scalar_one())


def password_hash(database: Database, name: str) -> str | None:
    """Return what a user's password is compared with; None: there is no such user."""
    with database.read() as connection:
        found = connection.execute(select(PortalUser.password_hash).where(PortalUser.name == name))
        return found.scalar_one_or_none()


def begin_session(
    database: Database, name: str, checked_hash: str, *, lifetime: timedelta, address: str, agent: str
) -> str:
    """Sign a browser in and return the secret for its cookie.

    `checked_hash` is what the password was compared with: ConflictError when it has been changed since.
    """
    secret = secrets.token_urlsafe(32)
    now = database.now()
    with database.write() as connection:
        user = _get(connection, name)
        held = connection.execute(select(PortalUser.password_hash).where(PortalUser.id == user.id)).scalar_one()
        if held != checked_hash:
            raise ConflictError("the password was changed in this moment: sign in again")
        _make_room(connection, user.id, now)
        connection.execute(
            insert(PortalSession).values(
                token_hash=hash_secret(secret),
                user_id=user.id,
                created_at=now,
                expires_at=now + lifetime,
                address=address[:ADDRESS_CHARS_MAX],
                agent=agent[:AGENT_CHARS_MAX],
            )
        )
        _update(connection, user, last_login_at=now)
    return secret


def find_session(database: Database, secret: str) -> Session | None:
    """Return the session of a cookie; None when it never was one, or has ended."""
    sessions = _sessions(database, PortalSession.token_hash == hash_secret(secret))
    return sessions[0] if sessions else None


def sessions_of(database: Database, user_id: int) -> list[Session]:
    """Read the sessions of a user that have not ended, the newest first."""
    return _sessions(database, PortalSession.user_id == user_id)


def end_session(database: Database, secret: str) -> None:
    """Sign a browser out; that it is out already is fine."""
    with database.write() as connection:
        connection.execute(delete(PortalSession).where(PortalSession.token_hash == hash_secret(secret)))


def end_sessions(database: Database, user_id: int) -> int:
    """Sign all browsers of a user out; returns how many."""
    with database.write() as connection:
        return connection.execute(delete(PortalSession).where(PortalSession.user_id == user_id)).rowcount


def hash_secret(secret: str) -> str:
    """Return what is kept of a random secret: it has too many bits to be guessed from this."""
    return hashlib.sha256(secret.encode()).hexdigest()


_COLUMNS = (
    PortalUser.id,
    PortalUser.name,
    PortalUser.role,
    PortalUser.created_at,
    PortalUser.updated_at,
    PortalUser.last_login_at,
)
_USERS = select(*_COLUMNS)


def _sessions(database: Database, where: Any) -> list[Session]:
    statement = (
        select(
            *_COLUMNS,
            PortalSession.token_hash,
            PortalSession.created_at.label("begun_at"),
            PortalSession.expires_at,
            PortalSession.address,
            PortalSession.agent,
        )
        .join(PortalUser, PortalUser.id == PortalSession.user_id)
        .where(where, PortalSession.expires_at > database.now())
        .order_by(PortalSession.created_at.desc())
        .limit(SESSIONS_MAX)
    )
    with database.read() as connection:
        return [
            Session(
                token_hash=row["token_hash"],
                user=_user({column.key: row[column.key] for column in _COLUMNS}),
                created_at=row["begun_at"],
                expires_at=row["expires_at"],
                address=row["address"],
                agent=row["agent"],
            )
            for row in connection.execute(statement).mappings()
        ]


def _make_room(connection: Connection, user_id: int, now: datetime) -> None:
    connection.execute(delete(PortalSession).where(PortalSession.expires_at <= now))
    held = connection.execute(
        select(PortalSession.token_hash)
        .where(PortalSession.user_id == user_id)
        .order_by(PortalSession.created_at.desc())
        .offset(SESSIONS_MAX - 1)
    ).scalars()
    connection.execute(delete(PortalSession).where(PortalSession.token_hash.in_(list(held))))


def _keep_an_admin(connection: Connection, name: str) -> None:
    others = select(func.count()).select_from(PortalUser)
    others = others.where(PortalUser.role == Role.ADMIN, PortalUser.name != name)
    if not connection.execute(others).scalar_one():
        raise ConflictError(f'"{name}" is the only admin: make another one first')


def _get(connection: Connection, name: str) -> User:
    row = connection.execute(_USERS.where(PortalUser.name == name)).mappings().one_or_none()
    if row is None:
        known = connection.execute(select(PortalUser.name)).scalars()
        raise NotFoundError(f'no user is called "{name}"{hint(name, known)}')
    return _user(row)


def _update(connection: Connection, user: User, **values: Any) -> None:
    connection.execute(update(PortalUser).where(PortalUser.id == user.id).values(**values))


def _user(row: Any) -> User:
    return User(**{**row, "role": Role(row["role"])})
