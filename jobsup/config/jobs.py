"""`[[job]]` tables to job definitions: defaults filled in, paths made absolute, and judged as a whole."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobsup.config import density, depends, places, triggers
from jobsup.config.keys import JOB_VARIABLES, RESERVED_PREFIXES
from jobsup.config.params import read_params
from jobsup.config.params import written as param_table
from jobsup.config.report import Place, Report, hint, shown
from jobsup.config.schema import Checked, JobTable, check_table
from jobsup.config.scripts import script_argv
from jobsup.config.sections import resolve_paths
from jobsup.config.source import Source
from jobsup.errors import Problem
from jobsup.model import IoClass, JobKind, JobSpec, SetSpec

JOBS_MAX = 100_000

_WORK_KEYS = tuple(kind.value for kind in JobKind)
_MERGED_TABLES = ("env", "secrets", "params")
_TUPLE_KEYS = ("args", "tags", "requires", "success_exit_codes", "depends_on")
_EMPTY_MEANS_NONE = ("env_file", "cwd", "user", "group", "umask", "cpu_quota", "pool")
_COPIED_KEYS = (
    *("name", "script", "args", "python", "kwargs", "description", "enabled", "tags", "queue", "priority"),
    *("timeout", "kill_grace", "max_retries", "retry_backoff", "retry_backoff_max", "retry_on_lost", "overlap"),
    *("catch_up", "catch_up_limit", "misfire_grace", "env", "env_file", "secrets", "cwd", "user", "success_exit_codes"),
    *("stdin", "group", "umask", "nice", "io_scheduling_class", "io_scheduling_priority", "oom_score_adjust"),
    *("memory_max", "tasks_max", "cpu_quota", "limit_nofile", "limit_cpu", "limit_fsize", "limit_core"),
    *("output_limit", "stderr", "queue_limit", "jitter", "pool", "depends_on", "depends_when", "depends_mode"),
    *("requires", "on"),
)


@dataclass(frozen=True)
class Draft:
    """One table on its way: where it stands, what it says with the defaults filled in, and what of it is wrong."""

    place: Place
    own: dict[str, Any]
    values: dict[str, Any]
    wrong: frozenset[str]

    def is_right(self, *keys: str) -> bool:
        return not self.wrong.intersection(keys)


def read_jobs(
    sources: list[Source],
    defaults: dict[str, Any],
    shared: SetSpec,
    now: datetime,
    report: Report,
    *,
    others: Mapping[str, Sequence[str]] = depends.NOBODY,
) -> tuple[JobSpec, ...]:
    """Return the jobs of all files in the order they stand; what is wrong with them goes to `report`.

    `defaults` are checked values by key: what a job says nothing about, its calendar as such. `others` are jobs that
    stand elsewhere, each with those it waits for.
    """
    jobs: list[JobSpec] = []
    seen: dict[str, Place] = {}
    for source in sources:
        for place, written in _tables(source, report):
            draft = _draft(place, written, defaults, source.folder, report)
            _check_name(draft, seen, report)
            if len(seen) > JOBS_MAX:
                report.add(place.problem(f"more than {JOBS_MAX} jobs"))
                return tuple(jobs)
            put_shared(draft, shared, report)
            job = _job(draft, now, report)
            if job is not None:
                jobs.append(job)
    report.add(*depends.faults(jobs, seen, others))
    return tuple(jobs)


def put_shared(draft: Draft, shared: SetSpec, report: Report) -> None:
    """Put the calendar that a table names into its values; report a calendar or a pool that there is none of."""
    calendars = {calendar.name: calendar for calendar in shared.calendars}
    name = draft.own.get("use_calendar")
    if name is not None:
        draft.values["use_calendar"] = calendars.get(name)
    if name and name not in calendars:
        message = f"there is no calendar {shown(name)}: add [calendars.{name}]{hint(name, calendars)}"
        report.add(draft.place.problem(message, "use_calendar"))
    pool, pools = draft.own.get("pool"), [each.name for each in shared.pools]
    if pool and pool not in pools:
        message = f"there is no pool {shown(pool)}: add {pool} = N to [pools]{hint(pool, pools)}"
        report.add(draft.place.problem(message, "pool"))


def template(defaults: dict[str, Any]) -> JobSpec:
    """Return the job that says nothing of itself: the defaults, in a job's shape."""
    params, _ = read_params(defaults.get("params", {}))
    return JobSpec(
        **{"name": "", **_fields(defaults)},
        kind=JobKind.COMMAND,
        params=params,
        schedule=triggers.schedule_spec(defaults),
    )


def values_of(template: JobSpec) -> dict[str, Any]:
    """Return the defaults that `template` was made of, as `read_jobs` takes them."""
    own = ("name", *_WORK_KEYS, "args", "kwargs")
    schedule = template.schedule
    return {
        **{key: getattr(template, key) for key in _COPIED_KEYS if key not in own},
        **{key: getattr(schedule, key) for key in ("timezone", "dst", "use_calendar", "calendar_rule")},
        "params": {param.name: param_table(param) for param in template.params},
    }


def check_defaults(place: Place, defaults: dict[str, Any], shared: SetSpec, report: Report) -> dict[str, Any]:
    """Report what is wrong in `[defaults]` as a whole, once, and not again for each job.

    Returns what it changes in them: the calendar for its name.
    """
    draft = Draft(place, defaults, {**defaults}, frozenset())
    put_shared(draft, shared, report)
    report.add(
        *_param_faults(draft), *_env_faults(draft), *_path_faults(draft), *_user_faults(draft), *_rank_faults(draft)
    )
    return {key: value for key, value in draft.values.items() if key == "use_calendar"}


def _tables(source: Source, report: Report) -> Iterator[tuple[Place, dict[str, Any]]]:
    written = source.data.get("job", [])
    if not isinstance(written, list):
        report.add(source.place("", "job").problem("a job's table is written [[job]], with two brackets", "job"))
        return
    for index, table in enumerate(written):
        place = source.place(f"[[job]] {index + 1}", "job", index)
        if isinstance(table, dict):
            name = table.get("name")
            yield place.named(f"{place.table} {shown(name)}") if isinstance(name, str) else place, table
        else:
            report.add(place.problem(f"must be a table, not {shown(table)}"))


def _draft(place: Place, written: dict[str, Any], defaults: dict[str, Any], folder: Path, report: Report) -> Draft:
    checked: Checked = check_table(JobTable, written, place)
    report.add(*checked.problems)
    own = checked.values
    resolve_paths("defaults", own, folder)
    if "script" in own:
        own["script"] = places.absolute(own["script"], folder)
    values = {**defaults, **own}
    for key in _MERGED_TABLES:
        if key in defaults and key in own:
            values[key] = {**defaults[key], **own[key]}
    return Draft(place, own, values, frozenset(checked.wrong))


def _check_name(draft: Draft, seen: dict[str, Place], report: Report) -> None:
    name = draft.own.get("name")
    if name is None:
        if draft.is_right("name"):
            report.add(draft.place.problem('has no name: add name = "..."'))
        return
    first = seen.setdefault(name, draft.place)
    if first is not draft.place:
        where = f"{first.file}:{first.line('name')} {first.table}"
        report.add(draft.place.problem(f"duplicate name: {where} has it already", "name"))


def _job(draft: Draft, now: datetime, report: Report) -> JobSpec | None:
    """Return the definition, or None where too much is wrong to have one."""
    work = [key for key in _WORK_KEYS if key in draft.own or key in draft.wrong]
    report.add(*_work_faults(draft, work), *_file_faults(draft), *_param_faults(draft), *_env_faults(draft))
    report.add(*_user_faults(draft), *_rank_faults(draft), *_retry_faults(draft), *_depends_faults(draft))
    spec = triggers.read_schedule(draft.place, draft.values, draft.wrong, now, report)
    report.add(*density.faults(draft.place, spec, draft.values, now))
    if draft.wrong or len(work) != 1 or "name" not in draft.own:
        return None
    params, _ = read_params(draft.values.get("params", {}))
    command = draft.own.get("command")
    return JobSpec(
        **_fields(draft.values),
        kind=JobKind(work[0]),
        command=tuple(command) if isinstance(command, list) else command,
        params=params,
        schedule=spec,
    )


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that go into a JobSpec as they are, in its own types."""
    fields = {key: values[key] for key in _COPIED_KEYS if key in values}
    for key in _TUPLE_KEYS:
        if key in fields:
            fields[key] = tuple(dict.fromkeys(fields[key])) if key != "args" else tuple(fields[key])
    if "requires" in fields:
        fields["requires"] = tuple(sorted(fields["requires"]))  # a set: in whatever order, it asks for the same
    for key in _EMPTY_MEANS_NONE:
        if key in fields:
            fields[key] = fields[key] or None
    if "retry_backoff" in fields and "retry_backoff_max" not in fields:
        fields["retry_backoff_max"] = max(fields["retry_backoff"], JobSpec("", JobKind.COMMAND).retry_backoff_max)
    return fields


def _work_faults(draft: Draft, work: list[str]) -> Iterator[Problem]:
    if not work:
        yield draft.place.problem("says nothing to run: add one of command, script or python")
    for extra in work[1:]:
        yield draft.place.problem(f"a job runs one thing, and {work[0]} is given too: drop one", extra)
    for key, owner in (("args", "script"), ("kwargs", "python")):
        if key in draft.own and owner not in work:
            yield draft.place.problem(f"goes with {owner} only", key)
    if "stdin" in draft.own and "python" in work:
        yield draft.place.problem("goes with command and script only: give the callable kwargs or params", "stdin")


def _file_faults(draft: Draft) -> Iterator[Problem]:
    yield from _path_faults(Draft(draft.place, draft.own, draft.own, draft.wrong))
    script = draft.own.get("script")
    if script is None:
        return
    try:
        argv = script_argv(script)
    except OSError as error:
        yield draft.place.problem(f"{script} cannot be read: {error.strerror}", "script")
        return
    if argv is None:
        yield draft.place.problem(
            f"{script} is not executable, has no #! line, and its extension is not known: "
            f"chmod +x, or give it a #! line",
            "script",
        )


def _path_faults(draft: Draft) -> Iterator[Problem]:
    cwd, env_file = draft.values.get("cwd"), draft.values.get("env_file")
    if cwd and not Path(cwd).is_dir():
        yield draft.place.problem(f"folder {cwd} does not exist", "cwd")
    if env_file and not Path(env_file).is_file():
        yield draft.place.problem(f"file {env_file} does not exist", "env_file")
    elif env_file and not os.access(env_file, os.R_OK):
        yield draft.place.problem(f"file {env_file} cannot be read", "env_file")


def _param_faults(draft: Draft) -> Iterator[Problem]:
    """Judge the job's own parameters beside those of `[defaults]`, which are reported there."""
    own = draft.own.get("params", {})
    params, faults = read_params(draft.values.get("params", {}))
    for keys, message in faults:
        if not keys or keys[0] in own:
            yield draft.place.problem(message, "params", *keys)
    if triggers.has_schedule(draft.own) or draft.own.get("depends_on"):
        for param in params:
            if param.required:
                yield draft.place.problem(
                    f"is required, but the job has {_starter(draft)}, which gives no parameters: add a default",
                    "params",
                    param.name,
                )


def _env_faults(draft: Draft) -> Iterator[Problem]:
    for table in ("env", "secrets"):
        for variable in draft.own.get(table, {}):
            if variable in JOB_VARIABLES or variable.startswith(RESERVED_PREFIXES):
                yield draft.place.problem("is set by jobsup itself: choose another name", table, variable)
    for variable, source in draft.own.get("secrets", {}).items():
        if "file" in source and not Path(source["file"]).is_file():
            yield draft.place.problem(f"file {source['file']} does not exist", "secrets", variable)
        if "command" in source and "python" in draft.own:
            yield draft.place.problem("a callable's secrets come by file: drop the command", "secrets", variable)


def _user_faults(draft: Draft) -> Iterator[Problem]:
    user, group = draft.own.get("user"), draft.own.get("group")
    uid, gid = _number_of(user, pwd.getpwnam, pwd.getpwuid), _number_of(group, grp.getgrnam)
    if user and uid is None:
        yield draft.place.problem(f"there is no user {shown(user)} on this machine", "user")
    elif user and os.geteuid() not in (0, uid):
        yield draft.place.problem("only root can run jobs as another user: start jobsup as root", "user")
    if group and gid is None:
        yield draft.place.problem(f"there is no group {shown(group)} on this machine", "group")
    elif group and os.geteuid() != 0 and gid != os.getegid():
        yield draft.place.problem("only root can run jobs as another group: start jobsup as root", "group")


def _number_of(
    name: str | None, by_name: Callable[[str], Any], by_number: Callable[[int], Any] | None = None
) -> int | None:
    """Return the id of a user or a group, given by its name or its number; None when there is none."""
    if not name:
        return None
    try:
        if name.isdecimal():
            return int(by_number(int(name))[2]) if by_number else int(name)
        return int(by_name(name)[2])
    except (KeyError, OverflowError):
        return None


def _rank_faults(draft: Draft) -> Iterator[Problem]:
    """Judge what only root may give a process."""
    if os.geteuid() == 0:
        return
    for key, is_raised in (
        ("nice", (draft.own.get("nice") or 0) < 0),
        ("oom_score_adjust", (draft.own.get("oom_score_adjust") or 0) < 0),
        ("io_scheduling_class", draft.own.get("io_scheduling_class") is IoClass.REALTIME),
    ):
        if is_raised:
            yield draft.place.problem("only root can put a job before others: start jobsup as root", key)


def _retry_faults(draft: Draft) -> Iterator[Problem]:
    first, most = draft.values.get("retry_backoff"), draft.values.get("retry_backoff_max")
    if (
        first is not None
        and most is not None
        and first > most
        and draft.own.keys() & {"retry_backoff", "retry_backoff_max"}
    ):
        yield draft.place.problem("is longer than retry_backoff_max: raise that, or lower this", "retry_backoff")


def _starter(draft: Draft) -> str:
    return "a schedule" if triggers.has_schedule(draft.own) else "depends_on"


def _depends_faults(draft: Draft) -> Iterator[Problem]:
    if not draft.own.get("depends_on") and draft.is_right("depends_on"):
        for key in ("depends_when", "depends_mode"):
            if key in draft.own:
                yield draft.place.problem("goes with depends_on only", key)
