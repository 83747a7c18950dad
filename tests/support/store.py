"""A database in a temporary folder, and rows in any state to put into it.

The fixtures `db` and `clock` are known to every test; the factories write rows past the product's own verbs, so that
a test can begin in the middle of a story.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from jobsup.clock import Clock
from jobsup.config.document import config_hash
from jobsup.model import JobKind, JobSpec, Overlap, Reason, Source, Status, WorkerStatus, host_tag
from jobsup.store import definitions, jobs, ranks, requirements
from jobsup.store.engine import Database
from jobsup.store.models import Base, Job, JobDispatch, JobExecutionLog, JobOutputChunk, WorkerRegistration
from jobsup.store.schema import HEAD
from tests.support.clock import START, FakeClock

__all__ = [
    "START",
    "FakeClock",
    "add_chunk",
    "add_dispatch",
    "add_job",
    "add_log",
    "add_worker",
    "clock",
    "connect",
    "create_database",
    "db",
    "dispatch_row",
    "dispatches_of",
    "empty_file",
    "job_row",
    "job_spec",
    "log_row",
    "opening",
    "worker_row",
]

WORKER_ID = "worker-aaaaa"

_numbers = itertools.count(1)


@pytest.fixture
def clock() -> FakeClock:
    """A clock at `START`."""
    return FakeClock()


@pytest.fixture
def db(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    """An empty database of this version, on the test's clock."""
    database = create_database(tmp_path / "jobsup.db", clock=clock)
    yield database
    database.close()


def create_database(path: Path, *, clock: Clock | None = None) -> Database:
    """Make a SQLite file with all tables, marked as migrated, and open it (`clock` None: the machine's)."""
    path.write_bytes(empty_file())
    return Database(f"sqlite:///{path}", synchronous="off", clock=clock)


@cache
def empty_file() -> bytes:
    """Return what an empty database of this version is: made once, it is copied a thousand times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        database = Database(f"sqlite:///{path}", synchronous="off")
        with database.write() as connection:
            Base.metadata.create_all(connection)
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        database.close()
        return path.read_bytes()


def connect(database: Database, *, clock: Clock | None = None) -> Database:
    """Open the same database once more, as another process would; the caller closes it."""
    place = {} if database.schema is None else {"schema": database.schema}
    return Database(str(database.url), synchronous="off", clock=clock or database.clock, **place)


def opening(database: Database) -> str:
    """Return the Python expression by which another process opens the same database."""
    place = "" if database.schema is None else f", schema={database.schema!r}"
    return f"Database({str(database.url)!r}{place})"


def job_spec(name: str | None = None, **overrides: Any) -> JobSpec:
    """Make a definition: a manual `true` command, with whatever is given in its place."""
    name = name or f"job-{next(_numbers)}"
    kind = JobKind.SCRIPT if "script" in overrides else JobKind.PYTHON if "python" in overrides else JobKind.COMMAND
    values: dict[str, Any] = {"kind": kind, **overrides}
    if kind is JobKind.COMMAND:
        values.setdefault("command", "true")
    return JobSpec(name=name, **values)


def add_job(
    database: Database,
    name: str | None = None,
    *,
    next_run: datetime | None = None,
    set_name: str = "default",
    row: dict[str, Any] | None = None,
    **overrides: Any,
) -> jobs.JobFacts:
    """Write a job with this very `next_run`; `row` sets other columns, all else goes into its definition."""
    spec = job_spec(name, **overrides)
    now = database.now()
    values = definitions.columns(spec, set_name, config_hash(spec), next_run, now)
    values["head_start_ms"] = spec.priority * ranks.aging_ms(ranks.PRIORITY_AGING)
    with database.write() as connection:
        connection.execute(insert(Job).values({**values, "created_at": now, **(row or {})}))
        requirements.write(connection, [spec.requires])
    return jobs.get_job(database, spec.name)


def add_dispatch(database: Database, job: jobs.JobFacts | int, status: Status = Status.PENDING, **columns: Any) -> int:
    """Write an attempt in a state, with the owner, reason and instants that the state asks for; return its id."""
    facts = job if isinstance(job, jobs.JobFacts) else None
    now = database.now()
    values: dict[str, Any] = {
        "job_id": job if facts is None else facts.job_id,
        "source": Source.SCHEDULE if "scheduled_for" in columns else Source.MANUAL,
        "status": status,
        "priority": 0 if facts is None else facts.spec.priority,
        "queue": "default" if facts is None else facts.spec.queue,
        "available_at": now,
        "created_at": now,
    }
    if facts is not None and facts.spec.overlap is not Overlap.ALLOW:
        values["concurrency_key"] = f"job:{facts.job_id}"
    values["pool_key"] = None if facts is None else ranks.pool_key(facts.set_name, facts.spec.pool)
    values["requires"] = None if facts is None else requirements.text_of(facts.spec.requires)
    values.update(_of_state(status, now))
    values.update(columns)
    head_start = values["priority"] * ranks.aging_ms(ranks.PRIORITY_AGING)
    values.setdefault("claim_rank", ranks.rank(values["available_at"], head_start))
    with database.write() as connection:
        return connection.execute(insert(JobDispatch).values(**values).returning(JobDispatch.id)).scalar_one()


def _of_state(status: Status, now: datetime) -> dict[str, Any]:
    owned = {"worker_id": WORKER_ID, "claimed_at": now, "started_at": now}
    match status:
        case Status.PENDING:
            return {}
        case Status.IN_PROGRESS:
            return {**owned, "deadline_at": now + timedelta(seconds=600)}
        case Status.SKIPPED:
            return {"reason": Reason.OVERLAP, "completed_at": now}
        case Status.CANCELLED:
            return {"reason": Reason.CANCELLED, "completed_at": now}
        case Status.FAILED:
            return {**owned, "reason": Reason.EXIT_CODE, "completed_at": now}
        case Status.TIMEOUT:
            return {**owned, "reason": Reason.DEADLINE, "completed_at": now}
    return {**owned, "completed_at": now}


def add_log(database: Database, dispatch_id: int, output: bytes = b"", **columns: Any) -> int:
    """Write what a run left behind; return the log row's id."""
    dispatch = dispatch_row(database, dispatch_id)
    values: dict[str, Any] = {
        "dispatch_id": dispatch_id,
        "job_id": dispatch["job_id"],
        "worker_id": WORKER_ID,
        "host": "here",
        "run_time": database.now(),
        "finished_at": database.now(),
        "status": dispatch["status"],
        "exit_code": 0,
        "log_output": output,
        "output_bytes": len(output),
        "stream_marks": [[len(output), 1]] if output else [],
        "config_hash": "0",
        **columns,
    }
    with database.write() as connection:
        return connection.execute(insert(JobExecutionLog).values(**values).returning(JobExecutionLog.id)).scalar_one()


def add_chunk(database: Database, dispatch_id: int, offset: int, data: bytes, stream: int = 1) -> None:
    """Write a piece of a live run's output."""
    with database.write() as connection:
        connection.execute(
            insert(JobOutputChunk).values(
                dispatch_id=dispatch_id, offset=offset, stream=stream, at=database.now(), data=data
            )
        )


def add_worker(database: Database, worker_id: str = WORKER_ID, **columns: Any) -> str:
    """Write an IDLE worker that was just heard of; return its id."""
    now = database.now()
    values: dict[str, Any] = {
        "worker_id": worker_id,
        "node": "here",
        "hostname": "here",
        "platform": "Linux",
        "boot_id": "boot-1",
        "pid_namespace": "pid:[1]",
        "process_id": 4000 + next(_numbers),
        "process_started": 1,
        "started_at": now,
        "last_heartbeat": now,
        "heartbeat_interval": 5.0,
        "status": WorkerStatus.IDLE,
        "queues": [],
        "tags": [host_tag(columns.get("node", "here"))],
        "version": "0",
        **columns,
    }
    with database.write() as connection:
        connection.execute(insert(WorkerRegistration).values(**values))
    return worker_id


def job_row(database: Database, name: str) -> dict[str, Any]:
    """Read a job's row as it stands."""
    return _one(database, select(Job.__table__).where(Job.name == name))


def dispatch_row(database: Database, dispatch_id: int) -> dict[str, Any]:
    """Read an attempt's row as it stands."""
    return _one(database, select(JobDispatch.__table__).where(JobDispatch.id == dispatch_id))


def worker_row(database: Database, worker_id: str = WORKER_ID) -> dict[str, Any]:
    """Read a worker's row as it stands."""
    return _one(database, select(WorkerRegistration.__table__).where(WorkerRegistration.worker_id == worker_id))


def log_row(database: Database, dispatch_id: int) -> dict[str, Any] | None:
    """Read what an attempt left behind; None when it has no log row."""
    statement = select(JobExecutionLog.__table__).where(JobExecutionLog.dispatch_id == dispatch_id)
    with database.read() as connection:
        row = connection.execute(statement).mappings().one_or_none()
    return None if row is None else dict(row)


def dispatches_of(database: Database, job: jobs.JobFacts) -> list[dict[str, Any]]:
    """Read a job's attempts, the oldest first."""
    statement = select(JobDispatch.__table__).where(JobDispatch.job_id == job.job_id).order_by(JobDispatch.id)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def _one(database: Database, statement: Any) -> dict[str, Any]:
    with database.read() as connection:
        return dict(connection.execute(statement).mappings().one())
