"""Reading a Job Trigger Portal's tables, and writing its jobs and its history beside our own, each once.

Two marks make that sure: a job carries a tag with the old job's id, and a run is `requested_by` the old log's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, RowMapping, create_engine, insert, inspect, make_url, select, text, update
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from jobsup.config.document import config_hash
from jobsup.errors import DatabaseError, NotFoundError, UsageError
from jobsup.model import JobSpec, Origin, Reason, Source, Status
from jobsup.store import definitions
from jobsup.store.engine import Database
from jobsup.store.rows import Job, JobDispatch, JobExecutionLog

JOBS_TABLE, LOGS_TABLE = "scheduled_jobs", "job_execution_logs"
JOB_COLUMNS = ("id", "name", "script_path", "interval_seconds", "schedule_type", "is_active")
JOB_COLUMNS_MORE = ("script_args", "schedule_time", "schedule_day", "next_run")
"""Columns that older portals do not have."""
LOG_COLUMNS = ("id", "job_id", "run_time", "status", "log_output")

JOBS_MAX = 100_000
LOGS_BATCH = 250
"""Logs that are read, and written in one transaction, at a time."""
IMPORTER = "import"
"""Stands where a worker's name does in an imported run."""


@dataclass(frozen=True, slots=True)
class OldRun:
    """An ended run of the old system, in our words."""

    log_id: int
    at: datetime
    status: Status
    reason: Reason
    output: bytes
    error: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """A job of ours that came from an old one: by its tag."""

    job_id: int
    name: str
    origin: Origin
    spec: JobSpec
    is_retired: bool


class OldPortal:
    """The old database, opened for reading only."""

    def __init__(self, url: str) -> None:
        """Open it. UsageError for a wrong URL, NotFoundError without the file, DatabaseError without its tables."""
        self._engine = _engine(url)
        self.where = _shown(url)
        self.folder = _folder(url)
        """Where its file lies, from which its relative paths start; None for a server."""
        try:
            with self._engine.connect() as connection:
                self._job_columns = _columns(connection, JOBS_TABLE, JOB_COLUMNS, JOB_COLUMNS_MORE, url)
                self._log_columns = _columns(connection, LOGS_TABLE, LOG_COLUMNS, (), url)
        except (SQLAlchemyError, sqlite3.Error) as error:
            self.close()
            raise DatabaseError(f"{_shown(url)} cannot be read: {getattr(error, 'orig', None) or error}") from None
        except DatabaseError:
            self.close()
            raise

    def jobs(self) -> list[dict[str, Any]]:
        """Return the rows of its jobs, by id; a column it does not have is None."""
        found = self._rows(f"SELECT {self._job_columns} FROM {JOBS_TABLE} ORDER BY id LIMIT {JOBS_MAX + 1}", {})  # noqa: S608  (names from the lists above)
        if len(found) > JOBS_MAX:
            raise DatabaseError(f"{self.where} has more than the {JOBS_MAX} jobs that are read at once")
        return [{**dict.fromkeys(JOB_COLUMNS_MORE), **row} for row in found]

    def logs(self, job_id: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a job's logs in batches, by id."""
        after = -1
        statement = (
            f"SELECT {self._log_columns} FROM {LOGS_TABLE} WHERE job_id = :job_id AND id > :after "  # noqa: S608  (as above)
            f"ORDER BY id LIMIT {LOGS_BATCH}"
        )
        while rows := self._rows(statement, {"job_id": job_id, "after": after}):
            yield rows
            after = rows[-1]["id"]

    def close(self) -> None:
        self._engine.dispose()

    def _rows(self, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(text(statement), values).mappings()]
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise DatabaseError(f"{self.where} cannot be read: {getattr(error, 'orig', None) or error}") from None


def known_jobs(database: Database, tags: Sequence[str]) -> dict[str, Known]:
    """Return our jobs that carry one of the tags, by the tag; of two the one that is still there."""
    wanted = set(tags)
    found: dict[str, Known] = {}
    with database.read() as connection:
        rows = connection.execute(select(Job.__table__).order_by(Job.retired_at.is_(None), Job.id)).mappings()
        for row in rows:
            for tag in wanted.intersection(row["tags"]):
                found[tag] = _known(row)
    return found


def names(database: Database) -> set[str]:
    """Return the names of all jobs, removed ones too."""
    with database.read() as connection:
        return set(connection.execute(select(Job.name)).scalars())


def add_job(database: Database, spec: JobSpec, set_name: str, *, paused_by: str | None = None) -> Known:
    """Make a job of the command line's; `paused_by` lets it begin paused."""
    now = database.now()
    values = _values(spec, set_name, now)
    if paused_by is not None:
        values |= {"paused_at": now, "paused_by": paused_by, "paused_reason": "imported"}
    with database.write() as connection:
        job_id = connection.execute(insert(Job).values(**values, created_at=now).returning(Job.id)).scalar_one()
    return Known(job_id, spec.name, Origin.CLI, spec, is_retired=False)


def change_job(database: Database, known: Known, spec: JobSpec) -> bool:
    """Bring a job to what the old system says now; its pause stays, and its next tick unless its schedule changed."""
    now = database.now()
    values = _values(spec, "", now)
    del values["set_name"]
    if known.spec.schedule == spec.schedule and known.spec.enabled == spec.enabled:
        del values["next_run"]
    with database.write() as connection:
        statement = update(Job).where(Job.id == known.job_id, Job.config_hash != values["config_hash"])
        return connection.execute(statement.values(**values)).rowcount == 1


def hand_over(database: Database, job_ids: Sequence[int], set_name: str) -> None:
    """Let jobs belong to a definition set, whose next synchronisation takes them for its own."""
    with database.write() as connection:
        for job_id in job_ids:
            connection.execute(update(Job).where(Job.id == job_id).values(origin=Origin.FILE, set_name=set_name))


def add_runs(database: Database, job_id: int, label: str, runs: Sequence[OldRun]) -> int:
    """Write runs that are not here yet, as ended manual ones; returns how many.

    The marks are read in the transaction that writes, behind the job's row lock: two imports at once double nothing.
    """
    now = database.now()
    with database.write() as connection:
        connection.execute(select(Job.id).where(Job.id == job_id).with_for_update())
        here = set(connection.execute(_marks(job_id, label, runs)).scalars())
        fresh = [run for run in runs if mark(label, run.log_id) not in here]
        for run in fresh:
            _add_run(connection, job_id, label, run, now)
    return len(fresh)


def mark(label: str, log_id: int) -> str:
    """Return what an imported run is `requested_by`."""
    return f"import:{label}:{log_id}"


def _marks(job_id: int, label: str, runs: Sequence[OldRun]) -> Any:
    return select(JobDispatch.requested_by).where(
        JobDispatch.job_id == job_id, JobDispatch.requested_by.in_([mark(label, run.log_id) for run in runs])
    )


def _add_run(connection: Connection, job_id: int, label: str, run: OldRun, now: datetime) -> None:
    """Insert one; the old system knows when it began, or when it was written, but not both."""
    dispatch_id = connection.execute(
        insert(JobDispatch)
        .values(
            job_id=job_id,
            source=Source.MANUAL,
            status=run.status,
            reason=run.reason,
            queue="default",
            available_at=run.at,
            created_at=min(run.at, now),
            claimed_at=run.at,
            started_at=run.at,
            completed_at=run.at,
            worker_id=IMPORTER,
            error_message=run.error,
            requested_by=mark(label, run.log_id),
        )
        .returning(JobDispatch.id)
    ).scalar_one()
    connection.execute(
        insert(JobExecutionLog).values(
            dispatch_id=dispatch_id,
            job_id=job_id,
            worker_id=IMPORTER,
            host=label,
            run_time=run.at,
            finished_at=run.at,
            status=run.status,
            exit_code=0 if run.status is Status.COMPLETED else None,
            log_output=run.output,
            output_bytes=len(run.output),
            stream_marks=[[len(run.output), 1]] if run.output else [],
            config_hash="",
        )
    )


def _values(spec: JobSpec, set_name: str, now: datetime) -> dict[str, Any]:
    tick = definitions.first_tick(spec, now) if spec.enabled else None
    return {**definitions.columns(spec, set_name, config_hash(spec), tick, now), "origin": Origin.CLI}


def _known(row: RowMapping) -> Known:
    from jobsup.store.jobs import spec_of

    return Known(row["id"], row["name"], Origin(row["origin"]), spec_of(row), row["retired_at"] is not None)


def _engine(url: str) -> Engine:
    """Make an engine that cannot write to a SQLite file, and makes none."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(url)
    except ModuleNotFoundError as error:
        raise UsageError(f"{_shown(url)} needs the Python package {error.name!r}, which is not installed") from None
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UsageError(f"{_shown(url)!r} is no database URL: write sqlite:///reflex.db or the like") from None
    path = Path(parsed.database or "")
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist: name the old portal's database, as sqlite:///reflex.db")
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True))


def _folder(url: str) -> Path | None:
    parsed = make_url(url)
    return (
        Path(parsed.database).absolute().parent if parsed.get_backend_name() == "sqlite" and parsed.database else None
    )


def _columns(connection: Connection, table: str, needed: Sequence[str], welcome: Sequence[str], url: str) -> str:
    """Return the columns to select; DatabaseError names what is missing."""
    inspector = inspect(connection)
    if not inspector.has_table(table):
        raise DatabaseError(f"{_shown(url)} has no table {table}: it is no database of a Job Trigger Portal")
    present = {str(column["name"]) for column in inspector.get_columns(table)}
    missing = [column for column in needed if column not in present]
    if missing:
        raise DatabaseError(f"{_shown(url)}: table {table} has no column {', '.join(missing)}")
    return ", ".join([*needed, *(column for column in welcome if column in present)])


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
