"""A Job Trigger Portal's jobs, schedules and history as ours; done again, it adds only what is new."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jobsup.config import durations, jobs
from jobsup.config.report import Report
from jobsup.config.scripts import script_argv
from jobsup.config.settings import Config
from jobsup.config.source import Source
from jobsup.importing import naming, proof
from jobsup.importing.draft import Draft, Fault, Harvest
from jobsup.model import JobSpec, Origin, Reason, Status
from jobsup.store import portal_import
from jobsup.store.engine import Database
from jobsup.store.portal_import import Known, OldPortal, OldRun

INTERPRETER = "python3"
"""The old system gives every script to its own Python."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Its `schedule_day` of a week counts from Monday, 0."""
HEADER = ("What an old job has no words for follows from [defaults]; the tag of a job ties it to its history.",)

_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2})(?::\d{1,2})?", re.ASCII)
_STATUSES = {
    **dict.fromkeys(("success", "succeeded", "completed", "complete", "ok"), (Status.COMPLETED, Reason.NONE)),
    **dict.fromkeys(("failure", "failed", "fail"), (Status.FAILED, Reason.EXIT_CODE)),
    "error": (Status.FAILED, Reason.INTERNAL),
    **dict.fromkeys(("timeout", "timed_out"), (Status.TIMEOUT, Reason.DEADLINE)),
    **dict.fromkeys(("cancelled", "canceled", "aborted"), (Status.CANCELLED, Reason.CANCELLED)),
}
_DEFAULT_KEYS = (
    *("queue", "priority", "timeout", "kill_grace", "max_retries", "retry_backoff", "retry_backoff_max"),
    *("retry_on_lost", "overlap", "catch_up", "catch_up_limit", "misfire_grace", "env", "env_file", "cwd", "user"),
    *("success_exit_codes", "output_limit", "stderr", "tags"),
)
_NOT_ENDED = ("running", "pending", "queued", "in_progress", "started")


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read the old rows."""

    label: str
    """Tells several old systems apart: it begins their tags and marks."""
    timezone: str
    """The zone of its times; the portal itself keeps UTC."""
    folder: Path | None
    """Where its relative paths start, and its jobs ran."""

    def tag(self, old_id: int) -> str:
        return naming.valid(f"{self.label}-{old_id}")


@dataclass
class Brought:
    """What an import into the database did."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    runs: int = 0
    not_ended: int = 0
    waiting: int = 0
    """Old jobs whose history waits until the job itself is here."""
    oldest: datetime | None = None
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def drafts(old: OldPortal, plan: Plan, names: naming.Names, known: Mapping[int, Known]) -> Harvest:
    """Return the old jobs as drafts; those that are here already (`known`, by old id) keep their names."""
    made: list[Draft] = []
    faults: list[Fault] = []
    rows = old.jobs()
    kept = {row["id"]: names.give(known[row["id"]].name) for row in rows if row["id"] in known}
    for row in rows:
        try:
            draft = _draft(row, plan)
        except ValueError as error:
            faults.append(Fault(_place(row), str(error)))
            continue
        name = kept.get(row["id"]) or names.give(draft.name)
        made.append(Draft(draft.place, {**draft.table, "name": name}, draft.notes))
    return proof.proved(Harvest(tuple(made), tuple(faults)))


def known_jobs(database: Database, old: OldPortal, plan: Plan) -> dict[int, Known]:
    """Return the old jobs that are here already, by their old ids."""
    tags = {plan.tag(row["id"]): row["id"] for row in old.jobs()}
    return {tags[tag]: known for tag, known in portal_import.known_jobs(database, list(tags)).items()}


def hand_over(database: Database, known: Iterable[Known], harvest: Harvest, set_name: str) -> list[str]:
    """Let jobs of the command line belong to the file that now says the same of them; returns their names."""
    written = {draft.name for draft in harvest.drafts}
    ours = [each for each in known if each.origin is Origin.CLI and each.name in written]
    portal_import.hand_over(database, [each.job_id for each in ours], set_name)
    return sorted(each.name for each in ours)


@dataclass(frozen=True, slots=True)
class Target:
    """Where new jobs go: the set they belong to, what they do not say, and who has them begin paused."""

    set_name: str
    defaults: dict[str, Any]
    paused_by: str | None = None


def bring(database: Database, old: OldPortal, plan: Plan, target: Target) -> Brought:
    """Bring over jobs as the command line's own, and history; what is here already is left as it is, or updated.

    A job that has come to stand in a file, or was removed, keeps what is said of it there: only its history grows.
    """
    return _Bringer(database, old, plan).bring(target)


def bring_history(database: Database, old: OldPortal, plan: Plan) -> Brought:
    """Bring over the history of the jobs that are here already."""
    return _Bringer(database, old, plan).bring(None)


def target_of(config: Config, paused_by: str | None) -> Target:
    """Return where jobs of the command line go: beside those of the configuration, with its defaults."""
    template = config.defaults
    said = {key: getattr(template, key) for key in _DEFAULT_KEYS}
    zone = {"timezone": template.schedule.timezone, "dst": template.schedule.dst}
    return Target(config.set, {**said, **zone}, paused_by)


class _Bringer:
    """One import into the database."""

    def __init__(self, database: Database, old: OldPortal, plan: Plan) -> None:
        self._database = database
        self._old = old
        self._plan = plan
        self._brought = Brought()
        self._names = naming.Names(portal_import.names(database))

    def bring(self, target: Target | None) -> Brought:
        """Bring history, and jobs where there is a target for them."""
        rows = self._old.jobs()
        known = portal_import.known_jobs(self._database, [self._plan.tag(row["id"]) for row in rows])
        for row in rows:
            job_id = self._job(row, known.get(self._plan.tag(row["id"])), target)
            if job_id is not None:
                self._runs(row["id"], job_id)
        return self._brought

    def _job(self, row: dict[str, Any], here: Known | None, target: Target | None) -> int | None:
        """Make the job, or bring it to what the old row says now; return its id, None when there is none."""
        if target is None or (here and (here.is_retired or here.origin is not Origin.CLI)):
            self._brought.waiting += here is None
            return here.job_id if here else None
        try:
            draft = _draft(row, self._plan)
            spec = _spec(draft, target.defaults)
        except ValueError as error:
            self._brought.faults.append(Fault(_place(row), str(error)))
            return here.job_id if here else None
        if here is not None:
            self._change(here, spec)
            return here.job_id
        spec = replace(spec, name=self._names.give(draft.name))
        self._brought.added.append(spec.name)
        self._brought.notes += [f"{draft.place}: {spec.name}: {note}" for note in draft.notes]
        return portal_import.add_job(self._database, spec, target.set_name, paused_by=target.paused_by).job_id

    def _change(self, here: Known, wanted: JobSpec) -> None:
        spec = replace(wanted, name=here.name)
        if spec.schedule.every is not None and spec.schedule.every == here.spec.schedule.every:
            # The old system counts an interval from its last run, so that its next one drifts; ours stays.
            spec = replace(spec, schedule=here.spec.schedule)
        if portal_import.change_job(self._database, here, spec):
            self._brought.changed.append(spec.name)

    def _runs(self, old_id: int, job_id: int) -> None:
        for batch in self._old.logs(old_id):
            runs = list(_runs(batch, self._plan, self._brought))
            if runs:
                self._brought.runs += portal_import.add_runs(self._database, job_id, self._plan.label, runs)
                oldest = min(run.at for run in runs)
                self._brought.oldest = min(oldest, self._brought.oldest or oldest)


def _runs(batch: list[dict[str, Any]], plan: Plan, brought: Brought) -> Iterator[OldRun]:
    """Yield what has ended; what has not is brought by a later import."""
    for row in batch:
        word = str(row["status"] or "").strip().lower()
        if word in _NOT_ENDED:
            brought.not_ended += 1
            continue
        status, reason = _STATUSES.get(word, (Status.FAILED, Reason.NONE))
        error = None if word in _STATUSES else f'the old system calls its status "{row["status"]}"'
        try:
            at = _instant(row["run_time"], plan.timezone)
        except ValueError as fault:
            brought.faults.append(Fault(f"{portal_import.LOGS_TABLE} {row['id']}", str(fault)))
            continue
        yield OldRun(row["id"], at, status, reason, _bytes(row["log_output"]), error)


def _draft(row: dict[str, Any], plan: Plan) -> Draft:
    """Return one old job. ValueError says what of it cannot be understood."""
    notes: list[str] = []
    name = str(row["name"] or "")
    table: dict[str, Any] = {"name": naming.valid(name.strip().replace(" ", "-"))}
    if table["name"] != name:
        table["description"] = " ".join(name.split())
    table |= _command(row, plan, notes)
    table |= _schedule(row, plan, notes)
    if plan.folder is not None and plan.folder.is_dir():
        table["cwd"] = str(plan.folder)
    if not row["is_active"]:
        table["enabled"] = False
    table["tags"] = [plan.tag(row["id"])]
    return Draft(_place(row), table, tuple(notes))


def _spec(draft: Draft, defaults: dict[str, Any]) -> JobSpec:
    """Return the definition as the configuration would make it. ValueError with all that it would refuse."""
    report = Report()
    source = Source("", Path("/jobs.toml"), "", {"job": [draft.table]})
    specs = jobs.read_jobs([source], defaults, datetime.now(UTC), report)
    if report.errors():
        raise ValueError("; ".join(problem.message for problem in report.errors()))
    return specs[0]


def _command(row: dict[str, Any], plan: Plan, notes: list[str]) -> dict[str, Any]:
    written = str(row["script_path"] or "").strip()
    if not written:
        raise ValueError("it has no script_path")
    script = Path(written) if plan.folder is None else plan.folder / written
    try:
        args = shlex.split(str(row["script_args"] or ""))
    except ValueError as error:
        raise ValueError(f"its script_args cannot be read ({error})") from None
    try:
        is_found = script_argv(str(script)) is not None
    except (OSError, ValueError):
        is_found = False
    if is_found:
        return {"script": str(script), **({"args": args} if args else {})}
    notes.append(f"its script {script} is not here: it fails until it is")
    return {"command": [INTERPRETER, str(script), *args]}


def _schedule(row: dict[str, Any], plan: Plan, notes: list[str]) -> dict[str, Any]:
    """Return the schedule keys, none for a manual job."""
    kind = str(row["schedule_type"] or "interval").strip().lower()
    if kind == "manual":
        return {}
    if kind == "interval":
        return _interval(row, plan)
    hour, minute = _clock(row["schedule_time"])
    day = row["schedule_day"]
    zone = {"timezone": plan.timezone}
    match kind:
        case "hourly":
            return {"cron": f"{minute} * * * *", **zone}
        case "daily":
            return {"cron": f"{minute} {hour} * * *", **zone}
        case "weekly":
            return {"cron": f"{minute} {hour} * * {_weekday(day)}", **zone}
        case "monthly":
            return {"cron": f"{minute} {hour} {_month_day(day, notes)} * *", **zone}
    raise ValueError(f'its schedule_type "{kind}" is none of interval, hourly, daily, weekly, monthly, manual')


def _interval(row: dict[str, Any], plan: Plan) -> dict[str, Any]:
    try:
        every = durations.parse(f"{int(row['interval_seconds'])}s")
    except (TypeError, ValueError):
        raise ValueError(f"its interval_seconds {row['interval_seconds']!r} is no interval") from None
    if not every:
        raise ValueError("its interval_seconds is 0")
    table: dict[str, Any] = {"every": durations.format_duration(every)}
    if row["next_run"]:
        table["anchor"] = _instant(row["next_run"], plan.timezone).replace(microsecond=0).isoformat()
    return table


def _clock(value: Any) -> tuple[int, int]:
    """Read `HH:MM`; nothing said is midnight, as there."""
    text = str(value or "00:00").strip()
    match = _CLOCK.fullmatch(text)
    hour, minute = (int(match[1]), int(match[2])) if match else (99, 99)
    if hour > 23 or minute > 59:
        raise ValueError(f'its schedule_time "{text}" is no time of day')
    return hour, minute


def _weekday(day: Any) -> str:
    number = _number(day, 0)
    if not 0 <= number <= 6:
        raise ValueError(f"its schedule_day {day} is no day of the week: 0 (Monday) to 6")
    return WEEKDAYS[number]


def _month_day(day: Any, notes: list[str]) -> str:
    """Return cron's word for a day of the month; the old system takes a short month's last day for one it lacks."""
    number = _number(day, 1)
    if not 1 <= number <= 31:
        raise ValueError(f"its schedule_day {day} is no day of the month: 1 to 31")
    if number == 31:
        return "L"
    if number > 28:
        notes.append(f"the old system runs it on the last day of February, which has no day {number}: this does not")
    return str(number)


def _number(value: Any, default: int) -> int:
    if value is None or value == "":
        return default
    word = str(value).strip().lower()[:3]
    if word in WEEKDAYS:
        return WEEKDAYS.index(word)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"its schedule_day {value!r} is no number") from None


def _instant(value: Any, timezone: str) -> datetime:
    """Read an instant of the old system; without an offset it is of the zone given."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no instant") from None


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value or "").encode("utf-8", "replace")


def _place(row: dict[str, Any]) -> str:
    return f"{portal_import.JOBS_TABLE} {row['id']}"
