"""Statements in the database's own words: made once for a dialect, and never looked through again.

SQLAlchemy finds the text of a statement by walking it whole each time, which costs more than the database does, and
makes every piece of it private to a process that was forked.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Compiled, Connection, CursorResult, Dialect, Select

_made: WeakKeyDictionary[Dialect, dict[Select[Any], Compiled]] = WeakKeyDictionary()


def fetch(connection: Connection, statement: Select[Any], given: dict[str, Any]) -> CursorResult[Any]:
    """Run a query that its module keeps, with values for its parameters."""
    known = _made.setdefault(connection.dialect, {})
    made = known.get(statement)
    if made is None:
        made = known[statement] = statement.compile(dialect=connection.dialect)
    result: CursorResult[Any] = connection.execute(made, given)  # type: ignore[call-overload]  # undeclared, but meant
    return result
