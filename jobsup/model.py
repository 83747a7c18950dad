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
    QUEUE_FULL = "queue_full"
    """SKIPPED: `queue_limit` runs were waiting already (`overlap = "queue"`)."""
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
    CALENDAR = "calendar"
    """SKIPPED: the job's calendar leaves that day out."""
    BLACKOUT = "blackout"
    """SKIPPED: it fell into a blackout window whose policy is `skip`, or another tick that it held runs for it."""


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


class Role(StrEnum):
    """What a user of the portal may do; each includes those before it."""

    VIEWER = "viewer"
    """Look at everything."""
    OPERATOR = "operator"
    """Run, cancel, retry, pause and resume."""
    AUTHOR = "author"
    """Make and change jobs."""
    ADMIN = "admin"
    """Keep users and tokens, and reload the configuration."""

    def includes(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


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


class CalendarRule(StrEnum):
    """What the days of a job's named calendar do to its ticks.

    A business day is neither one of the calendar's days nor at the weekend, which is Saturday and Sunday unless
    the calendar has `weekdays` of its own.
    """

    SKIP = "skip"
    """A tick on one of them does not run."""
    NEXT_BUSINESS_DAY = "next_business_day"
    """A tick that is not on a business day runs at the same time of the next one."""
    PREVIOUS_BUSINESS_DAY = "previous_business_day"
    """A tick that is not on a business day runs at the same time of the one before."""
    ONLY = "only"
    """A tick on any other day does not run."""

    @property
    def moves(self) -> bool:
        return self in (CalendarRule.NEXT_BUSINESS_DAY, CalendarRule.PREVIOUS_BUSINESS_DAY)


class DependsWhen(StrEnum):
    """Which end of a job that this one depends on counts."""

    SUCCESS = "success"
    """It COMPLETED."""
    FAILURE = "failure"
    """It ended in any other way, after its last retry."""
    ANY = "any"
    """It ended."""


class DependsMode(StrEnum):
    """How many of the jobs that this one depends on must have ended so."""

    ALL = "all"
    """Each of them, since this job's last run."""
    ANY = "any"
    """Any one of them."""


class BlackoutPolicy(StrEnum):
    """What becomes of a tick in a blackout window."""

    HOLD = "hold"
    """It waits until the window has ended; several held ticks of one job become one run."""
    SKIP = "skip"
    """It is SKIPPED/blackout."""


@dataclass(frozen=True, slots=True)
class NamedCalendar:
    """A set of days, as `[calendars.NAME]` says it, with all that it includes already in it.

    All three are sorted and without doubles, so that equal calendars are equal values.
    """

    name: str
    days: tuple[str, ...] = ()
    """Dates and ranges, both ends in: `2026-12-24`, `2026-12-24/2027-01-02`."""
    yearly: tuple[str, ...] = ()
    """Days of each year, `12-25`; `02-29` is there in leap years only."""
    weekdays: tuple[str, ...] = ()
    """Days of each week, `SAT`."""


@dataclass(frozen=True, slots=True)
class CalendarSpec:
    """Every N days, weeks, months, years or business days at a wall time, counted from a start date."""

    days: int = 0
    weeks: int = 0
    months: int = 0
    years: int = 0
    business_days: int = 0
    """Monday to Friday, or what the job's named calendar makes of them."""
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
    use_calendar: NamedCalendar | None = None
    """The whole calendar, so that a definition alone tells its ticks, and a changed calendar is a changed schedule."""
    calendar_rule: CalendarRule = CalendarRule.SKIP
    also: tuple[ScheduleSpec, ...] = ()
    """Further schedules of the job, each complete in itself and without an `also`; an instant of two is one tick."""

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
    queue_limit: int = 100
    """Runs that may wait with `overlap = "queue"`."""
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_limit: int = 100
    misfire_grace: timedelta | None = None
    jitter: timedelta = timedelta(0)
    """Each tick starts later by up to so much, always by the same for one tick."""
    pool: str | None = None
    """The resource that a run takes one place of."""
    depends_on: tuple[str, ...] = ()
    """Jobs whose ends start this one."""
    depends_when: DependsWhen = DependsWhen.SUCCESS
    depends_mode: DependsMode = DependsMode.ALL
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


@dataclass(frozen=True, slots=True)
class BlackoutSpec:
    """A time in which jobs do not start: once, from an instant until another, or by a schedule for a duration.

    It covers the jobs that any of `jobs`, `tags` and `queues` names; when all three are empty it covers all.
    """

    name: str
    start: datetime | None = None
    """With `end`: the window is [start, end)."""
    end: datetime | None = None
    schedule: ScheduleSpec | None = None
    """With `duration`: a window begins with each of its ticks."""
    duration: timedelta | None = None
    jobs: tuple[str, ...] = ()
    """Names, with `*` and `?` standing for any characters and any one."""
    tags: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    policy: BlackoutPolicy = BlackoutPolicy.HOLD


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A resource that so many runs may use at a time."""

    name: str
    places: int


@dataclass(frozen=True, slots=True)
class SetSpec:
    """What the jobs of a definition set share; each in the order of its names."""

    calendars: tuple[NamedCalendar, ...] = ()
    blackouts: tuple[BlackoutSpec, ...] = ()
    pools: tuple[PoolSpec, ...] = ()


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
    parent_id: int | None = None
    """The run whose end started this one."""


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
    text: str | None = None
    """More about it for a person: who paused the job, and why."""


@dataclass(frozen=True, slots=True)
class TickPlan:
    """What the scheduler decided for one due job; applied only if the job's `next_run` is still the one it saw."""

    job_id: int
    seen_next_run: datetime
    next_run: datetime | None
    runs: tuple[datetime, ...] = ()
    skips: tuple[Skip, ...] = ()
    starts: dict[datetime, datetime] = field(default_factory=dict)
    """Of `runs` that start later than at once, by jitter or a blackout: when."""
    held: frozenset[datetime] = frozenset()
    """Of `runs`, those that wait for the end of a blackout: of several of a job that end together one runs."""
    notes: dict[datetime, str] = field(default_factory=dict)
    """Of `runs`, what is special about them."""
    zone_fingerprint: str | None = None
    """Which rules of time zones `next_run` was computed with."""


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job whose tick has come, with all that the decision needs."""

    job_id: int
    spec: JobSpec
    next_run: datetime
    blackouts: tuple[BlackoutSpec, ...] = ()
    """Those of its definition set that are meant for it."""
    paused_at: datetime | None = None
    paused_until: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(frozen=True, slots=True)
class Lease:
    """A term of leadership this process holds."""

    holder: str
    epoch: int
    until: datetime
