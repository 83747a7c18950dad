"""What the two databases say differently, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from jobsup.store.models import Base


def insert_new(connection: Connection, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, passing over those a unique index forbids; only the dialects' own INSERT can say so."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(model).on_conflict_do_nothing(), list(rows))
