"""Jobs as the database knows them: reading, pausing and resuming them. Their definitions come by `sync`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, case, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.config.report import hint
from jobsup.errors import NotFoundError, UsageError
from jobsup.model import JobSpec, Origin
from jobsup.store.definitions import IN_LIST_MAX, NOT_PAUSED, Drift, Synced, content_hash, drift, sync
from jobsup.store.engine import Database
from jobsup.store.rows import Job

__all__ = [
    "Drift",
    "JobFacts",
    "Synced",
    "content_hash",
    "drift",
    "get_job",
    "list_jobs",
    "pause",
    "resume",
    "spec_of",
    "sync",
]


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job's row: its definition and where it stands."""

    job_id: int
    name: str
    set_name: str
    origin: Origin
    spec: JobSpec
    config_hash: str
    next_run: datetime | None
    is_active: bool
    retired_at: datetime | None
    paused_at: datetime | None
    paused_until: datetime | None
    paused_by: str | None
    paused_reason: str | None
    created_at: datetime
    updated_at: datetime

    def is_paused(self, at: datetime) -> bool:
        """Say whether a tick at that instant would be SKIPPED/paused."""
        return self.paused_at is not None and (self.paused_until is None or at < self.paused_until)


def list_jobs(
    database: Database, *, set_name: str | None = None, tag: str | None = None, include_retired: bool = False
) -> list[JobFacts]:
    """Read the jobs by name: of one set, with one tag, or all; retired ones only when asked for."""
    statement = select(Job.__table__).order_by(Job.name)
    if set_name is not None:
        statement = statement.where(Job.set_name == set_name)
    if not include_retired:
        statement = statement.where(Job.retired_at.is_(None))
    with database.read() as connection:
        found = [_facts(row) for row in connection.execute(statement).mappings()]
    return found if tag is None else [facts for facts in found if tag in facts.spec.tags]


def get_job(database: Database, name: str) -> JobFacts:
    """Read one job, retired ones too. Raises NotFoundError that names the nearest job."""
    with database.read() as connection:
        return _find(connection, [name])[0]


def find_jobs(database: Database, names: Sequence[str]) -> list[JobFacts]:
    """Read jobs, retired ones too, in the order of their names given; NotFoundError for the first that is not there."""
    with database.read() as connection:
        return _find(connection, names)


def pause(
    database: Database, names: Sequence[str], *, by: str, reason: str | None = None, until: datetime | None = None
) -> list[JobFacts]:
    """Let the jobs' ticks become SKIPPED/paused until `until`, or until somebody resumes them; all jobs or none.

    `next_run` keeps moving. A job that is paused already keeps the instant its pause began.
    """
    now = database.now()
    if until is not None and until <= now:
        raise UsageError(f"a pause cannot end at {until.isoformat()}: that has passed")
    with database.write() as connection:
        ids = [facts.job_id for facts in _find(connection, names, living=True)]
        goes_on = Job.paused_at.is_not(None) & (Job.paused_until.is_(None) | (Job.paused_until > now))
        _change(
            connection,
            ids,
            paused_at=case((goes_on, Job.paused_at), else_=now),
            paused_until=until,
            paused_by=by,
            paused_reason=reason,
        )
        return _find(connection, names)


def resume(database: Database, names: Sequence[str]) -> list[JobFacts]:
    """End the jobs' pauses now and return those that had one.

    A job whose tick already passed unseen while it was paused is left with a pause that ends now, so that the
    scheduler still counts that tick as SKIPPED/paused and not as missed. The next tick is the first after now.
    """
    now = database.now()
    with database.write() as connection:
        paused = [facts for facts in _find(connection, names) if facts.is_paused(now)]
        overdue = [facts for facts in paused if facts.next_run is not None and facts.next_run <= now]
        _change(connection, [facts.job_id for facts in overdue], paused_until=now)
        _change(connection, [facts.job_id for facts in paused if facts not in overdue], **NOT_PAUSED)
        return _find(connection, [facts.name for facts in paused])


def spec_of(row: RowMapping) -> JobSpec:
    """Return the definition that a `job` row holds."""
    return jobspec_from_dict(row["payload"])


def _find(connection: Connection, names: Sequence[str], *, living: bool = False) -> list[JobFacts]:
    """Read jobs in the order of their names given; raises NotFoundError for the first that is not there."""
    found: dict[str, JobFacts] = {}
    for start in range(0, len(names), IN_LIST_MAX):
        statement = select(Job.__table__).where(Job.name.in_(names[start : start + IN_LIST_MAX]))
        found.update((row["name"], _facts(row)) for row in connection.execute(statement).mappings())
    for name in names:
        if name not in found:
            known = connection.execute(select(Job.name).where(Job.retired_at.is_(None))).scalars()
            raise NotFoundError(f'no job is called "{name}"{hint(name, known)}')
        if living and found[name].retired_at is not None:
            raise NotFoundError(f'job "{name}" has been removed from its file')
    return [found[name] for name in dict.fromkeys(names)]


def _change(connection: Connection, ids: Sequence[int], **values: Any) -> None:
    for start in range(0, len(ids), IN_LIST_MAX):
        connection.execute(update(Job).where(Job.id.in_(ids[start : start + IN_LIST_MAX])).values(**values))


def _facts(row: RowMapping) -> JobFacts:
    return JobFacts(
        job_id=row["id"],
        name=row["name"],
        set_name=row["set_name"],
        origin=Origin(row["origin"]),
        spec=spec_of(row),
        config_hash=row["config_hash"],
        next_run=row["next_run"],
        is_active=row["is_active"],
        retired_at=row["retired_at"],
        paused_at=row["paused_at"],
        paused_until=row["paused_until"],
        paused_by=row["paused_by"],
        paused_reason=row["paused_reason"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
