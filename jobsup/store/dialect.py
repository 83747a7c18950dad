"""What the two databases say differently, and why."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Compiled, Connection, Dialect, func, select

if TYPE_CHECKING:
    from jobsup.store.models import Base


def insert_for(model: type[Base], *, is_server: bool) -> Any:
    """Begin an INSERT of a dialect's own, which can pass over rows that a unique index forbids."""
    name = "postgresql" if is_server else "sqlite"
    return importlib.import_module(f"sqlalchemy.dialects.{name}").insert(model)  # the other one is large


def insert_new(connection: Connection, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, passing over those a unique index forbids; only the dialects' own INSERT can say so."""
    if rows:
        made = _made_insert(connection.dialect, model, tuple(rows[0]))
        connection.execute(made, list(rows))  # type: ignore[call-overload]  # undeclared, but meant


_made: WeakKeyDictionary[Dialect, dict[tuple[type[Base], tuple[str, ...]], Compiled]] = WeakKeyDictionary()
"""Core keeps no INSERT of a dialect's own, and would make its text anew each time."""


def _made_insert(dialect: Dialect, model: type[Base], columns: tuple[str, ...]) -> Compiled:
    known = _made.setdefault(dialect, {})
    made = known.get((model, columns))
    if made is None:
        new = insert_for(model, is_server=dialect.name != "sqlite").on_conflict_do_nothing()
        made = known[model, columns] = new.compile(dialect=dialect, column_keys=list(columns), for_executemany=True)
    return made


def one_at_a_time(connection: Connection, what: str) -> None:
    """Let only one transaction of this schema do this until it ends; SQLite has one writer at a time anyway."""
    if connection.dialect.name != "sqlite":
        key = func.hashtextextended(func.current_setting("search_path").concat(f":jobsup:{what}"), 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
