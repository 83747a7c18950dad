"""Database URLs: which are understood, what a relative one means, and how to show one without its password."""

from __future__ import annotations

import re
from pathlib import Path

from jobsup.config import places
from jobsup.config.report import hint

MASK = "***"

_SQLITE = re.compile(r"(?P<scheme>sqlite(?:\+pysqlite)?):///(?P<path>[^?]+)(?P<query>\?.*)?", re.DOTALL)
_SCHEMES = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_USER_PASSWORD = re.compile(r"^([A-Za-z0-9+]+://[^:/@?]*):.*@(?=[^@]*$)", re.DOTALL)
_QUERY_PASSWORD = re.compile(r"([?&](?:password|sslpassword|passfile)=)[^&]*", re.IGNORECASE)


def fault(url: str) -> str | None:
    """Return the sentence that says why a URL cannot be used, or None."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return f'"{masked(url)}" is not a database URL: write it like "sqlite:///jobsup.db"'
    if scheme == "postgres":
        return 'write "postgresql://" for "postgres://"'
    if scheme not in _SCHEMES:
        return f'"{scheme}" is not a known database (sqlite, postgresql){hint(scheme, _SCHEMES)}'
    if scheme.startswith("sqlite"):
        return _sqlite_fault(rest)
    return None


def _sqlite_fault(rest: str) -> str | None:
    path = rest.partition("?")[0]
    if path in ("", "/", "/:memory:", ":memory:"):
        return 'an in-memory database cannot be shared by processes: write "sqlite:///jobsup.db"'
    if not path.startswith("/"):
        return f'a SQLite URL has three slashes: write "sqlite:///{path}"'
    return None


def absolute(url: str, base: Path) -> str:
    """Return the URL with a relative SQLite path taken from the folder `base`; others as they are."""
    match = _SQLITE.fullmatch(url)
    if match is None:
        return url
    return f"{match['scheme']}:///{places.absolute(match['path'], base)}{match['query'] or ''}"


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for a database server."""
    match = _SQLITE.fullmatch(url)
    return Path(match["path"]) if match else None


def masked(url: str) -> str:
    """Return the URL as it may be shown: without any password."""
    return _QUERY_PASSWORD.sub(rf"\1{MASK}", _USER_PASSWORD.sub(rf"\1:{MASK}@", url))
