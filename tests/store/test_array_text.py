"""Many values given to PostgreSQL as the words of an array arrive as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text

from jobsup.model import Status
from jobsup.store.array_text import array_text
from jobsup.store.engine import Database

AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
VALUES: dict[str, tuple[str, list[Any]]] = {
    "texts": ("text", ["", "NULL", 'a "b" \\ c', "{1,2}", "ö\n\t'", None, " spaces "]),
    "one text many times": ("text", ["same", "same", "same"]),
    "only nothing": ("text", [None, None]),
    "no values": ("bigint", []),
    "members of an enum": ("text", [Status.FAILED, Status.COMPLETED]),
    "numbers": ("bigint", [0, -1, 2**62, None]),
    "fractions": ("float", [0.1, 1e-300, float("inf"), None]),
    "truths": ("boolean", [True, False, None]),
    "instants": ("timestamptz", [AT, AT.astimezone(timezone(timedelta(hours=-3, minutes=-30))), None]),
    "bytes": ("bytea", [b"", bytes(range(256)), b'\\x00"', None]),
}


@pytest.mark.only("postgresql", "SQLite has no arrays")
@pytest.mark.parametrize("name", VALUES)
def test_values_arrive_as_they_were(db: Database, name: str) -> None:
    kind, values = VALUES[name]
    with db.read() as connection:
        found = connection.execute(text(f"SELECT CAST(:words AS {kind}[])"), {"words": array_text(values)}).scalar_one()
    assert found == values


def test_no_array_is_none() -> None:
    assert array_text(None) is None
