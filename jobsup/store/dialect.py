"""What the two databases say differently, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

if TYPE_CHECKING:
    from jobsup.store.models import Base


def insert_new(connection: Connection, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, passing over those a unique index forbids; only the dialects' own INSERT can say so."""
    connection.execute(_insert(connection.dialect.name)(model).on_conflict_do_nothing(), list(rows))


def _insert(dialect: str) -> Any:
    """Return a dialect's own INSERT; of the two only the one in use is loaded, as the other takes megabytes."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert


def one_at_a_time(connection: Connection, what: str) -> None:
    """Let only one transaction of this schema do this until it ends; SQLite has one writer at a time anyway."""
    if connection.dialect.name != "sqlite":
        key = func.hashtextextended(func.current_setting("search_path").concat(f":jobsup:{what}"), 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
