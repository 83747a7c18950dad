"""Every key that a setting can be given by, and the environment variables that override it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the text of an environment variable is read, and whether it holds paths."""

    TEXT = "text"
    """As it stands."""
    INTEGER = "integer"
    """A whole number."""
    BOOLEAN = "boolean"
    """true, false, yes, no, on, off, 1 or 0."""
    DURATION = "duration"
    """`90s`; a plain number is seconds."""
    SIZE = "size"
    """`64MiB`; a plain number is bytes."""
    TEXTS = "texts"
    """Texts with commas between them."""
    INTEGERS = "integers"
    """Whole numbers with commas between them."""
    PATH = "path"
    """A path, relative to the file it stands in, or to the working folder from the environment."""
    PATHS = "paths"
    """Paths with commas between them."""
    URL = "url"
    """A database URL; its SQLite path is relative as PATH is."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one section; `aliases` are variables without the JOBSUP_ prefix."""

    section: str
    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it, the strongest first."""
        return (f"JOBSUP_{self.section}_{self.name}".upper(), *self.aliases)


SETTING_KEYS = (
    Key("jobs", "set", Kind.TEXT),
    Key("database", "url", Kind.URL, ("REFLEX_DB_URL",)),
    Key("database", "synchronous", Kind.TEXT),
    Key("database", "free_space_min", Kind.SIZE),
    Key("database", "wait", Kind.DURATION),
    Key("database", "schema", Kind.TEXT),
    Key("database", "timeout", Kind.DURATION),
    Key("database", "migrate", Kind.BOOLEAN),
    Key("supervisor", "runtime_dir", Kind.PATH),
    Key("supervisor", "state_dir", Kind.PATH),
    Key("supervisor", "node", Kind.TEXT),
    Key("supervisor", "cgroup", Kind.TEXT),
    Key("supervisor", "drain_timeout", Kind.DURATION),
    Key("supervisor", "watchdog", Kind.DURATION),
    Key("supervisor", "boot_timeout", Kind.DURATION),
    Key("scheduler", "poll_interval", Kind.DURATION, ("SCHEDULER_POLL_INTERVAL",)),
    Key("scheduler", "dispatch_lock_duration", Kind.DURATION, ("DISPATCH_LOCK_DURATION",)),
    Key("scheduler", "job_timeout_threshold", Kind.DURATION, ("JOB_TIMEOUT_THRESHOLD",)),
    Key("scheduler", "max_retry_attempts", Kind.INTEGER, ("MAX_RETRY_ATTEMPTS",)),
    Key("scheduler", "cleanup_retention_days", Kind.INTEGER, ("CLEANUP_RETENTION_DAYS",)),
    Key("scheduler", "cleanup_interval", Kind.DURATION),
    Key("scheduler", "worker_offline_threshold", Kind.DURATION, ("WORKER_OFFLINE_THRESHOLD",)),
    Key("scheduler", "priority_aging", Kind.DURATION),
    Key("worker", "count", Kind.INTEGER),
    Key("worker", "concurrency", Kind.INTEGER),
    Key("worker", "queues", Kind.TEXTS),
    Key("worker", "tags", Kind.TEXTS),
    Key("worker", "poll_interval", Kind.DURATION, ("WORKER_POLL_INTERVAL",)),
    Key("worker", "max_poll_interval", Kind.DURATION, ("WORKER_MAX_POLL_INTERVAL",)),
    Key("worker", "heartbeat_interval", Kind.DURATION, ("WORKER_HEARTBEAT_INTERVAL",)),
    Key("worker", "job_timeout", Kind.DURATION, ("WORKER_JOB_TIMEOUT",)),
    Key("worker", "python_path", Kind.PATHS),
    Key("worker", "preload", Kind.TEXTS),
    Key("worker", "runner_max_calls", Kind.INTEGER),
    Key("worker", "runner_max_age", Kind.DURATION),
    Key("worker", "runner_max_memory", Kind.SIZE),
    Key("portal", "enabled", Kind.BOOLEAN),
    Key("portal", "host", Kind.TEXT),
    Key("portal", "port", Kind.INTEGER),
    Key("portal", "session_lifetime", Kind.DURATION),
    Key("portal", "allowed_hosts", Kind.TEXTS),
    Key("portal", "behind_proxy", Kind.BOOLEAN),
    Key("portal", "tls_cert", Kind.PATH),
    Key("portal", "tls_key", Kind.PATH),
    Key("portal", "root_path", Kind.TEXT),
    Key("portal", "allow_edit_commands", Kind.BOOLEAN),
    Key("logging", "level", Kind.TEXT),
    Key("logging", "format", Kind.TEXT),
    Key("logging", "file", Kind.PATH),
)
"""The keys of every section but `[defaults]`."""

DEFAULT_KEYS = (
    Key("defaults", "description", Kind.TEXT),
    Key("defaults", "enabled", Kind.BOOLEAN),
    Key("defaults", "timezone", Kind.TEXT),
    Key("defaults", "dst", Kind.TEXT),
    Key("defaults", "tags", Kind.TEXTS),
    Key("defaults", "queue", Kind.TEXT),
    Key("defaults", "requires", Kind.TEXTS),
    Key("defaults", "on", Kind.TEXT),
    Key("defaults", "priority", Kind.INTEGER),
    Key("defaults", "timeout", Kind.DURATION),
    Key("defaults", "kill_grace", Kind.DURATION),
    Key("defaults", "max_retries", Kind.INTEGER),
    Key("defaults", "retry_backoff", Kind.DURATION),
    Key("defaults", "retry_backoff_max", Kind.DURATION),
    Key("defaults", "retry_on_lost", Kind.BOOLEAN),
    Key("defaults", "overlap", Kind.TEXT),
    Key("defaults", "queue_limit", Kind.INTEGER),
    Key("defaults", "catch_up", Kind.TEXT),
    Key("defaults", "catch_up_limit", Kind.INTEGER),
    Key("defaults", "misfire_grace", Kind.DURATION),
    Key("defaults", "jitter", Kind.DURATION),
    Key("defaults", "use_calendar", Kind.TEXT),
    Key("defaults", "calendar_rule", Kind.TEXT),
    Key("defaults", "pool", Kind.TEXT),
    Key("defaults", "env_file", Kind.PATH),
    Key("defaults", "cwd", Kind.PATH),
    Key("defaults", "user", Kind.TEXT),
    Key("defaults", "group", Kind.TEXT),
    Key("defaults", "umask", Kind.TEXT),
    Key("defaults", "nice", Kind.INTEGER),
    Key("defaults", "io_scheduling_class", Kind.TEXT),
    Key("defaults", "io_scheduling_priority", Kind.INTEGER),
    Key("defaults", "oom_score_adjust", Kind.INTEGER),
    Key("defaults", "memory_max", Kind.SIZE),
    Key("defaults", "tasks_max", Kind.INTEGER),
    Key("defaults", "cpu_quota", Kind.TEXT),
    Key("defaults", "limit_nofile", Kind.INTEGER),
    Key("defaults", "limit_cpu", Kind.DURATION),
    Key("defaults", "limit_fsize", Kind.SIZE),
    Key("defaults", "limit_core", Kind.SIZE),
    Key("defaults", "success_exit_codes", Kind.INTEGERS),
    Key("defaults", "output_limit", Kind.SIZE),
    Key("defaults", "stderr", Kind.TEXT),
)
"""The keys of `[defaults]` but its tables `env` and `params`, which are for files alone."""

KEYS = {key.path: key for key in (*SETTING_KEYS, *DEFAULT_KEYS)}

PATH_KINDS = (Kind.PATH, Kind.PATHS, Kind.URL)

RESERVED_VARIABLES = frozenset(
    f"JOBSUP_{name}"
    for name in (
        "CONFIG",
        "URL",
        "TOKEN",
        "FAILPOINT",
        "INSTANCE",
        "JOB",
        "RUN_ID",
        "ATTEMPT",
        "SCHEDULED_FOR",
        "DEADLINE",
        "PARAMS",
        "QUEUE",
    )
)
"""Variables with a meaning of their own: for the command line, for tests, or set by jobsup for a job."""

RESERVED_PREFIXES = ("JOBSUP_PARAM_", "JOBSUP_LOG_")

JOB_VARIABLES = (
    "JOBSUP_INSTANCE",
    "JOBSUP_JOB",
    "JOBSUP_RUN_ID",
    "JOBSUP_ATTEMPT",
    "JOBSUP_SCHEDULED_FOR",
    "JOBSUP_PARENT_RUN_ID",
    "JOBSUP_DEADLINE",
    "JOBSUP_PARAMS",
)
"""What jobsup sets for a job, so that a job's own `env` may not."""


def is_reserved(variable: str) -> bool:
    """Say whether a JOBSUP_ variable is known without being a setting."""
    return variable in RESERVED_VARIABLES or variable.startswith(RESERVED_PREFIXES)
