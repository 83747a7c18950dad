"""Lists of runs, a page at a time: filtered in the database, and as fast on the last page as on the first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from jobsup.model import Source, Status
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, TROUBLE, JobDispatch
from jobsup.store.run_rows import LINES, RunLine, read_as
from jobsup.store.tables import TROUBLES

PAGE_ROWS_DEFAULT = 50
PAGE_ROWS_MAX = 500
WINDOW_ROWS_MAX = 2500
"""Runs of a stretch of time that are read at once."""
WINDOW_TAIL = timedelta(hours=6)
"""A run that ended longer after a stretch of time than this is not looked for in it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """When a run was under way: all that a drawing of many needs."""

    id: int
    job_id: int
    status: str
    started_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs a list is of: those that meet all that is said."""

    job_id: int | None = None
    statuses: frozenset[Status] = frozenset()
    """Empty: any."""
    source: Source | None = None
    worker_id: str | None = None
    since: datetime | None = None
    """Made at this instant or later."""
    until: datetime | None = None
    """Made before it."""
    ended_from: datetime | None = None
    """Ended at this instant or later."""
    ended_until: datetime | None = None
    """Ended before it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some neighbouring rows, the newest first, and where its neighbours begin."""

    runs: tuple[RunLine, ...]
    older: int | None
    """Ask for what is `before` this id; None: there is nothing older."""
    newer: int | None
    """Ask for what is `after` this id; None: this page holds the newest."""


def page(
    database: Database,
    wanted: Wanted,
    *,
    before: int | None = None,
    after: int | None = None,
    rows: int = PAGE_ROWS_DEFAULT,
) -> Page:
    """Read a page of runs: the newest, those with ids under `before`, or the ones just above `after`."""
    count = max(1, min(rows, PAGE_ROWS_MAX))
    upwards = after is not None and before is None
    limit = JobDispatch.id > after if upwards else None if before is None else JobDispatch.id < before
    order = JobDispatch.id if upwards else JobDispatch.id.desc()
    with database.read() as connection:
        found = []
        near = _near_ids(connection, wanted)
        for statement in _filtered(wanted):
            within = statement.where(*near) if limit is None else statement.where(limit, *near)
            found += _read(connection, within.order_by(order).limit(count + 1))
    found.sort(key=lambda run: run.id, reverse=not upwards)
    has_more = len(found) > count
    shown = found[:count]
    if upwards:
        shown.reverse()
    more_below, more_above = (True, has_more) if upwards else (has_more, before is not None)
    return Page(
        tuple(shown),
        older=shown[-1].id if shown and more_below else None,
        newer=shown[0].id if shown and more_above else None,
    )


def window(
    database: Database,
    start: datetime,
    end: datetime,
    *,
    job_ids: Collection[int] | None = None,
    rows: int = WINDOW_ROWS_MAX,
) -> tuple[list[Stretch], bool]:
    """Read the runs that were under way in [start, end), the latest ended first, at most `rows`.

    The flag says whether there were more.
    """
    columns = select(*(JobDispatch.__table__.c[field.name] for field in fields(Stretch)))
    ended = columns.where(
        JobDispatch.completed_at >= start,
        JobDispatch.completed_at < end + WINDOW_TAIL,
        JobDispatch.started_at < end,
    ).order_by(JobDispatch.completed_at.desc())
    live = columns.where(LIVE, JobDispatch.started_at < end)
    most = min(rows, WINDOW_ROWS_MAX)
    with database.read() as connection:
        found: list[Stretch] = []
        for statement in (live, ended):
            chosen = statement if job_ids is None else statement.where(JobDispatch.job_id.in_(list(job_ids)))
            found += [Stretch(*row) for row in connection.execute(chosen.limit(most + 1 - len(found)))]
    return found[:most], len(found) > most


def failed_near(database: Database, at: datetime, within: timedelta, *, besides: int, rows: int) -> list[RunLine]:
    """Read runs of other jobs that failed about then, the latest first; `besides` is the id of the job to leave out."""
    statement = (
        LINES.where(
            JobDispatch.completed_at.is_not(None),
            JobDispatch.completed_at.between(at - within, at + within),
            JobDispatch.status.in_([Status.FAILED, Status.TIMEOUT]),
            JobDispatch.job_id != besides,
        )
        .order_by(JobDispatch.completed_at.desc())
        .limit(rows)
    )
    with database.read() as connection:
        return _read(connection, statement)


def _filtered(wanted: Wanted) -> list[Select[Any]]:
    """Return the statements that together find what is wanted, each with an index that gives its order for nothing."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.job_id is not None:
        conditions.append(JobDispatch.job_id == wanted.job_id)
    if wanted.source is not None:
        conditions.append(JobDispatch.source == wanted.source)
    if wanted.worker_id is not None:
        conditions.append(JobDispatch.worker_id == wanted.worker_id)
    if wanted.since is not None:
        conditions.append(JobDispatch.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(JobDispatch.created_at < wanted.until)
    conditions += _ended_within(wanted)
    return [LINES.where(*conditions, *each) for each in _by_status(wanted)]


def _near_ids(connection: Connection, wanted: Wanted) -> list[ColumnElement[bool]]:
    """Return between which ids those lie that ended in the time wanted: a list by ids must not walk all others."""
    if wanted.ended_from is None or wanted.ended_until is None or wanted.job_id is not None:
        return []
    lowest, highest = connection.execute(
        select(func.min(JobDispatch.id), func.max(JobDispatch.id)).where(*_ended_within(wanted))
    ).one()
    return [JobDispatch.id.between(lowest, highest)] if lowest is not None else [JobDispatch.id < 0]


def _ended_within(wanted: Wanted) -> list[ColumnElement[bool]]:
    if wanted.ended_from is None or wanted.ended_until is None:
        return []
    ended = JobDispatch.completed_at
    return [ended.is_not(None), ended >= wanted.ended_from, ended < wanted.ended_until]


def _by_status(wanted: Wanted) -> list[list[ColumnElement[bool]]]:
    """Part what is rare by status, for the index of what did not go well has one stretch for each."""
    ordered = sorted(wanted.statuses)
    if not ordered:
        return [[]]
    if wanted.job_id is None and wanted.statuses <= TROUBLES:
        return [[TROUBLE, JobDispatch.status == status] for status in ordered]
    matches = JobDispatch.status.in_(ordered)
    return [[matches]] if any(status.is_terminal for status in ordered) else [[LIVE, matches]]


def _read(connection: Connection, statement: Select[Any]) -> list[RunLine]:
    return [read_as(RunLine, row) for row in connection.execute(statement)]
