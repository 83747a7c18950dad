"""The tables, as declarative models: query them from Python as easily as from SQL.

    from sqlalchemy import select
    from sqlalchemy.orm import Session
    from jobsup import Job, JobDispatch, get_engine

    with Session(get_engine()) as session:
        failed = session.scalars(select(JobDispatch).where(JobDispatch.status == "FAILED")).all()

Every instant is stored in UTC and read back aware. One row of `job_dispatch` is one attempt; once its status is
terminal the row never changes again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from jobsup.model import Status

# SQLite numbers rows itself only in a column called INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant: timestamptz on PostgreSQL, sortable UTC text with microseconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone, got {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (the signature is SQLAlchemy's)
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The metadata of all tables; constraint names say what they promise."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads it from the class)
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
        list[list[int]]: JSON(),
        bytes: LargeBinary(),
    }


class Job(Base):
    """A job as the database knows it: its definition, its next tick, and whether it is paused."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    set_name: Mapped[str] = mapped_column(String(64), default="default")
    """The definition set it belongs to (`[jobs] set`)."""
    origin: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    description: Mapped[str] = mapped_column(Text, default="")
    payload: Mapped[dict[str, Any]]
    """The whole definition, as `jobsup.config.document` writes it."""
    config_hash: Mapped[str] = mapped_column(String(64))
    timezone: Mapped[str] = mapped_column(String(64))
    next_run: Mapped[datetime | None]
    """The next tick, or null: manual, paused for good, disabled, retired, or never again."""
    zone_fingerprint: Mapped[str | None] = mapped_column(Text)
    """Which rules of its time zones `next_run` was computed with; null where it depends on none."""
    is_active: Mapped[bool] = mapped_column(default=True)
    """False: disabled, or retired."""
    retired_at: Mapped[datetime | None]
    """When it disappeared from its file; its history stays."""
    paused_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    """Null with `paused_at` set: until someone resumes it."""
    paused_by: Mapped[str | None] = mapped_column(String(255))
    paused_reason: Mapped[str | None] = mapped_column(Text)
    overlap: Mapped[str] = mapped_column(String(16))
    queue_limit: Mapped[int]
    catch_up: Mapped[str] = mapped_column(String(16))
    max_retries: Mapped[int]
    retry_backoff_seconds: Mapped[float]
    timeout_seconds: Mapped[float | None]
    priority: Mapped[int]
    head_start_ms: Mapped[int] = mapped_column(BigInteger(), default=0, server_default="0")
    """What its priority is worth, as milliseconds of waiting: its priority times `scheduler.priority_aging`."""
    queue: Mapped[str] = mapped_column(String(64))
    pool_key: Mapped[str | None] = mapped_column(String(136))
    """The pool its runs take a place of, as `job_pool` calls it."""
    tags: Mapped[list[str]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    dispatches: Mapped[list[JobDispatch]] = relationship(back_populates="job", viewonly=True)

    __table_args__ = (
        Index("ix_job_due", "next_run", sqlite_where=text("is_active = 1"), postgresql_where=text("is_active")),
        CheckConstraint("is_active OR next_run IS NULL", name="inactive_never_due"),
        CheckConstraint("retired_at IS NULL OR NOT is_active", name="retired_is_inactive"),
    )


_STATUSES = ", ".join(f"'{status}'" for status in Status)
_TERMINAL = ", ".join(f"'{status}'" for status in Status if status.is_terminal)
_TROUBLES = (Status.FAILED, Status.TIMEOUT, Status.CANCELLED, Status.SKIPPED)
_TROUBLE = "status IN ({})".format(", ".join(f"'{status}'" for status in _TROUBLES))
TROUBLES = frozenset(_TROUBLES)


class JobDispatch(Base):
    """One attempt at one tick or request, from waiting to its end."""

    __tablename__ = "job_dispatch"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    scheduled_for: Mapped[datetime | None]
    """The tick; null for a manual run."""
    target: Mapped[str] = mapped_column(String(255), default="", server_default="")
    """The host it must run on, or empty for any."""
    source: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(32), default="", server_default="")
    note: Mapped[str | None] = mapped_column(Text)
    """What is special about its instant: a clock change or a calendar moved it, a blackout holds it."""
    retry_count: Mapped[int] = mapped_column(default=0, server_default="0")
    retry_of: Mapped[int | None] = mapped_column(ForeignKey("job_dispatch.id", ondelete="SET NULL"))
    parent_id: Mapped[int | None] = mapped_column(_Id)
    """The run whose end started this one; that may have been deleted since."""
    skipped_until: Mapped[datetime | None]
    """SKIPPED only: the last tick this row stands for."""
    skipped_count: Mapped[int | None]
    """SKIPPED only: how many ticks it stands for."""
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    claim_rank: Mapped[int] = mapped_column(BigInteger(), default=0, server_default="0")
    """Waiting rows are claimed in this order: `available_at` in milliseconds since 1970 less the job's head start."""
    queue: Mapped[str] = mapped_column(String(64))
    available_at: Mapped[datetime]
    """Not claimed before this instant: a retry's backoff."""
    created_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    """When its process was started."""
    deadline_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    worker_id: Mapped[str | None] = mapped_column(String(32))
    cancel_requested_at: Mapped[datetime | None]
    """A wish; its worker ends the run and writes CANCELLED."""
    cancel_requested_by: Mapped[str | None] = mapped_column(String(255))
    cancel_reason: Mapped[str | None] = mapped_column(String(32))
    error_message: Mapped[str | None] = mapped_column(Text)
    requested_by: Mapped[str | None] = mapped_column(String(255))
    params: Mapped[dict[str, Any] | None]
    epoch: Mapped[int | None] = mapped_column(BigInteger())
    """The term of the leader that dispatched it."""
    concurrency_key: Mapped[str | None] = mapped_column(String(128))
    """At most one IN_PROGRESS row has it."""
    pool_key: Mapped[str | None] = mapped_column(String(136))
    """At most so many IN_PROGRESS rows have it as the pool has places."""
    config_hash: Mapped[str | None] = mapped_column(String(64))
    """Which definition of the job was claimed."""

    job: Mapped[Job] = relationship(back_populates="dispatches", viewonly=True)
    log: Mapped[JobExecutionLog | None] = relationship(back_populates="dispatch", viewonly=True)

    __table_args__ = (
        Index(
            "uq_job_dispatch_one_per_tick",
            "job_id",
            "scheduled_for",
            "target",
            unique=True,
            sqlite_where=text("source = 'schedule'"),
            postgresql_where=text("source = 'schedule'"),
        ),
        Index(
            "uq_job_dispatch_one_backfill",
            "job_id",
            "scheduled_for",
            "target",
            unique=True,
            sqlite_where=text("source = 'backfill' AND status != 'CANCELLED'"),
            postgresql_where=text("source = 'backfill' AND status != 'CANCELLED'"),
        ),
        Index(
            "uq_job_dispatch_one_per_parent",
            "parent_id",
            "job_id",
            unique=True,
            sqlite_where=text("source = 'dependency'"),
            postgresql_where=text("source = 'dependency'"),
        ),
        Index(
            "uq_job_dispatch_one_retry",
            "retry_of",
            unique=True,
            sqlite_where=text("retry_of IS NOT NULL"),
            postgresql_where=text("retry_of IS NOT NULL"),
        ),
        Index(
            "uq_job_dispatch_one_in_progress",
            "concurrency_key",
            unique=True,
            sqlite_where=text("status = 'IN_PROGRESS'"),
            postgresql_where=text("status = 'IN_PROGRESS'"),
        ),
        Index(
            "ix_job_dispatch_claimable",
            "claim_rank",
            "id",
            "available_at",
            sqlite_where=text("status = 'PENDING'"),
            postgresql_where=text("status = 'PENDING'"),
        ),
        Index(
            "ix_job_dispatch_pool_places_taken",
            "pool_key",
            sqlite_where=text("status = 'IN_PROGRESS' AND pool_key IS NOT NULL"),
            postgresql_where=text("status = 'IN_PROGRESS' AND pool_key IS NOT NULL"),
        ),
        Index(
            "ix_job_dispatch_live",
            "status",
            "job_id",
            sqlite_where=text("completed_at IS NULL"),
            postgresql_where=text("completed_at IS NULL"),
        ),
        Index("ix_job_dispatch_history", "job_id", "id"),
        Index(
            "ix_job_dispatch_ended",
            "completed_at",
            "status",
            sqlite_where=text("completed_at IS NOT NULL"),
            postgresql_where=text("completed_at IS NOT NULL"),
        ),
        Index(
            "ix_job_dispatch_trouble",
            "status",
            "id",
            sqlite_where=text(_TROUBLE),
            postgresql_where=text(_TROUBLE),
        ),
        CheckConstraint(f"status IN ({_STATUSES})", name="known_status"),
        CheckConstraint(f"(status IN ({_TERMINAL})) = (completed_at IS NOT NULL)", name="terminal_has_end"),
        CheckConstraint(
            "status != 'IN_PROGRESS' OR (claimed_at IS NOT NULL AND worker_id IS NOT NULL)", name="running_has_owner"
        ),
        CheckConstraint(
            "status != 'PENDING' OR (claimed_at IS NULL AND worker_id IS NULL)", name="pending_has_no_owner"
        ),
        CheckConstraint("status != 'SKIPPED' OR reason != ''", name="skipped_has_reason"),
        CheckConstraint("source != 'schedule' OR scheduled_for IS NOT NULL", name="tick_has_instant"),
    )


LIVE: ColumnElement[bool] = JobDispatch.completed_at.is_(None)
"""The rows that wait or run. Say it beside any test of their status: a partial index is used only by a query whose
words imply the index's own, and a bound `status IN (?, ?)` does not."""

TROUBLE: ColumnElement[bool] = JobDispatch.status.in_([literal_column(f"'{status}'") for status in _TROUBLES])
"""The rows that ended, or never began, otherwise than wanted: the few that people look for among many."""

WAITING: ColumnElement[bool] = JobDispatch.status == literal_column(f"'{Status.PENDING}'")
"""The rows that can be claimed; a literal, for the same reason."""


class JobExecutionLog(Base):
    """What an attempt that ran left behind: its output, its exit and its costs."""

    __tablename__ = "job_execution_log"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    dispatch_id: Mapped[int] = mapped_column(ForeignKey("job_dispatch.id", ondelete="CASCADE"), unique=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    worker_id: Mapped[str] = mapped_column(String(32))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int | None]
    run_time: Mapped[datetime]
    """The instant the process started."""
    finished_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(16))
    exit_code: Mapped[int | None]
    signal: Mapped[int | None]
    log_output: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    """The kept bytes, exactly as written: head, then tail when something was dropped between them."""
    output_bytes: Mapped[int] = mapped_column(BigInteger(), default=0)
    """All bytes the run printed."""
    output_dropped: Mapped[int] = mapped_column(BigInteger(), default=0)
    """How many of them are not kept; they stood at `output_gap_at` of `log_output`."""
    output_gap_at: Mapped[int | None] = mapped_column(BigInteger())
    stream_marks: Mapped[list[list[int]]]
    """Runs of one stream in `log_output`: [length, 1 for stdout | 2 for stderr], in order."""
    result: Mapped[str | None] = mapped_column(Text)
    """A Python callable's return value, as JSON."""
    cpu_user: Mapped[float | None]
    """Seconds."""
    cpu_system: Mapped[float | None]
    max_rss: Mapped[int | None] = mapped_column(BigInteger())
    """Bytes."""
    config_hash: Mapped[str] = mapped_column(String(64))

    dispatch: Mapped[JobDispatch] = relationship(back_populates="log", viewonly=True)

    @property
    def text(self) -> str:
        """The kept output as text; bytes that are no UTF-8 are shown as U+FFFD, a gap as a line of its own."""
        if not self.output_dropped or self.output_gap_at is None:
            return self.log_output.decode("utf-8", "replace")
        head, tail = self.log_output[: self.output_gap_at], self.log_output[self.output_gap_at :]
        gap = f"\n[... {self.output_dropped} bytes dropped ...]\n"
        return head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace")


class JobOutputChunk(Base):
    """A piece of a running attempt's output; folded into its log row at the end."""

    __tablename__ = "job_output_chunk"

    dispatch_id: Mapped[int] = mapped_column(ForeignKey("job_dispatch.id", ondelete="CASCADE"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    """Where the piece begins in all that the run printed, in bytes."""
    stream: Mapped[int]
    """1 stdout, 2 stderr."""
    at: Mapped[datetime]
    data: Mapped[bytes]


class WorkerRegistration(Base):
    """A worker process and when it was last heard of."""

    __tablename__ = "worker_registration"

    worker_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """`worker-` and five characters."""
    node: Mapped[str] = mapped_column(String(255))
    hostname: Mapped[str] = mapped_column(String(255))
    platform: Mapped[str] = mapped_column(String(255))
    boot_id: Mapped[str] = mapped_column(String(64))
    pid_namespace: Mapped[str] = mapped_column(String(64))
    process_id: Mapped[int]
    process_started: Mapped[int] = mapped_column(BigInteger())
    """The process's start in clock ticks since boot: a reused pid is told apart by it."""
    started_at: Mapped[datetime]
    last_heartbeat: Mapped[datetime]
    heartbeat_interval: Mapped[float]
    """Seconds; it is lost after four of them."""
    status: Mapped[str] = mapped_column(String(16))
    jobs_processed: Mapped[int] = mapped_column(BigInteger(), default=0)
    current_job_id: Mapped[int | None] = mapped_column(_Id)
    concurrency: Mapped[int] = mapped_column(default=1)
    queues: Mapped[list[str]]
    """The queues it serves; empty means all."""
    version: Mapped[str] = mapped_column(String(32))

    __table_args__ = (Index("ix_worker_registration_status", "status"),)


class SchedulerLock(Base):
    """Who leads, for how long, and in which term."""

    __tablename__ = "scheduler_lock"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(255))
    """Node, process and its start: unique to one scheduler process; empty after a resignation."""
    node: Mapped[str] = mapped_column(String(255), default="")
    epoch: Mapped[int] = mapped_column(BigInteger())
    """The term; one more each time the leader changes."""
    acquired_at: Mapped[datetime]
    dispatch_lock_until: Mapped[datetime]


class JobSet(Base):
    """A definition set and the file content it was last synchronised from."""

    __tablename__ = "job_set"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64))
    """Hash over all definitions: a host whose file gives another one has drifted."""
    node: Mapped[str] = mapped_column(String(255))
    path: Mapped[str] = mapped_column(Text)
    synced_at: Mapped[datetime]
    shared: Mapped[dict[str, Any] | None]
    """What its jobs have in common (calendars, blackouts, pools), as `jobsup.config.document` writes it."""


class JobPool(Base):
    """A resource of a definition set that so many runs may use at a time."""

    __tablename__ = "job_pool"

    key: Mapped[str] = mapped_column(String(136), primary_key=True)
    """Its set and its name: `default/reports`."""
    set_name: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    places: Mapped[int]


class JobDependency(Base):
    """One job that another waits for, and the last end of it that has not led to a run yet."""

    __tablename__ = "job_dependency"

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    """The job that runs then."""
    upstream_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True, index=True)
    """The job whose end it waits for."""
    ended_by: Mapped[int | None] = mapped_column(_Id)
    """The run that ended as wanted since the waiting job's last run of this kind; null: none has."""


class PortalUser(Base):
    """Somebody who may sign in to the portal."""

    __tablename__ = "portal_user"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255))
    """`scrypt$n$r$p$salt$key`, the last two in hexadecimal digits."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


class PortalSession(Base):
    """A browser that is signed in; its cookie is known here only by its hash."""

    __tablename__ = "portal_session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("portal_user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(255))


class PortalToken(Base):
    """A token that a program shows instead of a session; known here only by its hash."""

    __tablename__ = "portal_token"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    job: Mapped[str | None] = mapped_column(String(64))
    """The one job that the token may start, by its own address; null: it is one for the API."""
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(255))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class PortalRequest(Base):
    """A request to run a job that carried a key, so that the same request twice makes one run."""

    __tablename__ = "portal_request"

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Over the key and who sent it."""
    body_hash: Mapped[str] = mapped_column(String(64))
    """Over what was asked for: the same key for something else is refused."""
    dispatch_id: Mapped[int | None] = mapped_column(_Id)
    """The run; null while it is being made."""
    created_at: Mapped[datetime] = mapped_column(index=True)


class Audit(Base):
    """What somebody did, or was refused."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(255))
    origin: Mapped[str] = mapped_column(String(16))
    """The way in: `portal`, `api`, `hook` or `cli`."""
    address: Mapped[str] = mapped_column(String(64))
    verb: Mapped[str] = mapped_column(String(32))
    """`job.pause`, `run.cancel`, `user.add` ..."""
    subject: Mapped[str] = mapped_column(String(255))
    outcome: Mapped[str] = mapped_column(String(16))
    """`done` or `refused`."""
    detail: Mapped[dict[str, Any]]
    """What was before and after, or why it was refused."""

    __table_args__ = (Index("ix_audit_subject", "subject", "id"),)
