"""The values that travel between the rooms: what a job is, and what can become of a run of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """What is true of one dispatch, which is one attempt."""

    PENDING = "PENDING"
    """It waits for a worker, at the earliest at `available_at`."""
    IN_PROGRESS = "IN_PROGRESS"
    """A worker has claimed it; the attempt counts from here."""
    COMPLETED = "COMPLETED"
    """The job ended with one of its success exit codes."""
    FAILED = "FAILED"
    """The job ended otherwise, or could not be started."""
    TIMEOUT = "TIMEOUT"
    """It was ended for time: its deadline, a lost worker, or a drain that ran out."""
    CANCELLED = "CANCELLED"
    """A person or a removed job ended it."""
    SKIPPED = "SKIPPED"
    """A tick, or a counted range of ticks, that did not run, and why."""

    @property
    def is_terminal(self) -> bool:
        return self not in (Status.PENDING, Status.IN_PROGRESS)


class Reason(StrEnum):
    """Why a dispatch has the status it has; empty means that the status says it all."""

    NONE = ""
    """Nothing to explain."""
    EXIT_CODE = "exit_code"
    """FAILED: an exit code outside `success_exit_codes`."""
    SIGNAL = "signal"
    """FAILED: a signal that was not ours ended it."""
    EXCEPTION = "exception"
    """FAILED: the Python callable raised."""
    SPAWN = "spawn"
    """FAILED: the process could not be started; it may work next time (no memory, too many processes)."""
    NOT_RUNNABLE = "not_runnable"
    """FAILED for good: executable, script, folder, user or callable is missing. Not retried."""
    INTERNAL = "internal"
    """FAILED: jobsup itself could not run it; the error message says why."""
    DEADLINE = "deadline"
    """TIMEOUT: it ran longer than its `timeout`."""
    WORKER_LOST = "worker_lost"
    """TIMEOUT: its worker died, froze, or was cut off."""
    SHUTDOWN = "shutdown"
    """TIMEOUT: the drain ran out; its retry does not count towards the maximum."""
    NO_OWNER = "no_owner"
    """TIMEOUT: nobody owned it for longer than `job_timeout_threshold`."""
    CANCELLED = "cancelled"
    """CANCELLED: a person asked for it."""
    REPLACED = "replaced"
    """CANCELLED: a newer tick took its place (`overlap = "replace"`)."""
    JOB_REMOVED = "job_removed"
    """CANCELLED: the job was removed, or disabled, before it started."""
    OVERLAP = "overlap"
    """SKIPPED: an earlier run was still waiting or running (`overlap = "skip"`)."""
    PAUSED = "paused"
    """SKIPPED: the job was paused."""
    MISSED = "missed"
    """SKIPPED: nothing was up at that instant, and `catch_up` does not ask for it."""
    MISFIRE_GRACE = "misfire_grace"
    """SKIPPED: it was later than `misfire_grace` allows."""
    CATCH_UP_LIMIT = "catch_up_limit"
    """SKIPPED: more ticks were missed than `catch_up_limit` allows to run."""
    DST_GAP = "dst_gap"
    """SKIPPED: its local time did not exist that day (`dst = "skip"`)."""


class Source(StrEnum):
    """Where a dispatch comes from."""

    SCHEDULE = "schedule"
    """A tick of its schedule."""
    MANUAL = "manual"
    """A person or a program asked for it."""
    RETRY = "retry"
    """The attempt before it failed or was lost."""
    DEPENDENCY = "dependency"
    """A job it depends on ended."""
    BACKFILL = "backfill"
    """A person asked for the ticks of a time gone by."""


class WorkerStatus(StrEnum):
    """What a worker last said of itself, or what was found out about it."""

    IDLE = "IDLE"
    """It has no run."""
    BUSY = "BUSY"
    """It has at least one run."""
    DRAINING = "DRAINING"
    """It finishes what it has and claims no more."""
    OFFLINE = "OFFLINE"
    """It has stopped, or was lost."""


class JobKind(StrEnum):
    """How a job is run."""

    COMMAND = "command"
    """A shell line (string) or an argv (list)."""
    SCRIPT = "script"
    """A file, run by its shebang or by its extension."""
    PYTHON = "python"
    """A callable, `package.module:function`, in a runner process."""


class Origin(StrEnum):
    """Who owns a job's definition."""

    FILE = "file"
    """The TOML file: it is changed there."""
    PORTAL = "portal"
    """Made in the portal."""
    CLI = "cli"
    """Made by a command."""


class Overlap(StrEnum):
    """What a tick does while an earlier run of the job waits or runs."""

    SKIP = "skip"
    """It becomes SKIPPED/overlap."""
    QUEUE = "queue"
    """It waits until the earlier one has ended."""
    ALLOW = "allow"
    """It runs beside it."""
    REPLACE = "replace"
    """It cancels the earlier one and runs when that has ended."""


class CatchUp(StrEnum):
    """What becomes of ticks that fell into a time when nothing was up."""

    NONE = "none"
    """They are SKIPPED/missed."""
    LATEST = "latest"
    """The latest of them runs once, the others are SKIPPED/missed."""
    ALL = "all"
    """They all run, up to `catch_up_limit` of the latest."""


class Dst(StrEnum):
    """What a clock change does to a schedule of wall-clock times."""

    CRON = "cron"
    """Debian cron's rule: fixed times in a gap run once right after it, repeated ones once."""
    SKIP = "skip"
    """Ticks in a gap do not run; a repeated hour runs once."""
    BOTH = "both"
    """A gap as with cron; a repeated hour runs in both passes."""


@dataclass(frozen=True, slots=True)
class CalendarSpec:
    """Every N days, weeks, months or years at a wall time, counted from a start date."""

    days: int = 0
    weeks: int = 0
    months: int = 0
    years: int = 0
    at: str = "00:00:00"
    start_date: str = "2000-01-01"


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """A schedule as written: at most one of the kinds is set; none means manual only."""

    cron: str | None = None
    every: timedelta | None = None
    anchor: datetime | None = None
    calendar: CalendarSpec | None = None
    on_calendar: str | None = None
    at: datetime | None = None
    timezone: str = "UTC"
    dst: Dst = Dst.CRON

    @property
    def is_manual(self) -> bool:
        return (self.cron, self.every, self.calendar, self.on_calendar, self.at) == (None,) * 5


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One parameter a job takes: passed as JOBSUP_PARAM_<NAME>, and to a callable as a keyword."""

    name: str
    type: str
    """`string`, `integer`, `number` or `boolean`."""
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job's whole definition, defaults filled in: what a `[[job]]` table says, and what a worker reads.

    Durations are `timedelta`; paths are absolute; `timeout` None means none.
    """

    name: str
    kind: JobKind
    command: str | tuple[str, ...] | None = None
    script: str | None = None
    args: tuple[str, ...] = ()
    python: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()
    queue: str = "default"
    priority: int = 0
    """Higher runs first."""
    timeout: timedelta | None = timedelta(seconds=600)
    kill_grace: timedelta = timedelta(seconds=10)
    max_retries: int = 3
    retry_backoff: timedelta = timedelta(seconds=30)
    retry_backoff_max: timedelta = timedelta(hours=1)
    retry_on_lost: bool = True
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_limit: int = 100
    misfire_grace: timedelta | None = None
    params: tuple[ParamSpec, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    env_file: str | None = None
    cwd: str | None = None
    user: str | None = None
    success_exit_codes: tuple[int, ...] = (0,)
    output_limit: int = 1 << 20
    """Bytes kept of one run's output: half from its head, half from its tail."""
    stderr: str = "separate"
    """`separate` marks which bytes were stderr; `merge` gives both streams one exact order."""


STDOUT, STDERR = 1, 2
"""How a stream is named in output chunks and marks."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker is handed when it claims a dispatch: enough to run it without asking again."""

    dispatch_id: int
    job_id: int
    job: JobSpec
    config_hash: str
    source: Source
    retry_count: int
    scheduled_for: datetime | None
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of a live run's output, as read."""

    dispatch_id: int
    offset: int
    """Bytes the run had printed before it, both streams together."""
    stream: int
    at: datetime
    data: bytes


@dataclass(frozen=True, slots=True)
class CapturedOutput:
    """What is kept of a run's output, and how much is not."""

    data: bytes = b""
    total: int = 0
    dropped: int = 0
    gap_at: int | None = None
    """Where in `data` the dropped bytes stood; None when none were dropped."""
    marks: tuple[tuple[int, int], ...] = ()
    """Runs of one stream in `data`, in order: (length, STDOUT | STDERR)."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How an attempt ended, as its worker saw it."""

    dispatch_id: int
    status: Status
    reason: Reason
    finished_at: datetime
    started_at: datetime | None = None
    """None: no process was started, so there is no log row."""
    error_message: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    output: CapturedOutput = field(default_factory=CapturedOutput)
    result: str | None = None
    """A callable's return value, as JSON."""
    cpu_user: float | None = None
    cpu_system: float | None = None
    max_rss: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Who a worker is: what it registers with."""

    node: str
    boot_id: str
    pid_namespace: str
    process_id: int
    process_started: int
    heartbeat_interval: timedelta
    concurrency: int
    queues: tuple[str, ...]
    """Empty means all."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker says of itself each interval."""

    status: WorkerStatus
    jobs_processed: int
    current_job_id: int | None


@dataclass(frozen=True, slots=True)
class Skip:
    """A counted range of ticks that do not run, and why."""

    first: datetime
    last: datetime
    count: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class TickPlan:
    """What the scheduler decided for one due job; applied only if the job's `next_run` is still the one it saw."""

    job_id: int
    seen_next_run: datetime
    next_run: datetime | None
    runs: tuple[datetime, ...] = ()
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job whose tick has come, with all that the decision needs."""

    job_id: int
    name: str
    next_run: datetime
    schedule: ScheduleSpec
    catch_up: CatchUp
    catch_up_limit: int
    misfire_grace: timedelta | None
    paused_at: datetime | None
    paused_until: datetime | None
    paused_by: str | None
    paused_reason: str | None


@dataclass(frozen=True, slots=True)
class Lease:
    """A term of leadership this process holds."""

    holder: str
    epoch: int
    until: datetime
