"""A Job Trigger Portal's database, as that program makes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE scheduled_jobs (
    id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, script_path VARCHAR NOT NULL, script_args VARCHAR,
    interval_seconds INTEGER NOT NULL, schedule_type VARCHAR NOT NULL, schedule_time VARCHAR, schedule_day INTEGER,
    is_active BOOLEAN NOT NULL, next_run DATETIME
);
CREATE TABLE job_execution_logs (
    id INTEGER NOT NULL PRIMARY KEY, job_id INTEGER NOT NULL REFERENCES scheduled_jobs (id), run_time DATETIME NOT NULL,
    status VARCHAR NOT NULL, log_output TEXT
);
"""


class OldPortalFile:
    """The file, and rows to put into it."""

    def __init__(self, path: Path, schema: str = SCHEMA) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(schema)

    def job(self, name: str, **columns: Any) -> int:
        """Add a job, by default a manual one; return its id."""
        values = {
            "name": name,
            "script_path": "scripts/work.py",
            "interval_seconds": 60,
            "schedule_type": "manual",
            "is_active": True,
            **columns,
        }
        return self._insert("scheduled_jobs", values)

    def log(
        self, job_id: int, run_time: str = "2029-12-31 10:00:00.000000", status: str = "SUCCESS", text: str = ""
    ) -> int:
        """Add what a run left; return its id."""
        values = {"job_id": job_id, "run_time": run_time, "status": status, "log_output": text}
        return self._insert("job_execution_logs", values)

    def change(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, values)

    def _insert(self, table: str, values: dict[str, Any]) -> int:
        marks = ", ".join("?" for _ in values)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            cursor = connection.execute(
                f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid
