"""A Job Trigger Portal's jobs, schedules and history as ours; done again, it adds only what is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobsup.config import jobs
from jobsup.config.report import Report
from jobsup.config.settings import Config
from jobsup.config.source import Source
from jobsup.importing import naming, proof
from jobsup.importing.draft import Draft, Fault, Harvest
from jobsup.importing.portal_rows import Plan, draft_of, instant, place_of
from jobsup.model import JobSpec, Origin, Reason, SetSpec, Status
from jobsup.store import portal_import
from jobsup.store.engine import Database
from jobsup.store.portal_import import Known, OldPortal, OldRun

HEADER = ("What an old job has no words for follows from [defaults]; the tag of a job ties it to its history.",)

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
            draft = draft_of(row, plan)
        except ValueError as error:
            faults.append(Fault(place_of(row), str(error)))
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
            draft = draft_of(row, self._plan)
            spec = _spec(draft, target.defaults)
        except ValueError as error:
            self._brought.faults.append(Fault(place_of(row), str(error)))
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
            at = instant(row["run_time"], plan.timezone)
        except ValueError as fault:
            brought.faults.append(Fault(f"{portal_import.LOGS_TABLE} {row['id']}", str(fault)))
            continue
        yield OldRun(row["id"], at, status, reason, _bytes(row["log_output"]), error)


def _spec(draft: Draft, defaults: dict[str, Any]) -> JobSpec:
    """Return the definition as the configuration would make it. ValueError with all that it would refuse."""
    report = Report()
    source = Source("", Path("/jobs.toml"), "", {"job": [draft.table]})
    specs = jobs.read_jobs([source], defaults, SetSpec(), datetime.now(UTC), report)
    if report.errors():
        raise ValueError("; ".join(problem.message for problem in report.errors()))
    return specs[0]


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value or "").encode("utf-8", "replace")
