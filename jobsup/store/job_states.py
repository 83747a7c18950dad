"""Which word says how a job stands, and how the database finds it for thousands of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, and_, case, exists, literal_column, or_, select

from jobsup.model import Status
from jobsup.store.rows import IN_PROGRESS, LIVE, WAITING, Job, JobDispatch

T = TypeVar("T")

LATE_TICK = timedelta(seconds=30)
LATE_START = timedelta(minutes=1)
"""A run that could have started this long ago and has not is late."""


class JobState(StrEnum):
    """How a job stands: the first of these that is true."""

    DISABLED = "disabled"
    """Its definition says so."""
    PAUSED = "paused"
    LATE = "late"
    """A tick was not dispatched, or a run waits for longer than it should."""
    FAILING = "failing"
    """Its newest run that went to its end did not go well."""
    RUNNING = "running"
    WAITING = "waiting"
    NEVER_RAN = "never ran"
    WELL = "well"


RAN: ColumnElement[bool] = JobDispatch.status.in_(
    [literal_column(f"'{status}'") for status in (Status.COMPLETED, Status.FAILED, Status.TIMEOUT)]
)
"""The runs that went their way to the end; skipped and cancelled ones say nothing of how a job is."""


def is_paused(now: datetime) -> ColumnElement[bool]:
    return and_(Job.paused_at.is_not(None), or_(Job.paused_until.is_(None), Job.paused_until > now))


def is_late_tick(now: datetime) -> ColumnElement[bool]:
    return and_(Job.is_active, Job.next_run < now - LATE_TICK)


def is_late_start(now: datetime) -> ColumnElement[bool]:
    return and_(LIVE, WAITING, JobDispatch.available_at < now - LATE_START)


def of_last_that_ran(column: SQLColumnExpression[T]) -> ScalarSelect[T]:
    """Return a column of each job's newest run that went to its end; NULL for a job without one."""
    return (
        select(column)
        .where(JobDispatch.job_id == Job.id, RAN)
        .order_by(JobDispatch.id.desc())
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )


def state(now: datetime) -> ColumnElement[str]:
    """Return the expression of a job's state."""
    last = of_last_that_ran(JobDispatch.status)
    return case(
        (Job.is_active.is_(False), _word(JobState.DISABLED)),
        (is_paused(now), _word(JobState.PAUSED)),
        (or_(is_late_tick(now), _has_run(is_late_start(now))), _word(JobState.LATE)),
        (last.in_([Status.FAILED, Status.TIMEOUT]), _word(JobState.FAILING)),
        (_has_run(and_(LIVE, JobDispatch.status == IN_PROGRESS)), _word(JobState.RUNNING)),
        (_has_run(and_(LIVE, WAITING)), _word(JobState.WAITING)),
        (last.is_(None), _word(JobState.NEVER_RAN)),
        else_=_word(JobState.WELL),
    )


def _has_run(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(JobDispatch.job_id == Job.id, condition).correlate(Job)


def _word(word: JobState) -> ColumnElement[str]:
    return literal_column(f"'{word}'")
