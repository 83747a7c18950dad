"""Deadlines in the tables: they are on the wall clock, and must move when that is set ahead."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update

from jobsup.model import Status
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, JobDispatch


def postpone(database: Database, by: timedelta, *, claimed_until: datetime) -> int:
    """Move the deadlines of what was claimed until then and still runs; returns how many.

    The worker keeps to its own clock, which only counts; these are for whoever has to judge whether it does.
    """
    running = (LIVE, JobDispatch.status == Status.IN_PROGRESS, JobDispatch.deadline_at.is_not(None))
    with database.write() as connection:
        rows = connection.execute(
            select(JobDispatch.id, JobDispatch.deadline_at).where(*running, JobDispatch.claimed_at <= claimed_until)
        ).all()
        moved = [{"run": run, "later": deadline + by} for run, deadline in rows if deadline is not None]
        if moved:
            table = JobDispatch.__table__
            change = update(table).where(table.c.id == bindparam("run"), table.c.status == Status.IN_PROGRESS)
            connection.execute(change.values(deadline_at=bindparam("later")), moved)
    return len(moved)
