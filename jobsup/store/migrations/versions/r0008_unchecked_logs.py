"""Log rows that PostgreSQL does not look up the run and the job of: one by one, that took a fifth of a run's time."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.drop_constraint("fk_job_execution_log_dispatch_id", "job_execution_log", type_="foreignkey")
        op.drop_constraint("fk_job_execution_log_job_id", "job_execution_log", type_="foreignkey")
