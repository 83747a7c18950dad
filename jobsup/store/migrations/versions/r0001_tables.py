"""The first tables: jobs, their runs and output, workers, the leader's lock, definition sets."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows itself only in a column called INTEGER.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)

# How PostgreSQL keeps tables that change all the time: room in each page, and little patience with dead rows.
_REWRITTEN = "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 100"
_STORAGE = {
    "job_dispatch": (
        "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, "
        "autovacuum_analyze_scale_factor = 0.02"
    ),
    "job": _REWRITTEN,
    "worker_registration": _REWRITTEN,
    "scheduler_lock": _REWRITTEN,
    "job_output_chunk": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500",
}


def upgrade() -> None:
    _job()
    _job_set()
    _job_pool()
    _job_dependency()
    _scheduler_lock()
    _worker_registration()
    _job_dispatch()
    _job_execution_log()
    _job_output_chunk()
    _portal_user()
    _portal_session()
    _portal_token()
    _portal_request()
    _audit()
    if op.get_bind().dialect.name == "postgresql":
        for table, storage in _STORAGE.items():
            op.execute(f"ALTER TABLE {table} SET ({storage})")


def _where(condition: str, on_postgresql: str | None = None) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(on_postgresql or condition)}


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("set_name", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("next_run", _INSTANT, nullable=True),
        sa.Column("zone_fingerprint", sa.Text(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("retired_at", _INSTANT, nullable=True),
        sa.Column("paused_at", _INSTANT, nullable=True),
        sa.Column("paused_until", _INSTANT, nullable=True),
        sa.Column("paused_by", sa.String(length=255), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("overlap", sa.String(length=16), nullable=False),
        sa.Column("queue_limit", sa.Integer(), nullable=False),
        sa.Column("catch_up", sa.String(length=16), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("retry_backoff_seconds", sa.Float(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("head_start_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("pool_key", sa.String(length=136), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.CheckConstraint("is_active OR next_run IS NULL", name=op.f("ck_job_inactive_never_due")),
        sa.CheckConstraint("retired_at IS NULL OR NOT is_active", name=op.f("ck_job_retired_is_inactive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("name", name=op.f("uq_job_name")),
    )
    op.create_index("ix_job_due", "job", ["next_run"], **_where("is_active = 1", "is_active"))


def _job_set() -> None:
    op.create_table(
        "job_set",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("synced_at", _INSTANT, nullable=False),
        sa.Column("shared", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_set")),
    )


def _job_pool() -> None:
    op.create_table(
        "job_pool",
        sa.Column("key", sa.String(length=136), nullable=False),
        sa.Column("set_name", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_job_pool")),
    )


def _job_dependency() -> None:
    op.create_table(
        "job_dependency",
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("upstream_id", _ID, nullable=False),
        sa.Column("ended_by", _ID, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_dependency_job_id")),
        sa.ForeignKeyConstraint(["upstream_id"], ["job.id"], name=op.f("fk_job_dependency_upstream_id")),
        sa.PrimaryKeyConstraint("job_id", "upstream_id", name=op.f("pk_job_dependency")),
    )
    op.create_index(op.f("ix_job_dependency_upstream_id"), "job_dependency", ["upstream_id"])


def _scheduler_lock() -> None:
    op.create_table(
        "scheduler_lock",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("acquired_at", _INSTANT, nullable=False),
        sa.Column("dispatch_lock_until", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scheduler_lock")),
    )


def _worker_registration() -> None:
    op.create_table(
        "worker_registration",
        sa.Column("worker_id", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("pid_namespace", sa.String(length=64), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.BigInteger(), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("last_heartbeat", _INSTANT, nullable=False),
        sa.Column("heartbeat_interval", sa.Float(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("jobs_processed", sa.BigInteger(), nullable=False),
        sa.Column("current_job_id", _ID, nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_worker_registration")),
    )
    op.create_index("ix_worker_registration_status", "worker_registration", ["status"])


def _job_dispatch() -> None:
    op.create_table(
        "job_dispatch",
        sa.Column("id", _ID, nullable=False),
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("scheduled_for", _INSTANT, nullable=True),
        sa.Column("target", sa.String(length=255), server_default="", nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_of", _ID, nullable=True),
        sa.Column("parent_id", _ID, nullable=True),
        sa.Column("skipped_until", _INSTANT, nullable=True),
        sa.Column("skipped_count", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim_rank", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("available_at", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("claimed_at", _INSTANT, nullable=True),
        sa.Column("started_at", _INSTANT, nullable=True),
        sa.Column("deadline_at", _INSTANT, nullable=True),
        sa.Column("completed_at", _INSTANT, nullable=True),
        sa.Column("worker_id", sa.String(length=32), nullable=True),
        sa.Column("cancel_requested_at", _INSTANT, nullable=True),
        sa.Column("cancel_requested_by", sa.String(length=255), nullable=True),
        sa.Column("cancel_reason", sa.String(length=32), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.String(length=255), nullable=True),
        sa.Column("params", sa.JSON(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("concurrency_key", sa.String(length=128), nullable=True),
        sa.Column("pool_key", sa.String(length=136), nullable=True),
        sa.Column("config_hash", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "(status IN ('COMPLETED', 'FAILED', 'TIMEOUT', 'CANCELLED', 'SKIPPED')) = (completed_at IS NOT NULL)",
            name=op.f("ck_job_dispatch_terminal_has_end"),
        ),
        sa.CheckConstraint(
            "source != 'schedule' OR scheduled_for IS NOT NULL", name=op.f("ck_job_dispatch_tick_has_instant")
        ),
        sa.CheckConstraint(
            "status != 'IN_PROGRESS' OR (claimed_at IS NOT NULL AND worker_id IS NOT NULL)",
            name=op.f("ck_job_dispatch_running_has_owner"),
        ),
        sa.CheckConstraint(
            "status != 'PENDING' OR (claimed_at IS NULL AND worker_id IS NULL)",
            name=op.f("ck_job_dispatch_pending_has_no_owner"),
        ),
        sa.CheckConstraint("status != 'SKIPPED' OR reason != ''", name=op.f("ck_job_dispatch_skipped_has_reason")),
        sa.CheckConstraint(
            "status IN ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'TIMEOUT', 'CANCELLED', 'SKIPPED')",
            name=op.f("ck_job_dispatch_known_status"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_dispatch_job_id")),
        sa.ForeignKeyConstraint(
            ["retry_of"], ["job_dispatch.id"], name=op.f("fk_job_dispatch_retry_of"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_dispatch")),
    )
    op.create_index(
        "ix_job_dispatch_claimable",
        "job_dispatch",
        ["claim_rank", "id", "available_at"],
        **_where("status = 'PENDING'"),
    )
    op.create_index(
        "ix_job_dispatch_pool_places_taken",
        "job_dispatch",
        ["pool_key"],
        **_where("status = 'IN_PROGRESS' AND pool_key IS NOT NULL"),
    )
    op.create_index(
        "uq_job_dispatch_one_backfill",
        "job_dispatch",
        ["job_id", "scheduled_for", "target"],
        unique=True,
        **_where("source = 'backfill' AND status != 'CANCELLED'"),
    )
    op.create_index(
        "uq_job_dispatch_one_per_parent",
        "job_dispatch",
        ["parent_id", "job_id"],
        unique=True,
        **_where("source = 'dependency'"),
    )
    op.create_index(
        "ix_job_dispatch_ended", "job_dispatch", ["completed_at", "status"], **_where("completed_at IS NOT NULL")
    )
    op.create_index("ix_job_dispatch_history", "job_dispatch", ["job_id", "id"])
    op.create_index(
        "ix_job_dispatch_trouble",
        "job_dispatch",
        ["status", "id"],
        **_where("status IN ('FAILED', 'TIMEOUT', 'CANCELLED', 'SKIPPED')"),
    )
    op.create_index("ix_job_dispatch_live", "job_dispatch", ["status", "job_id"], **_where("completed_at IS NULL"))
    op.create_index(
        "uq_job_dispatch_one_in_progress",
        "job_dispatch",
        ["concurrency_key"],
        unique=True,
        **_where("status = 'IN_PROGRESS'"),
    )
    op.create_index(
        "uq_job_dispatch_one_per_tick",
        "job_dispatch",
        ["job_id", "scheduled_for", "target"],
        unique=True,
        **_where("source = 'schedule'"),
    )
    op.create_index(
        "uq_job_dispatch_one_retry", "job_dispatch", ["retry_of"], unique=True, **_where("retry_of IS NOT NULL")
    )


def _job_execution_log() -> None:
    op.create_table(
        "job_execution_log",
        sa.Column("id", _ID, nullable=False),
        sa.Column("dispatch_id", _ID, nullable=False),
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("worker_id", sa.String(length=32), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("run_time", _INSTANT, nullable=False),
        sa.Column("finished_at", _INSTANT, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("log_output", sa.LargeBinary(), nullable=False),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False),
        sa.Column("output_dropped", sa.BigInteger(), nullable=False),
        sa.Column("output_gap_at", sa.BigInteger(), nullable=True),
        sa.Column("stream_marks", sa.JSON(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("cpu_user", sa.Float(), nullable=True),
        sa.Column("cpu_system", sa.Float(), nullable=True),
        sa.Column("max_rss", sa.BigInteger(), nullable=True),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["dispatch_id"], ["job_dispatch.id"], name=op.f("fk_job_execution_log_dispatch_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_execution_log_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_execution_log")),
        sa.UniqueConstraint("dispatch_id", name=op.f("uq_job_execution_log_dispatch_id")),
    )
    op.create_index(op.f("ix_job_execution_log_job_id"), "job_execution_log", ["job_id"])


def _job_output_chunk() -> None:
    op.create_table(
        "job_output_chunk",
        sa.Column("dispatch_id", _ID, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.Integer(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dispatch_id"], ["job_dispatch.id"], name=op.f("fk_job_output_chunk_dispatch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dispatch_id", "offset", name=op.f("pk_job_output_chunk")),
    )


def _portal_user() -> None:
    op.create_table(
        "portal_user",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("last_login_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_user")),
        sa.UniqueConstraint("name", name=op.f("uq_portal_user_name")),
    )


def _portal_session() -> None:
    op.create_table(
        "portal_session",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["portal_user.id"], name=op.f("fk_portal_session_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_portal_session")),
    )
    op.create_index(op.f("ix_portal_session_user_id"), "portal_session", ["user_id"])


def _portal_token() -> None:
    op.create_table(
        "portal_token",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("last_used_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_token")),
        sa.UniqueConstraint("name", name=op.f("uq_portal_token_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_portal_token_token_hash")),
    )


def _portal_request() -> None:
    op.create_table(
        "portal_request",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("dispatch_id", _ID, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_portal_request")),
    )
    op.create_index(op.f("ix_portal_request_created_at"), "portal_request", ["created_at"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _ID, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("verb", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index("ix_audit_subject", "audit", ["subject", "id"])
