"""The tables, in the words of SQLAlchemy's Core: what the processes that run all day know of them.

`models` maps the same tables for people's own queries; `rows` names them as the store's own queries do. What columns
mean is said in `models`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    event,
    text,
)

from jobsup.model import Status
from jobsup.store.column_types import FreeText, Id, Output, UtcDateTime


def _partial(name: str, *columns: str, where: str, on_postgresql: str = "", unique: bool = False) -> Index:
    """Make an index of the rows that meet a condition; `limit_indexes` says it to a database."""
    return Index(name, *columns, unique=unique, info={"sqlite": where, "postgresql": on_postgresql or where})


def limit_indexes(*dialects: str) -> None:
    """Tell the partial indexes their conditions, before tables are made or compared.

    Not when they are defined: Core loads a dialect to be told something for it, and PostgreSQL's is two megabytes.
    """
    for index in (index for table in metadata.tables.values() for index in table.indexes if index.info):
        for dialect in dialects:
            index.dialect_options[dialect]["where"] = text(index.info[dialect])


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
"""All tables; constraint names say what they promise."""


def _any_of(statuses: Iterable[Status]) -> str:
    # One comparison after the other: for a list SQLite makes a table in each statement that changes a status.
    return " OR ".join(f"status = '{status}'" for status in statuses)


TROUBLES_IN_ORDER = (Status.FAILED, Status.TIMEOUT, Status.CANCELLED, Status.SKIPPED)
_TROUBLE = _any_of(TROUBLES_IN_ORDER)
_LIVE = _any_of(status for status in Status if not status.is_terminal)
_ENDED = _any_of(status for status in Status if status.is_terminal)
TROUBLES = frozenset(TROUBLES_IN_ORDER)

job = Table(
    "job",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), unique=True, nullable=False),
    Column("set_name", String(64), default="default", nullable=False),
    Column("origin", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("description", FreeText(), default="", nullable=False),
    Column("payload", JSON(none_as_null=True), nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("next_run", UtcDateTime()),
    Column("zone_fingerprint", Text),
    Column("is_active", Boolean(), default=True, nullable=False),
    Column("retired_at", UtcDateTime()),
    Column("paused_at", UtcDateTime()),
    Column("paused_until", UtcDateTime()),
    Column("paused_by", FreeText(255)),
    Column("paused_reason", FreeText()),
    Column("overlap", String(16), nullable=False),
    Column("queue_limit", Integer(), nullable=False),
    Column("catch_up", String(16), nullable=False),
    Column("max_retries", Integer(), nullable=False),
    Column("retry_backoff_seconds", Float(), nullable=False),
    Column("timeout_seconds", Float()),
    Column("priority", Integer(), nullable=False),
    Column("head_start_ms", BigInteger(), default=0, server_default="0", nullable=False),
    Column("queue", String(64), nullable=False),
    Column("pool_key", String(136)),
    Column("requires", Text),
    Column("on_hosts", String(8), default="one", server_default="one", nullable=False),
    Column("tags", JSON(), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("updated_at", UtcDateTime(), nullable=False),
    _partial("ix_job_due", "next_run", where="is_active = 1", on_postgresql="is_active"),
    CheckConstraint("is_active OR next_run IS NULL", name="inactive_never_due"),
    CheckConstraint("retired_at IS NULL OR NOT is_active", name="retired_is_inactive"),
)

job_dispatch = Table(
    "job_dispatch",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", ForeignKey("job.id"), nullable=False),
    Column("scheduled_for", UtcDateTime()),
    Column("target", String(255), default="", server_default="", nullable=False),
    Column("source", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32), default="", server_default="", nullable=False),
    Column("note", FreeText()),
    Column("retry_count", Integer(), default=0, server_default="0", nullable=False),
    Column("retry_of", ForeignKey("job_dispatch.id", ondelete="SET NULL")),
    Column("parent_id", Id),
    Column("skipped_until", UtcDateTime()),
    Column("skipped_count", Integer()),
    Column("priority", Integer(), default=0, server_default="0", nullable=False),
    Column("claim_rank", BigInteger(), default=0, server_default="0", nullable=False),
    Column("queue", String(64), nullable=False),
    Column("available_at", UtcDateTime(), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("claimed_at", UtcDateTime()),
    Column("started_at", UtcDateTime()),
    Column("deadline_at", UtcDateTime()),
    Column("completed_at", UtcDateTime()),
    Column("worker_id", String(32)),
    Column("cancel_requested_at", UtcDateTime()),
    Column("cancel_requested_by", FreeText(255)),
    Column("cancel_reason", String(32)),
    Column("error_message", FreeText()),
    Column("requested_by", FreeText(255)),
    Column("params", JSON(none_as_null=True)),
    Column("epoch", BigInteger()),
    Column("concurrency_key", String(128)),
    Column("pool_key", String(136)),
    Column("requires", Text),
    Column("config_hash", String(64)),
    Column("progress", Float()),
    Column("progress_text", FreeText(200)),
    _partial(
        "uq_job_dispatch_one_per_tick",
        "job_id",
        "scheduled_for",
        "target",
        unique=True,
        where="source = 'schedule'",
    ),
    _partial(
        "uq_job_dispatch_one_backfill",
        "job_id",
        "scheduled_for",
        "target",
        unique=True,
        where="source = 'backfill' AND status != 'CANCELLED'",
    ),
    _partial(
        "uq_job_dispatch_one_per_parent",
        "parent_id",
        "job_id",
        "target",
        unique=True,
        where="source = 'dependency'",
    ),
    _partial(
        "uq_job_dispatch_one_retry",
        "retry_of",
        unique=True,
        where="retry_of IS NOT NULL",
    ),
    _partial(
        "uq_job_dispatch_one_in_progress",
        "concurrency_key",
        unique=True,
        where="status = 'IN_PROGRESS' AND concurrency_key IS NOT NULL",
    ),
    _partial(
        "ix_job_dispatch_claimable",
        "claim_rank",
        "id",
        "available_at",
        where="status = 'PENDING'",
    ),
    _partial(
        "ix_job_dispatch_pool_places_taken",
        "pool_key",
        where="status = 'IN_PROGRESS' AND pool_key IS NOT NULL",
    ),
    _partial(
        "ix_job_dispatch_live",
        "status",
        "job_id",
        where="completed_at IS NULL",
    ),
    Index("ix_job_dispatch_history", "job_id", "id"),
    _partial(
        "ix_job_dispatch_ended",
        "completed_at",
        "status",
        where="completed_at IS NOT NULL",
    ),
    _partial(
        "ix_job_dispatch_trouble",
        "status",
        "id",
        where=_TROUBLE,
    ),
    CheckConstraint(f"CASE WHEN completed_at IS NULL THEN {_LIVE} ELSE {_ENDED} END", name="status_fits_end"),
    CheckConstraint(
        "status != 'IN_PROGRESS' OR (claimed_at IS NOT NULL AND worker_id IS NOT NULL)", name="running_has_owner"
    ),
    CheckConstraint("status != 'PENDING' OR (claimed_at IS NULL AND worker_id IS NULL)", name="pending_has_no_owner"),
    CheckConstraint("status != 'SKIPPED' OR reason != ''", name="skipped_has_reason"),
    CheckConstraint("source != 'schedule' OR scheduled_for IS NOT NULL", name="tick_has_instant"),
)

job_execution_log = Table(
    "job_execution_log",
    metadata,
    Column("id", Id, primary_key=True),
    Column("dispatch_id", Id, unique=True, nullable=False),
    Column("job_id", Id, nullable=False),
    Column("worker_id", String(32), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer()),
    Column("run_time", UtcDateTime(), nullable=False),
    Column("finished_at", UtcDateTime(), nullable=False),
    Column("status", String(16), nullable=False),
    Column("exit_code", Integer()),
    Column("signal", Integer()),
    Column("log_output", Output(), default=b"", nullable=False),
    Column("output_bytes", BigInteger(), default=0, nullable=False),
    Column("output_dropped", BigInteger(), default=0, nullable=False),
    Column("output_gap_at", BigInteger()),
    Column("stream_marks", JSON(), nullable=False),
    Column("result", FreeText()),
    Column("cpu_user", Float()),
    Column("cpu_system", Float()),
    Column("max_rss", BigInteger()),
    Column("io_read", BigInteger()),
    Column("io_write", BigInteger()),
    Column("config_hash", String(64), nullable=False),
    # A server looks the rows up one by one, and locks them, which takes a fifth of a run's time there; what writes a
    # log holds its run anyway, and retention deletes both.
    ForeignKeyConstraint(["dispatch_id"], ["job_dispatch.id"], ondelete="CASCADE").ddl_if(dialect="sqlite"),
    ForeignKeyConstraint(["job_id"], ["job.id"]).ddl_if(dialect="sqlite"),
)

job_output_chunk = Table(
    "job_output_chunk",
    metadata,
    Column("dispatch_id", ForeignKey("job_dispatch.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger(), primary_key=True),
    Column("stream", Integer(), nullable=False),
    Column("at", UtcDateTime(), nullable=False),
    Column("data", LargeBinary(), nullable=False),
)

worker_registration = Table(
    "worker_registration",
    metadata,
    Column("worker_id", String(32), primary_key=True),
    Column("node", String(255), nullable=False),
    Column("hostname", FreeText(255), nullable=False),
    Column("platform", FreeText(255), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid_namespace", String(64), nullable=False),
    Column("process_id", Integer(), nullable=False),
    Column("process_started", BigInteger(), nullable=False),
    Column("started_at", UtcDateTime(), nullable=False),
    Column("last_heartbeat", UtcDateTime(), nullable=False),
    Column("heartbeat_interval", Float(), nullable=False),
    Column("status", String(16), nullable=False),
    Column("jobs_processed", BigInteger(), default=0, nullable=False),
    Column("current_job_id", Id),
    Column("concurrency", Integer(), default=1, nullable=False),
    Column("queues", JSON(), nullable=False),
    Column("tags", JSON(), server_default="[]", nullable=False),
    Column("version", String(32), nullable=False),
    Column("clock_offset", Float()),
    Index("ix_worker_registration_status", "status"),
)

scheduler_lock = Table(
    "scheduler_lock",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("node", String(255), default="", nullable=False),
    Column("epoch", BigInteger(), nullable=False),
    Column("acquired_at", UtcDateTime(), nullable=False),
    Column("dispatch_lock_until", UtcDateTime(), nullable=False),
    Column("renewed_at", UtcDateTime()),
)

job_set = Table(
    "job_set",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("content_hash", String(64), nullable=False),
    Column("node", String(255), nullable=False),
    Column("path", FreeText(), nullable=False),
    Column("synced_at", UtcDateTime(), nullable=False),
    Column("shared", JSON(none_as_null=True)),
)

job_pool = Table(
    "job_pool",
    metadata,
    Column("key", String(136), primary_key=True),
    Column("set_name", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("places", Integer(), nullable=False),
)

job_requirement = Table(
    "job_requirement",
    metadata,
    Column("requires", Text, primary_key=True),
    Column("tag", String(80), primary_key=True),
)

job_dependency = Table(
    "job_dependency",
    metadata,
    Column("job_id", ForeignKey("job.id"), primary_key=True),
    Column("upstream_id", ForeignKey("job.id"), primary_key=True, index=True),
    Column("ended_by", Id),
)

job_day = Table(
    "job_day",
    metadata,
    Column("job_id", ForeignKey("job.id"), primary_key=True),
    Column("day", Date(), primary_key=True),
    *(
        Column(name, BigInteger(), default=0, server_default="0", nullable=False)
        for name in ("completed", "failed", "timed_out", "cancelled", "skipped")
    ),
    Column("durations", JSON(), nullable=False),
    Column("p50_seconds", Float()),
    Column("p95_seconds", Float()),
    Column("cpu_seconds", Float(), default=0.0, server_default="0", nullable=False),
    Column("max_rss", BigInteger()),
    Column("io_read", BigInteger(), default=0, server_default="0", nullable=False),
    Column("io_write", BigInteger(), default=0, server_default="0", nullable=False),
)

job_day_mark = Table(
    "job_day_mark",
    metadata,
    Column("id", Integer(), primary_key=True, autoincrement=False),
    Column("counted_until", UtcDateTime(), nullable=False),
)

STORAGE = {
    # Each row is written three times in its life and then lies still: what is dead must go before claims wade in it.
    "job_dispatch": (
        "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, "
        "autovacuum_analyze_scale_factor = 0.02"
    ),
    # Few rows that are written again and again: with room beside them, that touches no index.
    **dict.fromkeys(
        ("job", "worker_registration", "scheduler_lock"),
        "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 100",
    ),
    # Rows that live as long as a run does.
    "job_output_chunk": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500",
}
"""How PostgreSQL keeps the tables that change all the time."""

for _name, _storage in STORAGE.items():
    event.listen(
        metadata.tables[_name],
        "after_create",
        DDL(f"ALTER TABLE {_name} SET ({_storage})").execute_if(dialect="postgresql"),  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so
    )
