"""How far the clock of each worker's host is off, and when the leader's lease was last prolonged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("worker_registration", sa.Column("clock_offset", sa.Float(), nullable=True))
    op.add_column("scheduler_lock", sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=True))
