"""The tables as the store's own statements name them: `JobDispatch.status`, without what maps rows to objects.

Loading the mapper takes a quarter of a second and ten megabytes, of which a worker and `jobsup status` need nothing.
To a type checker these are the mapped classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, FromClause, literal_column, or_

from jobsup.model import Status
from jobsup.store import tables

if TYPE_CHECKING:
    from jobsup.store.models import (
        Job,
        JobDay,
        JobDayMark,
        JobDependency,
        JobDispatch,
        JobExecutionLog,
        JobOutputChunk,
        JobPool,
        JobRequirement,
        JobSet,
        SchedulerLock,
        WorkerRegistration,
    )

__all__ = [
    "IN_PROGRESS",
    "LIVE",
    "TROUBLE",
    "WAITING",
    "Job",
    "JobDay",
    "JobDayMark",
    "JobDependency",
    "JobDispatch",
    "JobExecutionLog",
    "JobOutputChunk",
    "JobPool",
    "JobRequirement",
    "JobSet",
    "SchedulerLock",
    "WorkerRegistration",
    "aliased",
    "named",
]

T = TypeVar("T")


class _Rows:
    """A table, or an alias of it, whose columns are attributes; SQLAlchemy takes it where it takes a table."""

    def __init__(self, table: FromClause) -> None:
        self.__table__ = table
        self.__dict__.update(table.c)

    def __clause_element__(self) -> FromClause:
        return self.__table__


def named(table: FromClause) -> Any:
    """Return a table as a statement names it."""
    return _Rows(table)


def aliased(rows: type[T]) -> type[T]:
    """Return the same table under another name, for a statement that needs it twice."""
    other: Any = _Rows(rows.__table__.alias())  # type: ignore[attr-defined]  # all that is handed in has one
    return other  # type: ignore[no-any-return]  # what it is to a type checker


if not TYPE_CHECKING:
    Job = _Rows(tables.job)
    JobDispatch = _Rows(tables.job_dispatch)
    JobExecutionLog = _Rows(tables.job_execution_log)
    JobOutputChunk = _Rows(tables.job_output_chunk)
    WorkerRegistration = _Rows(tables.worker_registration)
    SchedulerLock = _Rows(tables.scheduler_lock)
    JobSet = _Rows(tables.job_set)
    JobPool = _Rows(tables.job_pool)
    JobRequirement = _Rows(tables.job_requirement)
    JobDay = _Rows(tables.job_day)
    JobDayMark = _Rows(tables.job_day_mark)
    JobDependency = _Rows(tables.job_dependency)

LIVE: ColumnElement[bool] = JobDispatch.completed_at.is_(None)
"""The rows that wait or run. Say it beside any test of their status: a partial index is used only by a query whose
words imply the index's own, and a bound `status IN (?, ?)` does not."""

TROUBLE: ColumnElement[bool] = or_(
    *(JobDispatch.status == literal_column(f"'{status}'") for status in tables.TROUBLES_IN_ORDER)
)
"""The rows that ended, or never began, otherwise than wanted: the few that people look for among many."""

WAITING: ColumnElement[bool] = JobDispatch.status == literal_column(f"'{Status.PENDING}'")
"""The rows that can be claimed; a literal, for the same reason."""

IN_PROGRESS: ColumnElement[str] = literal_column(f"'{Status.IN_PROGRESS}'")
"""The status of what runs; a literal too."""
