"""Jobs that run on each host."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_FOLLOWS: dict[str, Any] = {
    "unique": True,
    "sqlite_where": sa.text("source = 'dependency'"),
    "postgresql_where": sa.text("source = 'dependency'"),
}


def upgrade() -> None:
    op.add_column("job", sa.Column("on_hosts", sa.String(length=8), server_default="one", nullable=False))
    op.drop_index("uq_job_dispatch_one_per_parent", table_name="job_dispatch")
    op.create_index("uq_job_dispatch_one_per_parent", "job_dispatch", ["parent_id", "job_id", "target"], **_FOLLOWS)
