"""The tables, as mapped classes: query them from Python as easily as from SQL.

    from sqlalchemy import select
    from sqlalchemy.orm import Session
    from jobsup import Job, JobDispatch, get_engine

    with Session(get_engine()) as session:
        failed = session.scalars(select(JobDispatch).where(JobDispatch.status == "FAILED")).all()

Every instant is stored in UTC and read back aware. One row of `job_dispatch` is one attempt; once its status is
terminal the row never changes again.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, LargeBinary
from sqlalchemy.orm import DeclarativeBase, Mapped, relationship

from jobsup.store import portal_tables, tables
from jobsup.store.column_types import UtcDateTime
from jobsup.store.rows import LIVE, TROUBLE, WAITING  # noqa: F401  (conditions that belong to these tables)


class Base(DeclarativeBase):
    """The metadata of all tables; constraint names say what they promise."""

    metadata = tables.metadata
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
    __table__ = tables.job

    id: Mapped[int]
    name: Mapped[str]
    set_name: Mapped[str]
    """The definition set it belongs to (`[jobs] set`)."""
    origin: Mapped[str]
    kind: Mapped[str]
    description: Mapped[str]
    payload: Mapped[dict[str, Any]]
    """The definition, as `jobsup.config.document` writes it: what is not there is as it is by default."""
    config_hash: Mapped[str]
    timezone: Mapped[str]
    next_run: Mapped[datetime | None]
    """The next tick, or null: manual, paused for good, disabled, retired, or never again."""
    zone_fingerprint: Mapped[str | None]
    """Which rules of its time zones `next_run` was computed with; null where it depends on none."""
    is_active: Mapped[bool]
    """False: disabled, or retired."""
    retired_at: Mapped[datetime | None]
    """When it disappeared from its file; its history stays."""
    paused_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    """Null with `paused_at` set: until someone resumes it."""
    paused_by: Mapped[str | None]
    paused_reason: Mapped[str | None]
    overlap: Mapped[str]
    queue_limit: Mapped[int]
    catch_up: Mapped[str]
    max_retries: Mapped[int]
    retry_backoff_seconds: Mapped[float]
    timeout_seconds: Mapped[float | None]
    priority: Mapped[int]
    head_start_ms: Mapped[int]
    """What its priority is worth, as milliseconds of waiting: its priority times `scheduler.priority_aging`."""
    queue: Mapped[str]
    pool_key: Mapped[str | None]
    """The pool its runs take a place of, as `job_pool` calls it."""
    requires: Mapped[str | None]
    """The tags that a worker must have to run it, sorted, with blanks between; null: none."""
    on_hosts: Mapped[str]
    """`one`: each tick runs once, somewhere; `each`: once on every living host that can run it."""
    tags: Mapped[list[str]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    dispatches: Mapped[list[JobDispatch]] = relationship(back_populates="job", viewonly=True)


class JobDispatch(Base):
    """One attempt at one tick or request, from waiting to its end."""

    __tablename__ = "job_dispatch"
    __table__ = tables.job_dispatch

    id: Mapped[int]
    job_id: Mapped[int]
    scheduled_for: Mapped[datetime | None]
    """The tick; null for a manual run."""
    target: Mapped[str]
    """The host it must run on, or empty for any."""
    source: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str]
    note: Mapped[str | None]
    """What is special about its instant: a clock change or a calendar moved it, a blackout holds it."""
    retry_count: Mapped[int]
    retry_of: Mapped[int | None]
    parent_id: Mapped[int | None]
    """The run whose end started this one; that may have been deleted since."""
    skipped_until: Mapped[datetime | None]
    """SKIPPED only: the last tick this row stands for."""
    skipped_count: Mapped[int | None]
    """SKIPPED only: how many ticks it stands for."""
    priority: Mapped[int]
    claim_rank: Mapped[int]
    """Waiting rows are claimed in this order: `available_at` in milliseconds since 1970 less the job's head start."""
    queue: Mapped[str]
    available_at: Mapped[datetime]
    """Not claimed before this instant: a retry's backoff."""
    created_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    """When its process was started."""
    deadline_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    worker_id: Mapped[str | None]
    cancel_requested_at: Mapped[datetime | None]
    """A wish; its worker ends the run and writes CANCELLED."""
    cancel_requested_by: Mapped[str | None]
    cancel_reason: Mapped[str | None]
    error_message: Mapped[str | None]
    requested_by: Mapped[str | None]
    params: Mapped[dict[str, Any] | None]
    epoch: Mapped[int | None]
    """The term of the leader that dispatched it."""
    concurrency_key: Mapped[str | None]
    """At most one IN_PROGRESS row has it."""
    pool_key: Mapped[str | None]
    """At most so many IN_PROGRESS rows have it as the pool has places."""
    requires: Mapped[str | None]
    """The tags that a worker must have to claim it, as its job had them when it was made."""
    config_hash: Mapped[str | None]
    """Which definition of the job was claimed."""
    progress: Mapped[float | None]
    """How far it last said it is, from 0 to 1."""
    progress_text: Mapped[str | None]

    job: Mapped[Job] = relationship(back_populates="dispatches", viewonly=True)
    log: Mapped[JobExecutionLog | None] = relationship(back_populates="dispatch", viewonly=True)


class JobExecutionLog(Base):
    """What an attempt that ran left behind: its output, its exit and its costs."""

    __tablename__ = "job_execution_log"
    __table__ = tables.job_execution_log

    id: Mapped[int]
    dispatch_id: Mapped[int]
    job_id: Mapped[int]
    worker_id: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int | None]
    run_time: Mapped[datetime]
    """The instant the process started."""
    finished_at: Mapped[datetime]
    status: Mapped[str]
    exit_code: Mapped[int | None]
    signal: Mapped[int | None]
    log_output: Mapped[bytes]
    """The kept bytes, exactly as written: head, then tail when something was dropped between them."""
    output_bytes: Mapped[int]
    """All bytes the run printed."""
    output_dropped: Mapped[int]
    """How many of them are not kept; they stood at `output_gap_at` of `log_output`."""
    output_gap_at: Mapped[int | None]
    stream_marks: Mapped[list[list[int]]]
    """Runs of one stream in `log_output`: [length, 1 for stdout | 2 for stderr], in order."""
    result: Mapped[str | None]
    """A Python callable's return value, as JSON."""
    cpu_user: Mapped[float | None]
    """Seconds."""
    cpu_system: Mapped[float | None]
    max_rss: Mapped[int | None]
    """Bytes; null where the kernel does not tell: a short run that had less than its worker."""
    io_read: Mapped[int | None]
    """Bytes that came from storage, not from the kernel's cache."""
    io_write: Mapped[int | None]
    config_hash: Mapped[str]

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
    __table__ = tables.job_output_chunk

    dispatch_id: Mapped[int]
    offset: Mapped[int]
    """Where the piece begins in all that the run printed, in bytes."""
    stream: Mapped[int]
    """1 stdout, 2 stderr."""
    at: Mapped[datetime]
    data: Mapped[bytes]


class WorkerRegistration(Base):
    """A worker process and when it was last heard of."""

    __tablename__ = "worker_registration"
    __table__ = tables.worker_registration

    worker_id: Mapped[str]
    """`worker-` and five characters."""
    node: Mapped[str]
    hostname: Mapped[str]
    platform: Mapped[str]
    boot_id: Mapped[str]
    pid_namespace: Mapped[str]
    process_id: Mapped[int]
    process_started: Mapped[int]
    """The process's start in clock ticks since boot: a reused pid is told apart by it."""
    started_at: Mapped[datetime]
    last_heartbeat: Mapped[datetime]
    heartbeat_interval: Mapped[float]
    """Seconds; it is lost after four of them."""
    status: Mapped[str]
    jobs_processed: Mapped[int]
    current_job_id: Mapped[int | None]
    concurrency: Mapped[int]
    queues: Mapped[list[str]]
    """The queues it serves; empty means all."""
    tags: Mapped[list[str]]
    """What it offers to jobs that require something; `host:NAME` of its node is always one."""
    version: Mapped[str]
    clock_offset: Mapped[float | None]
    """Seconds by which its host's clock was ahead of the database server's when it was last heard of; null: no server.
    """


class SchedulerLock(Base):
    """Who leads, for how long, and in which term."""

    __tablename__ = "scheduler_lock"
    __table__ = tables.scheduler_lock

    name: Mapped[str]
    holder: Mapped[str]
    """Node, process and its start: unique to one scheduler process; empty after a resignation."""
    node: Mapped[str]
    epoch: Mapped[int]
    """The term; one more each time the leader changes."""
    acquired_at: Mapped[datetime]
    dispatch_lock_until: Mapped[datetime]
    renewed_at: Mapped[datetime | None]
    """When the lease was last prolonged; null: by a version that did not say."""


class JobSet(Base):
    """A definition set and the file content it was last synchronised from."""

    __tablename__ = "job_set"
    __table__ = tables.job_set

    name: Mapped[str]
    content_hash: Mapped[str]
    """Hash over all definitions: a host whose file gives another one has drifted."""
    node: Mapped[str]
    path: Mapped[str]
    synced_at: Mapped[datetime]
    shared: Mapped[dict[str, Any] | None]
    """What its jobs have in common (calendars, blackouts, pools), as `jobsup.config.document` writes it."""


class JobPool(Base):
    """A resource of a definition set that so many runs may use at a time."""

    __tablename__ = "job_pool"
    __table__ = tables.job_pool

    key: Mapped[str]
    """Its set and its name: `default/reports`."""
    set_name: Mapped[str]
    name: Mapped[str]
    places: Mapped[int]


class JobRequirement(Base):
    """One tag of those that some job requires together."""

    __tablename__ = "job_requirement"
    __table__ = tables.job_requirement

    requires: Mapped[str]
    """All of them, as `job.requires` has them."""
    tag: Mapped[str]


class JobDay(Base):
    """What became of a job's runs that ended on one day, in UTC; kept when the runs are deleted."""

    __tablename__ = "job_day"
    __table__ = tables.job_day

    job_id: Mapped[int]
    day: Mapped[date]
    completed: Mapped[int]
    failed: Mapped[int]
    timed_out: Mapped[int]
    cancelled: Mapped[int]
    skipped: Mapped[int]
    """Ticks that did not run."""
    durations: Mapped[dict[str, int]]
    """How many completed runs took how long: class n holds those of up to 1.1 to the n milliseconds."""
    p50_seconds: Mapped[float | None]
    p95_seconds: Mapped[float | None]
    """What 95 of 100 completed runs took at most, right to 5 per cent."""
    cpu_seconds: Mapped[float]
    """Of all its runs together."""
    max_rss: Mapped[int | None]
    """Bytes, of the largest."""
    io_read: Mapped[int]
    io_write: Mapped[int]


class JobDayMark(Base):
    """How far the days are counted: one row, or none yet."""

    __tablename__ = "job_day_mark"
    __table__ = tables.job_day_mark

    id: Mapped[int]
    counted_until: Mapped[datetime]
    """Runs that ended before it are counted in their days."""


class JobDependency(Base):
    """One job that another waits for, and the last end of it that has not led to a run yet."""

    __tablename__ = "job_dependency"
    __table__ = tables.job_dependency

    job_id: Mapped[int]
    """The job that runs then."""
    upstream_id: Mapped[int]
    """The job whose end it waits for."""
    ended_by: Mapped[int | None]
    """The run that ended as wanted since the waiting job's last run of this kind; null: none has."""


class PortalUser(Base):
    """Somebody who may sign in to the portal."""

    __tablename__ = "portal_user"
    __table__ = portal_tables.portal_user

    id: Mapped[int]
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str]
    """`scrypt$n$r$p$salt$key`, the last two in hexadecimal digits."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


class PortalSession(Base):
    """A browser that is signed in; its cookie is known here only by its hash."""

    __tablename__ = "portal_session"
    __table__ = portal_tables.portal_session

    token_hash: Mapped[str]
    user_id: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    address: Mapped[str]
    agent: Mapped[str]


class PortalSetup(Base):
    """A one-time token of the set-up page, known here only by its hash; there are none once there is a user."""

    __tablename__ = "portal_setup"
    __table__ = portal_tables.portal_setup

    token_hash: Mapped[str]
    created_at: Mapped[datetime]


class PortalToken(Base):
    """A token that a program shows instead of a session; known here only by its hash."""

    __tablename__ = "portal_token"
    __table__ = portal_tables.portal_token

    id: Mapped[int]
    name: Mapped[str]
    token_hash: Mapped[str]
    scopes: Mapped[list[str]]
    job: Mapped[str | None]
    """The one job that the token may start, by its own address; null: it is one for the API."""
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class PortalRequest(Base):
    """A request to run a job that carried a key, so that the same request twice makes one run."""

    __tablename__ = "portal_request"
    __table__ = portal_tables.portal_request

    key_hash: Mapped[str]
    """Over the key and who sent it."""
    body_hash: Mapped[str]
    """Over what was asked for: the same key for something else is refused."""
    dispatch_id: Mapped[int | None]
    """The run; null while it is being made."""
    created_at: Mapped[datetime]


class Audit(Base):
    """What somebody did, or was refused."""

    __tablename__ = "audit"
    __table__ = portal_tables.audit

    id: Mapped[int]
    at: Mapped[datetime]
    actor: Mapped[str]
    origin: Mapped[str]
    """The way in: `portal`, `api`, `hook` or `cli`."""
    address: Mapped[str]
    verb: Mapped[str]
    """`job.pause`, `run.cancel`, `user.add` ..."""
    subject: Mapped[str]
    outcome: Mapped[str]
    """`done` or `refused`."""
    detail: Mapped[dict[str, Any]]
    """What was before and after, or why it was refused."""


tables.limit_indexes("sqlite", "postgresql")  # who loads this makes tables, or compares them
