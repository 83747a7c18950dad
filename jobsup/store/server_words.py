"""What a PostgreSQL server says when something is wrong, as errors that tell a person what to do."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError

from jobsup.errors import DatabaseError, DatabaseUnavailableError
from jobsup.store import faults
from jobsup.store.faults import CollisionError, Words


def is_read_only(error: DBAPIError) -> bool:
    """Say whether the server refused to write: it is a standby, or was one a moment ago."""
    return _code(error) == _READ_ONLY


def explain(error: DBAPIError, where: str) -> DatabaseError:
    """Turn what the driver says into one line that names the database and what to do."""
    code = _code(error)
    if code in _COLLISIONS:
        return CollisionError(f"database {where}: another transaction was in the way")
    found = faults.find(code, _BY_CODE) if code else None
    found = found or faults.find(str(error.orig), _BY_WORDS)
    if found is not None:
        return found[0](f"database {where}: {found[1]}")
    may_pass = isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError)
    kind = DatabaseUnavailableError if may_pass else DatabaseError
    return kind(f"database {where}: {faults.one_line(error)}")


def _code(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


_COLLISIONS = ("40001", "40P01")
_READ_ONLY = "25006"

_BY_CODE: tuple[Words, ...] = (
    (("25006",), DatabaseUnavailableError, "answers, but does not write: it is a standby, or set to read only"),
    (("57014",), DatabaseUnavailableError, "took too long for a statement: look for what slows the server down"),
    (("55p03",), DatabaseUnavailableError, "a lock was held for too long: look for a transaction that hangs"),
    (("53300",), DatabaseUnavailableError, "has no connection left: raise max_connections, or stop other clients"),
    (("53100", "53200"), DatabaseUnavailableError, "has no disk space or memory left: free some"),
    (("57p01", "57p02", "57p03", "25p03"), DatabaseUnavailableError, "ended the connection: it stops, or restarts"),
    (
        ("42p01", "42703", "3f000"),
        DatabaseError,
        "has not the tables of this version: run `jobsup db upgrade`",
    ),
    (("42501",), DatabaseError, "its user may not do this: grant it the schema and its tables"),
    (("3d000",), DatabaseError, "does not exist: create it"),
    (("28p01", "28000"), DatabaseError, "refuses the user or the password of the URL"),
)
_BY_WORDS: tuple[Words, ...] = (
    (("password authentication failed", "no pg_hba.conf entry", "no password supplied"), *_BY_CODE[-1][1:]),
    (("too many clients", "remaining connection slots", "too many connections"), *_BY_CODE[3][1:]),
    (("session is read-only", "session is not read-write"), *_BY_CODE[0][1:]),
    (('" does not exist',), DatabaseError, "has no such database or user: create it"),
)
"""What the server says when it lets nobody in, which comes without a code."""
