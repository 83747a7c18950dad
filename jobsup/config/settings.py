"""The frozen model every process is handed: what the file, the environment and the defaults say together."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from jobsup.errors import Problem
from jobsup.model import JobKind, JobSpec, SetSpec

DEFAULT_ORIGIN = "default"
"""The origin of a value that neither the file nor the environment gives."""


SCHEMA_DEFAULT = "jobsup"
TIMEOUT_DEFAULT = timedelta(seconds=7)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """`[database]`."""

    url: str = "sqlite:///jobsup.db"
    """SQLAlchemy URL; a relative SQLite path has been made absolute."""
    synchronous: str = "full"
    """SQLite's `synchronous`: `full` survives a power cut, `normal` may lose the last commits in one."""
    free_space_min: int = 64 << 20
    """Bytes that must be free beside a SQLite file, or nothing is claimed."""
    wait: timedelta = timedelta(seconds=30)
    """How long a start waits for a database that is locked or unreachable."""
    schema: str = SCHEMA_DEFAULT
    """PostgreSQL: the schema that the tables are in."""
    timeout: timedelta = TIMEOUT_DEFAULT
    """PostgreSQL: how long a server may be silent before it counts as not answering."""
    migrate: bool = True
    """Upgrade the schema at start."""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """`[supervisor]`."""

    runtime_dir: str = ""
    """Absolute folder of the control socket and the lock."""
    state_dir: str = ""
    """Absolute folder of what must outlive a stop: results that could not be written."""
    node: str = ""
    """This machine's name among those that share the database."""
    cgroup: str = "auto"
    """The control group below which runs have theirs: our own ("auto"), no one's ("none"), or an absolute path."""
    drain_timeout: timedelta = timedelta(seconds=30)
    """How long a stop lets running jobs go on."""
    watchdog: timedelta = timedelta(seconds=10)
    """A child whose loop has not ticked for this long is killed and replaced."""
    boot_timeout: timedelta = timedelta(seconds=60)
    """A child that is not ready after this long is killed and replaced."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """`[scheduler]`."""

    poll_interval: timedelta = timedelta(seconds=10)
    dispatch_lock_duration: timedelta = timedelta(seconds=8)
    job_timeout_threshold: timedelta = timedelta(seconds=600)
    max_retry_attempts: int = 3
    cleanup_retention_days: int = 30
    cleanup_interval: timedelta = timedelta(hours=1)
    worker_offline_threshold: timedelta = timedelta(seconds=180)
    priority_aging: timedelta | None = timedelta(minutes=5)
    """The waiting that one priority is worth; None: a higher priority always goes first."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`[worker]`."""

    count: int = 4
    concurrency: int = 1
    queues: tuple[str, ...] = ()
    """The queues these workers serve; none named means all."""
    tags: tuple[str, ...] = ()
    """What these workers have that a job may require, beside their host's tag."""
    poll_interval: timedelta = timedelta(seconds=5)
    max_poll_interval: timedelta = timedelta(seconds=60)
    heartbeat_interval: timedelta = timedelta(seconds=5)
    job_timeout: timedelta | None = timedelta(seconds=600)
    python_path: tuple[str, ...] = ()
    """Absolute folders put first on the import path of Python callables."""
    preload: tuple[str, ...] = ()
    """Modules that each runner of Python callables imports before its first call."""
    runner_max_calls: int = 100_000
    """A runner is replaced after so many calls,"""
    runner_max_age: timedelta = timedelta(hours=1)
    """or so long,"""
    runner_max_memory: int = 512 << 20
    """or when it holds so many bytes after a call."""


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """`[logging]`."""

    level: str = "INFO"
    format: str = "text"
    """`text` or `json`."""
    file: str = ""
    """Absolute path; empty means standard error."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """`[portal]`."""

    enabled: bool = False
    """Run a portal on this host."""
    host: str = "127.0.0.1"
    """The address it listens on."""
    port: int = 8765
    session_lifetime: timedelta = timedelta(hours=12)
    """How long somebody stays signed in."""
    allowed_hosts: tuple[str, ...] = ()
    """Names it goes by in a browser, beside its own address."""
    behind_proxy: bool = False
    """A proxy on the way speaks TLS and says in X-Forwarded-For and -Proto who asks; only it reaches the port."""
    tls_cert: str = ""
    """Absolute path of the certificate chain, PEM; empty: no TLS of its own."""
    tls_key: str = ""
    """Absolute path of its private key."""
    root_path: str = ""
    """The path under which a proxy shows it: `/jobsup`."""
    allow_edit_commands: bool = False
    """Let authors write commands in the portal: whoever may do so may run anything."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one instance was told."""

    path: str
    """Absolute path of the main file."""
    set: str = "default"
    """The definition set its jobs belong to."""
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    supervisor: SupervisorSettings = field(default_factory=SupervisorSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    portal: PortalSettings = field(default_factory=PortalSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    defaults: JobSpec = field(default_factory=lambda: JobSpec("", JobKind.COMMAND))
    """A job that says nothing of itself: what `[defaults]` and the settings above give to each job."""
    jobs: tuple[JobSpec, ...] = ()
    shared: SetSpec = field(default_factory=SetSpec)
    """Calendars, blackouts and pools: what the jobs of the set have in common."""
    files: tuple[str, ...] = ()
    """Absolute paths of all files that were read, the main one first."""
    origins: dict[str, str] = field(default_factory=dict)
    """`worker.count` -> where it is from: `default`, `jobsup.toml:12`, `environment JOBSUP_WORKER_COUNT`."""
    warnings: tuple[Problem, ...] = ()
