"""What a job is: its schedule, its parameters, and all that its definition says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jobsup.model.policies import CalendarRule, CatchUp, DependsMode, DependsWhen, Dst, IoClass, JobKind, On, Overlap


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
    requires: tuple[str, ...] = ()
    """Tags that a worker must have to run it, sorted."""
    on: On = On.ONE
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
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Variables by name, each with where its value is from: `{"file": path}` or `{"command": [words]}`."""
    cwd: str | None = None
    stdin: str = ""
    """What its process reads from its standard input; empty: nothing, from /dev/null."""
    user: str | None = None
    group: str | None = None
    """Its primary group, instead of the user's own."""
    umask: str | None = None
    """In octal digits."""
    nice: int | None = None
    io_scheduling_class: IoClass | None = None
    io_scheduling_priority: int | None = None
    oom_score_adjust: int | None = None
    memory_max: int | None = None
    """Bytes of all its processes together; without a control group, of each."""
    tasks_max: int | None = None
    """Processes and threads; without a control group, of all that its user has."""
    cpu_quota: str | None = None
    """Processor time against the clock: `150%`; only a control group can hold it to that."""
    limit_nofile: int | None = None
    limit_cpu: timedelta | None = None
    limit_fsize: int | None = None
    limit_core: int | None = None
    success_exit_codes: tuple[int, ...] = (0,)
    output_limit: int = 1 << 20
    """Bytes kept of one run's output: half from its head, half from its tail."""
    stderr: str = "separate"
    """`separate` marks which bytes were stderr; `merge` gives both streams one exact order."""
