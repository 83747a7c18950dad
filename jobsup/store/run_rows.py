"""A run as it is read: one line of a list, or all there is to say of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, func, select

from jobsup.model import Reason, Source, Status
from jobsup.store.rows import Job, JobDispatch, JobExecutionLog, WorkerRegistration


@dataclass(frozen=True, slots=True)
class RunLine:
    """One attempt as a list shows it: nothing of its output, which lies far out in its row."""

    id: int
    job: str
    job_id: int
    status: Status
    reason: Reason
    source: Source
    retry_count: int
    retry_of: int | None
    parent_id: int | None
    """The run whose end started it."""
    scheduled_for: datetime | None
    skipped_until: datetime | None
    skipped_count: int | None
    available_at: datetime
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    worker_id: str | None
    target: str
    requested_by: str | None
    error_message: str | None
    note: str | None
    """What is special about its instant."""
    host: str | None
    """The node it runs or ran on."""
    exit_code: int | None
    signal: int | None
    progress: float | None
    progress_text: str | None


@dataclass(frozen=True, slots=True)
class RunRow(RunLine):
    """One attempt, with how it ended if it has."""

    deadline_at: datetime | None
    pid: int | None
    queue: str
    priority: int
    requires: str | None
    """The tags that its worker must have, with blanks between."""
    params: dict[str, Any] | None
    pool: str | None
    """The pool it takes a place of, with its set: `default/reports`."""
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    output_bytes: int | None
    output_dropped: int | None
    result: str | None
    cpu_user: float | None
    cpu_system: float | None
    max_rss: int | None
    io_read: int | None
    io_write: int | None
    config_hash: str | None
    """Which definition of the job was claimed."""


R = TypeVar("R", bound=RunLine)


def read_as(kind: type[R], row: Sequence[Any]) -> R:
    """Make a run of a row of its statement, `LINES` or `ROWS`."""
    run_id, job, job_id, status, reason, source, *rest = row
    return kind(run_id, job, job_id, Status(status), Reason(reason), Source(source), *rest)


def _statement(kind: type[RunLine]) -> Select[Any]:
    return (
        select(*(_column(field.name) for field in fields(kind)))
        .join_from(JobDispatch, Job, Job.id == JobDispatch.job_id)
        .outerjoin(JobExecutionLog, JobExecutionLog.dispatch_id == JobDispatch.id)
    )


def _column(name: str) -> ColumnElement[Any]:
    """Return where a field stands: in the run's own row, or else in its log's."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    own = JobDispatch.__table__.c
    return own[name] if name in own else JobExecutionLog.__table__.c[name]


_NODE = func.coalesce(
    JobExecutionLog.host,
    select(WorkerRegistration.node)
    .where(WorkerRegistration.worker_id == JobDispatch.worker_id)
    .correlate(JobDispatch)
    .scalar_subquery(),
).label("host")
"""Where a run was written down to have run or, before its end, where its worker is."""
_ELSEWHERE: dict[str, ColumnElement[Any]] = {
    "job": Job.name.label("job"),
    "host": _NODE,
    "pool": JobDispatch.pool_key.label("pool"),
}
LINES = _statement(RunLine)
ROWS = _statement(RunRow)
