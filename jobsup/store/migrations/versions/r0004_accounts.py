"""How far runs are, what they cost, and the days of each job that outlive its runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("job_dispatch", sa.Column("progress", sa.Float(), nullable=True))
    op.add_column("job_dispatch", sa.Column("progress_text", sa.String(length=200), nullable=True))
    op.add_column("job_execution_log", sa.Column("io_read", sa.BigInteger(), nullable=True))
    op.add_column("job_execution_log", sa.Column("io_write", sa.BigInteger(), nullable=True))
    op.create_table(
        "job_day",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in ("completed", "failed", "timed_out", "cancelled", "skipped")
        ),
        sa.Column("durations", sa.JSON(), nullable=False),
        sa.Column("p50_seconds", sa.Float(), nullable=True),
        sa.Column("p95_seconds", sa.Float(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("max_rss", sa.BigInteger(), nullable=True),
        sa.Column("io_read", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("io_write", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_day_job_id")),
        sa.PrimaryKeyConstraint("job_id", "day", name=op.f("pk_job_day")),
    )
    op.create_table(
        "job_day_mark",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counted_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_day_mark")),
    )
