"""The shape of every table in the file: which keys there are, and what each may hold.

Nothing is required and nothing has a default here: defaults are the settings' own, and what a job must have
is judged with its other keys in view.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from jobsup.config.fields import (
    Boolean,
    Command,
    ControlGroup,
    DatabaseUrl,
    FilledText,
    JsonTable,
    LogLevel,
    Name,
    NameOrNothing,
    NamePattern,
    Percentage,
    PythonCallable,
    RootPath,
    SchemaName,
    Secret,
    ShortText,
    Text,
    Umask,
    Variable,
    WorkerTag,
    duration_between,
    duration_or_none,
    items,
    one_of,
    or_none,
    size_between,
    whole_number,
)
from jobsup.config.moments import Day, DayRange, Instant, TimeZone, WallTime, Weekday, YearDay
from jobsup.config.report import Place, hint, shown
from jobsup.errors import Problem
from jobsup.model import BlackoutPolicy, CalendarRule, CatchUp, DependsMode, DependsWhen, Dst, IoClass, On, Overlap

# Before the first model is made: to look for plugins pydantic reads the metadata of every package that is installed,
# a tenth of what this module takes to load, and none of them has a say in what a configuration may hold.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

WORKERS_MAX = 1024
CONCURRENCY_MAX = 256
RETRIES_MAX = 1000
PRIORITY_MAX = 1_000_000
CATCH_UP_MAX = 10_000
QUEUE_LIMIT_MAX = 100_000
POOL_PLACES_MAX = 100_000
RETENTION_DAYS_MAX = 36_500
OUTPUT_LIMIT_MIN = 1 << 10
OUTPUT_LIMIT_MAX = 64 << 20
RUNNER_CALLS_MAX = 1_000_000_000
RUNNER_MEMORY_MIN, RUNNER_MEMORY_MAX = 32 << 20, 1 << 50
FREE_SPACE_MAX = 1 << 50
TAGS_MAX = 16
MEMORY_MIN = 4 << 20
"""Less than this no program starts in."""
SIZE_MAX = 1 << 50
TASKS_MAX = 4_194_304
FILES_MAX = 1_048_576
PORT_MAX = 65_535
SESSION_LIFETIME_MAX = timedelta(days=365)

UNSET: Any = None
"""The default of every key: what is not given is not looked at."""

_TICK = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_NOTHING = timedelta(0)


class Table(BaseModel):
    """A table of the file; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class JobsTable(Table):
    set: Name = UNSET


class DatabaseTable(Table):
    url: DatabaseUrl = UNSET
    synchronous: Annotated[str, one_of(("full", "normal"))] = UNSET
    free_space_min: Annotated[int, size_between(0, FREE_SPACE_MAX)] = UNSET
    wait: Annotated[timedelta, duration_between(_NOTHING, _DAY)] = UNSET
    schema_: SchemaName = Field(UNSET, alias="schema")
    timeout: Annotated[timedelta, duration_between(_SECOND, _HOUR)] = UNSET
    migrate: Boolean = UNSET


class SupervisorTable(Table):
    runtime_dir: ShortText = UNSET
    state_dir: ShortText = UNSET
    node: NameOrNothing = UNSET
    cgroup: ControlGroup = UNSET
    drain_timeout: Annotated[timedelta, duration_between(_NOTHING, _DAY)] = UNSET
    watchdog: Annotated[timedelta, duration_between(_SECOND, _HOUR)] = UNSET
    boot_timeout: Annotated[timedelta, duration_between(_SECOND, _HOUR)] = UNSET


class SchedulerTable(Table):
    poll_interval: Annotated[timedelta, duration_between(_TICK, _DAY)] = UNSET
    dispatch_lock_duration: Annotated[timedelta, duration_between(_SECOND, _HOUR)] = UNSET
    job_timeout_threshold: Annotated[timedelta, duration_between(_SECOND)] = UNSET
    max_retry_attempts: Annotated[int, whole_number(0, RETRIES_MAX)] = UNSET
    cleanup_retention_days: Annotated[int, whole_number(0, RETENTION_DAYS_MAX)] = UNSET
    cleanup_interval: Annotated[timedelta, duration_between(_SECOND)] = UNSET
    worker_offline_threshold: Annotated[timedelta, duration_between(_SECOND)] = UNSET
    priority_aging: Annotated[timedelta | None, duration_or_none(_SECOND)] = UNSET


class WorkerTable(Table):
    count: Annotated[int, whole_number(0, WORKERS_MAX)] = UNSET
    concurrency: Annotated[int, whole_number(1, CONCURRENCY_MAX)] = UNSET
    queues: Annotated[list[Name], items()] = UNSET
    tags: Annotated[list[Name], items(0, TAGS_MAX)] = UNSET
    poll_interval: Annotated[timedelta, duration_between(_TICK, _DAY)] = UNSET
    max_poll_interval: Annotated[timedelta, duration_between(_TICK, _DAY)] = UNSET
    heartbeat_interval: Annotated[timedelta, duration_between(100 * _TICK, _HOUR)] = UNSET
    job_timeout: Annotated[timedelta | None, duration_or_none(_TICK)] = UNSET
    python_path: Annotated[list[FilledText], items()] = UNSET
    preload: Annotated[list[FilledText], items()] = UNSET
    runner_max_calls: Annotated[int, whole_number(1, RUNNER_CALLS_MAX)] = UNSET
    runner_max_age: Annotated[timedelta, duration_between(_SECOND, 365 * _DAY)] = UNSET
    runner_max_memory: Annotated[int, size_between(RUNNER_MEMORY_MIN, RUNNER_MEMORY_MAX)] = UNSET


class PortalTable(Table):
    enabled: Boolean = UNSET
    host: FilledText = UNSET
    port: Annotated[int, whole_number(1, PORT_MAX)] = UNSET
    session_lifetime: Annotated[timedelta, duration_between(_MINUTE, SESSION_LIFETIME_MAX)] = UNSET
    allowed_hosts: Annotated[list[FilledText], items()] = UNSET
    behind_proxy: Boolean = UNSET
    tls_cert: ShortText = UNSET
    tls_key: ShortText = UNSET
    root_path: RootPath = UNSET
    allow_edit_commands: Boolean = UNSET


class LoggingTable(Table):
    level: LogLevel = UNSET
    format: Annotated[str, one_of(("text", "json"))] = UNSET
    file: ShortText = UNSET


class CalendarTable(Table):
    days: Annotated[int, whole_number(0, 10_000)] = UNSET
    weeks: Annotated[int, whole_number(0, 10_000)] = UNSET
    months: Annotated[int, whole_number(0, 10_000)] = UNSET
    years: Annotated[int, whole_number(0, 1_000)] = UNSET
    business_days: Annotated[int, whole_number(0, 10_000)] = UNSET
    at: WallTime = UNSET
    start_date: Day = UNSET


class DefaultsTable(Table):
    """What `[defaults]` may say for all jobs, and each job for itself."""

    description: ShortText = UNSET
    enabled: Boolean = UNSET
    timezone: TimeZone = UNSET
    dst: Annotated[Dst, one_of(Dst)] = UNSET
    tags: Annotated[list[Name], items()] = UNSET
    queue: Name = UNSET
    requires: Annotated[list[WorkerTag], items(0, TAGS_MAX)] = UNSET
    priority: Annotated[int, whole_number(-PRIORITY_MAX, PRIORITY_MAX)] = UNSET
    timeout: Annotated[timedelta | None, duration_or_none(_TICK)] = UNSET
    kill_grace: Annotated[timedelta, duration_between(_NOTHING, _DAY)] = UNSET
    max_retries: Annotated[int, whole_number(0, RETRIES_MAX)] = UNSET
    retry_backoff: Annotated[timedelta, duration_between(_NOTHING)] = UNSET
    retry_backoff_max: Annotated[timedelta, duration_between(_NOTHING)] = UNSET
    retry_on_lost: Boolean = UNSET
    on: Annotated[On, one_of(On)] = UNSET
    overlap: Annotated[Overlap, one_of(Overlap)] = UNSET
    queue_limit: Annotated[int, whole_number(1, QUEUE_LIMIT_MAX)] = UNSET
    catch_up: Annotated[CatchUp, one_of(CatchUp)] = UNSET
    catch_up_limit: Annotated[int, whole_number(1, CATCH_UP_MAX)] = UNSET
    misfire_grace: Annotated[timedelta | None, duration_or_none(_NOTHING)] = UNSET
    jitter: Annotated[timedelta, duration_between(_NOTHING, _DAY)] = UNSET
    use_calendar: NameOrNothing = UNSET
    calendar_rule: Annotated[CalendarRule, one_of(CalendarRule)] = UNSET
    pool: NameOrNothing = UNSET
    params: dict[str, Any] = UNSET
    env: dict[Variable, Text] = UNSET
    env_file: ShortText = UNSET
    secrets: dict[Variable, Secret] = UNSET
    cwd: ShortText = UNSET
    user: ShortText = UNSET
    group: ShortText = UNSET
    umask: Umask = UNSET
    nice: Annotated[int | None, or_none(whole_number(-20, 19))] = UNSET
    io_scheduling_class: Annotated[IoClass | None, or_none(one_of(IoClass))] = UNSET
    io_scheduling_priority: Annotated[int | None, or_none(whole_number(0, 7))] = UNSET
    oom_score_adjust: Annotated[int | None, or_none(whole_number(-1000, 1000))] = UNSET
    memory_max: Annotated[int | None, or_none(size_between(MEMORY_MIN, SIZE_MAX))] = UNSET
    tasks_max: Annotated[int | None, or_none(whole_number(1, TASKS_MAX))] = UNSET
    cpu_quota: Percentage = UNSET
    limit_nofile: Annotated[int | None, or_none(whole_number(3, FILES_MAX))] = UNSET
    limit_cpu: Annotated[timedelta | None, duration_or_none(_SECOND)] = UNSET
    limit_fsize: Annotated[int | None, or_none(size_between(0, SIZE_MAX))] = UNSET
    limit_core: Annotated[int | None, or_none(size_between(0, SIZE_MAX))] = UNSET
    success_exit_codes: Annotated[list[Annotated[int, whole_number(0, 255)]], items(1)] = UNSET
    output_limit: Annotated[int, size_between(OUTPUT_LIMIT_MIN, OUTPUT_LIMIT_MAX)] = UNSET
    stderr: Annotated[str, one_of(("separate", "merge"))] = UNSET


class ScheduleTable(Table):
    """`[[job.schedules]]`."""

    cron: FilledText = UNSET
    every: Annotated[timedelta, duration_between(_TICK)] = UNSET
    anchor: Instant = UNSET
    calendar: CalendarTable = UNSET
    on_calendar: FilledText = UNSET
    at: Instant = UNSET
    timezone: TimeZone = UNSET
    dst: Annotated[Dst, one_of(Dst)] = UNSET


class JobTable(DefaultsTable):
    """`[[job]]`."""

    name: Name = UNSET
    command: Command = UNSET
    script: FilledText = UNSET
    args: Annotated[list[Text], items()] = UNSET
    python: PythonCallable = UNSET
    stdin: Text = UNSET
    kwargs: JsonTable = UNSET
    cron: FilledText = UNSET
    every: Annotated[timedelta, duration_between(_TICK)] = UNSET
    anchor: Instant = UNSET
    calendar: CalendarTable = UNSET
    on_calendar: FilledText = UNSET
    at: Instant = UNSET
    schedules: Annotated[list[ScheduleTable], items(1)] = UNSET
    depends_on: Annotated[list[Name], items()] = UNSET
    depends_when: Annotated[DependsWhen, one_of(DependsWhen)] = UNSET
    depends_mode: Annotated[DependsMode, one_of(DependsMode)] = UNSET


class NamedCalendarTable(Table):
    """`[calendars.NAME]`."""

    dates: Annotated[list[Day], items()] = UNSET
    ranges: Annotated[list[DayRange], items()] = UNSET
    yearly: Annotated[list[YearDay], items()] = UNSET
    weekdays: Annotated[list[Weekday], items()] = UNSET
    ics: FilledText = UNSET
    include: Annotated[list[Name], items()] = UNSET


class BlackoutTable(Table):
    """`[[blackout]]`."""

    name: Name = UNSET
    from_: Instant = Field(UNSET, alias="from")
    until: Instant = UNSET
    cron: FilledText = UNSET
    on_calendar: FilledText = UNSET
    duration: Annotated[timedelta, duration_between(_SECOND)] = UNSET
    timezone: TimeZone = UNSET
    jobs: Annotated[list[NamePattern], items()] = UNSET
    tags: Annotated[list[Name], items()] = UNSET
    queues: Annotated[list[Name], items()] = UNSET
    policy: Annotated[BlackoutPolicy, one_of(BlackoutPolicy)] = UNSET


SECTIONS: dict[str, type[Table]] = {
    "jobs": JobsTable,
    "database": DatabaseTable,
    "supervisor": SupervisorTable,
    "scheduler": SchedulerTable,
    "worker": WorkerTable,
    "portal": PortalTable,
    "logging": LoggingTable,
    "defaults": DefaultsTable,
}

TOP_LEVEL = (*SECTIONS, "calendars", "blackout", "pools", "job", "include")


class Checked:
    """The values of a table that are right, by key; the keys that are wrong; and what is wrong with them."""

    def __init__(self, values: dict[str, Any], wrong: set[str], problems: list[Problem]) -> None:
        self.values = values
        self.wrong = wrong
        self.problems = problems


def check_table(model: type[Table], written: dict[str, Any], place: Place) -> Checked:
    """Check one table as written; only its given keys come back, so that the caller fills in defaults."""
    problems: list[Problem] = []
    wrong: set[str] = set()
    try:
        table = model.model_validate(written)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            keys = tuple(key for key in each["loc"] if key != "[key]")
            wrong.add(str(keys[0]))
            problems.append(place.problem(_sentence(each, model, keys), *keys))
        # What is left is right, so that one wrong key hides no problem of another.
        table = model.model_validate({key: value for key, value in written.items() if key not in wrong})
    values = {model.model_fields[key].alias or key: getattr(table, key) for key in table.model_fields_set}
    return Checked(values, wrong, problems)


def _sentence(error: ErrorDetails, model: type[Table], keys: tuple[str | int, ...]) -> str:
    """Say in our words what pydantic found."""
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "extra_forbidden":
            return f"unknown key{hint(str(keys[-1]), _known_keys(model, keys))}"
        case "list_type":
            return f"must be a list in square brackets, not {shown(error['input'])}"
        case "dict_type" | "model_type":
            return f"must be a table, not {shown(error['input'])}"
    return f"{error['msg']}, not {shown(error['input'])}"


def _known_keys(model: type[Table], keys: tuple[str | int, ...]) -> list[str]:
    """Return the keys of the table that an unknown key stands in."""
    if "calendar" in keys[:-1]:
        model = CalendarTable
    elif keys[0] == "schedules":
        model = ScheduleTable
    return [field.alias or name for name, field in model.model_fields.items()]
