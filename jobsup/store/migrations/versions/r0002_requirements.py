"""What jobs require of a worker, and what workers have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "job_requirement",
        sa.Column("requires", sa.Text(), nullable=False),
        sa.Column("tag", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("requires", "tag", name=op.f("pk_job_requirement")),
    )
    op.add_column("job", sa.Column("requires", sa.Text(), nullable=True))
    op.add_column("job_dispatch", sa.Column("requires", sa.Text(), nullable=True))
    op.add_column("worker_registration", sa.Column("tags", sa.JSON(), server_default="[]", nullable=False))
