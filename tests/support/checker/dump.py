"""The tables as they stand, read with a driver and SQL of our own, from SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.checker.history import Attempt

ATTEMPTS = """
SELECT d.*, j.name AS job, coalesce(l.host, w.node) AS host, l.exit_code, l.log_output, l.output_dropped
FROM job_dispatch d JOIN job j ON j.id = d.job_id LEFT JOIN job_execution_log l ON l.dispatch_id = d.id
LEFT JOIN worker_registration w ON w.worker_id = d.worker_id ORDER BY d.id
"""
STATUSES = "SELECT id, status FROM job_dispatch"
INSTANTS = ("created_at", "scheduled_for", "skipped_until", "claimed_at", "started_at", "completed_at")
SAME = (
    "id", "job", "source", "status", "target", "reason", "retry_count", "retry_of", "skipped_count", "worker_id",
    "host", "epoch", "exit_code",
)  # fmt: skip
MICRO = 1e-6


def attempts_of_server(url: str, schema: str) -> tuple[Attempt, ...]:
    """Read all attempts from a PostgreSQL schema."""
    return tuple(_attempt(row) for row in _from_server(url, schema, ATTEMPTS))


def statuses_of_server(url: str, schema: str) -> dict[int, str]:
    """Read what each run is right now."""
    return {row["id"]: row["status"] for row in _from_server(url, schema, STATUSES)}


def attempts_of_file(path: Path) -> tuple[Attempt, ...]:
    """Read all attempts from a SQLite file."""
    return tuple(_attempt(row) for row in _from_file(path, ATTEMPTS))


def statuses_of_file(path: Path) -> dict[int, str]:
    """Read what each run is right now."""
    return {row["id"]: row["status"] for row in _from_file(path, STATUSES)}


def _from_server(url: str, schema: str, query: str) -> list[dict[str, Any]]:
    options = f"-c search_path={schema} -c statement_timeout=5000"
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=10, options=options) as connection:
        return connection.execute(query.encode()).fetchall()


def _from_file(path: Path, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def _attempt(row: Mapping[str, Any]) -> Attempt:
    data = row["log_output"]
    return Attempt(
        **{name: row[name] for name in SAME},
        **{name: _instant(row[name]) for name in INSTANTS},
        message=row["error_message"] or "",
        output=None if data is None else bytes(data).decode(errors="replace"),
        output_dropped=row["output_dropped"] or 0,
    )


def _instant(value: Any) -> Any:
    """Read an instant: a timestamp of the server's, or microseconds or text as SQLite keeps it."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value * MICRO
    if isinstance(value, datetime):
        return value.timestamp()
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
