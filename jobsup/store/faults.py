"""What a driver says when something is wrong, as an error that tells a person which database and what to do."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from jobsup.errors import DatabaseError, DatabaseUnavailableError


class CommitUnknownError(DatabaseUnavailableError):
    """The connection was lost while the database was committing: what was sent is written wholly, or not at all."""


class CollisionError(DatabaseUnavailableError):
    """Another transaction was in the way and nothing was written: the same work can be done once more at once."""


Words = tuple[tuple[str, ...], type[DatabaseError], str]
"""Words or codes to look for, whether waiting may help, and what to tell a person."""


def find(said: str, known: tuple[Words, ...]) -> tuple[type[DatabaseError], str] | None:
    """Return the first explanation of which a word occurs in what was said."""
    lowered = said.lower()
    return next(((kind, advice) for words, kind, advice in known if any(word in lowered for word in words)), None)


def one_line(error: DBAPIError) -> str:
    """Return the driver's own words without their line breaks."""
    return " ".join(str(error.orig).split())
