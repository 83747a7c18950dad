"""Indexes that cost each run nothing it has no use for.

The index that keeps a key to one run holds no runs without a key; the one of trouble says what it holds in words that
SQLite does not make a table of in each statement; nothing looks for a log row by its job.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_index("uq_job_dispatch_one_in_progress", table_name="job_dispatch")
    op.create_index(
        "uq_job_dispatch_one_in_progress",
        "job_dispatch",
        ["concurrency_key"],
        unique=True,
        **_where("status = 'IN_PROGRESS' AND concurrency_key IS NOT NULL"),
    )
    op.drop_index("ix_job_dispatch_trouble", table_name="job_dispatch")
    op.create_index(
        "ix_job_dispatch_trouble",
        "job_dispatch",
        ["status", "id"],
        **_where("status = 'FAILED' OR status = 'TIMEOUT' OR status = 'CANCELLED' OR status = 'SKIPPED'"),
    )
    op.drop_index("ix_job_execution_log_job_id", table_name="job_execution_log")


def _where(condition: str) -> dict[str, Any]:
    words = sa.text(condition)
    return {"sqlite_where": words, "postgresql_where": words}
