"""What people do to definitions that stand in no file: look at one before it counts, save it, remove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jobsup.errors import ConfigError, ConflictError, DeniedError, NotFoundError, Problem, ScheduleError
from jobsup.model import JobSpec, Origin
from jobsup.store import jobs, keeping, notifier
from jobsup.store.engine import Database

if TYPE_CHECKING:
    from jobsup.config.settings import Config
    from jobsup.schedule.explain import Explanation
    from jobsup.store.jobs import JobFacts

NEXT_TICKS = 10
WORK_KEYS = ("kind", "command", "script", "args", "python", "kwargs", "env", "env_file", "cwd", "user")
"""What decides which program runs, and as whom."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A definition that does not count yet, and all there is to say of it."""

    spec: JobSpec | None
    """None where something is wrong."""
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    before: JobFacts | None
    """The living job that it would change; None: it is a new one."""
    changes: tuple[str, ...]
    """What would be different, a line each; all that a new job says."""
    ticks: Explanation | None
    """When it would fire; None where that cannot be told."""

    @property
    def is_files(self) -> bool:
        """The job stands in a file, and is changed there."""
        return self.before is not None and self.before.origin is Origin.FILE

    @property
    def changes_work(self) -> bool:
        """Another program would run, or as somebody else: only some may say that."""
        if self.spec is None:
            return False
        if self.before is None:
            return True
        old, new = self.before.spec, self.spec
        return any(getattr(old, key) != getattr(new, key) for key in WORK_KEYS)


def look(database: Database, config: Config, text: str, *, name: str | None = None) -> Draft:
    """Read the TOML of one job as a change of the job `name`, or as a new one; nothing is saved."""
    from jobsup.config.one_job import read_one

    now = database.now()
    reading = read_one(text, config, now, keeping.waits(database, config.set))
    spec, problems = reading.spec, list(reading.problems)
    before = _living(database, name if name is not None else spec.name if spec is not None else None)
    if name is not None and before is None:
        problems.append(Problem(f'job "{name}" is not there any more'))
    elif name is None and before is not None:
        problems.append(
            Problem(f'there is a job "{before.name}" already: edit that, or choose another name', key="name")
        )
    elif spec is not None and before is not None and spec.name != before.name:
        message = f'a job keeps its name, "{before.name}": make a new one, and remove this one, to call it otherwise'
        problems.append(Problem(message, key="name"))
    right = spec if not problems else None
    changes = tuple(_changes(before.spec if before is not None else None, right)) if right is not None else ()
    return Draft(right, tuple(problems), reading.warnings, before, changes, _ticks(spec, now))


def save_job(
    database: Database,
    config: Config,
    text: str,
    *,
    origin: Origin,
    name: str | None = None,
    replaces: str | None = None,
    may_change_work: bool,
) -> JobSpec:
    """Save the TOML of one job: a new one, or the job `name`, whose definition had the hash `replaces`.

    Raises ConfigError with every problem, DeniedError where it says what runs and may not, and ConflictError where
    the job stands in a file or was changed meanwhile.
    """
    draft = look(database, config, text, name=name)
    if draft.spec is None:
        raise ConfigError(draft.problems)
    if draft.is_files:
        raise ConflictError(f'job "{draft.spec.name}" stands in a file: change it there, then `jobsup reload`')
    if draft.changes_work and not may_change_work:
        raise DeniedError(
            "what a job runs cannot be changed here: [portal] allow_edit_commands = true in jobsup.toml allows it"
        )
    keeping.save(
        database,
        draft.spec,
        origin=draft.before.origin if draft.before is not None else origin,
        set_name=draft.before.set_name if draft.before is not None else config.set,
        replaces=None if name is None else replaces or (draft.before.config_hash if draft.before is not None else ""),
        priority_aging=config.scheduler.priority_aging,
    )
    notifier.wake(database, "scheduler")
    return draft.spec


def remove_job(database: Database, name: str) -> None:
    """Take a job that stands in no file out of service; its history stays."""
    keeping.remove(database, name)
    notifier.wake(database, "scheduler")
    notifier.wake(database, "worker")  # what waited of it is gone


def known_name(database: Database, text: str) -> str | None:
    """Return the name in a TOML of one job when there is such a job already."""
    import tomllib

    try:
        tables = tomllib.loads(text).get("job")
    except (ValueError, RecursionError):
        return None
    first = tables[0] if isinstance(tables, list) and tables else None
    name = first.get("name") if isinstance(first, dict) else None
    return name if isinstance(name, str) and _living(database, name) is not None else None


def _living(database: Database, name: str | None) -> JobFacts | None:
    if name is None:
        return None
    try:
        facts = jobs.get_job(database, name)
    except NotFoundError:
        return None
    return facts if facts.retired_at is None else None


def _changes(old: JobSpec | None, new: JobSpec) -> Sequence[str]:
    from jobsup.config.diff import job_changes

    if old is None:
        old = JobSpec(new.name, new.kind)
    return [str(change) for change in job_changes(old, new)]


def _ticks(spec: JobSpec | None, now: datetime) -> Explanation | None:
    from jobsup.schedule.explain import explain

    if spec is None:
        return None
    try:
        return explain(spec.schedule, now, NEXT_TICKS, name=spec.name)
    except ScheduleError:
        return None
