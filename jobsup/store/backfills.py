"""Ticks of a time gone by, filled in afterwards: one run each, a few at a time, none of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, or_, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import Overlap, Reason, Source, Status
from jobsup.schedule.blackouts import Window
from jobsup.store import admission, holds, notifier
from jobsup.store.dialect import insert_new
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, Job, JobDispatch

BACKFILL_LAG_MS = 86_400_000
"""What is filled in stands behind what comes up now: as if it had come a day later."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The runs of a job that were filled in and have not ended."""

    pending: int
    running: int


def done(database: Database, job_id: int, first: datetime, last: datetime) -> set[datetime]:
    """Return the ticks in [first, last] that have a run, of the schedule or filled in; a skipped one has none."""
    has_run = and_(JobDispatch.source == Source.SCHEDULE, JobDispatch.status.not_in((Status.SKIPPED, Status.CANCELLED)))
    is_filled = and_(JobDispatch.source == Source.BACKFILL, JobDispatch.status != Status.CANCELLED)
    statement = select(JobDispatch.scheduled_for).where(
        JobDispatch.job_id == job_id, JobDispatch.scheduled_for.between(first, last), or_(has_run, is_filled)
    )
    with database.read() as connection:
        return {tick for tick in connection.execute(statement).scalars() if tick is not None}


def create(
    database: Database, job_id: int, ticks: Sequence[datetime], *, requested_by: str, max_parallel: int
) -> list[int]:
    """Make one run a tick, at most `max_parallel` of them in progress at a time; returns their ids, the oldest first.

    Of a job that runs on each host it is one a tick on each that lives now, `max_parallel` on each of them. A tick
    that somebody else filled in meanwhile is passed over. Of a job that must not overlap and `max_parallel` 1, none
    runs beside a run of its schedule. Raises NotFoundError when the job has been removed, ConflictError when it runs
    on each host and none can run it.
    """
    now = database.now()
    with database.write() as connection:
        job = _job(connection, job_id)
        targets = admission.targets(connection, [job], now)[job_id]
        if not targets:
            raise ConflictError(f"nothing is filled in: {admission.no_host(job)}")
        window = holds.window_of(connection, job["set_name"], jobspec_from_dict(job["payload"]), now)
        newest = connection.execute(select(func.coalesce(func.max(JobDispatch.id), 0))).scalar_one()
        slots = [number % max_parallel if max_parallel > 1 else None for number in range(len(ticks))]
        rows = [
            _row(job, tick, target, requested_by, window, now=now, slot=slot)
            for tick, slot in zip(ticks, slots, strict=True)
            for target in targets
        ]
        if rows:
            insert_new(connection, JobDispatch, rows)
        mine = select(JobDispatch.id).where(
            JobDispatch.id > newest, JobDispatch.job_id == job_id, JobDispatch.source == Source.BACKFILL
        )
        ids = sorted(connection.execute(mine).scalars())
    notifier.wake(database, "worker", len(ids))
    return ids


def cancel(database: Database, job_id: int, by: str) -> int:
    """End what was filled in and still waits; what runs goes on. Returns how many."""
    now = database.now()
    with database.write() as connection:
        ended = connection.execute(
            update(JobDispatch)
            .where(LIVE, JobDispatch.status == Status.PENDING, _ours(job_id))
            .values(
                status=Status.CANCELLED,
                reason=Reason.CANCELLED,
                completed_at=now,
                cancel_requested_at=now,
                cancel_requested_by=by,
                cancel_reason=Reason.CANCELLED,
            )
        ).rowcount
    notifier.wake(database, "follower")
    return ended


def waiting(database: Database, job_id: int) -> Waiting:
    """Count what was filled in and has not ended."""
    statement = (
        select(JobDispatch.status, func.count().label("number")).where(LIVE, _ours(job_id)).group_by(JobDispatch.status)
    )
    with database.read() as connection:
        found = {row.status: row.number for row in connection.execute(statement)}
    return Waiting(found.get(Status.PENDING, 0), found.get(Status.IN_PROGRESS, 0))


def _ours(job_id: int) -> Any:
    return and_(JobDispatch.job_id == job_id, JobDispatch.source == Source.BACKFILL)


def _job(connection: Connection, job_id: int) -> RowMapping:
    statement = select(*admission.JOB_COLUMNS, Job.set_name, Job.payload).where(
        Job.id == job_id, Job.retired_at.is_(None)
    )
    job = connection.execute(statement).mappings().one_or_none()
    if job is None:
        raise NotFoundError("the job has been removed from its file")
    return job


def _row(
    job: RowMapping,
    tick: datetime,
    target: str,
    requested_by: str,
    window: Window | None,
    *,
    now: datetime,
    slot: int | None,
) -> dict[str, Any]:
    inherited = admission.inherited(job, now if window is None else window.end)
    shares = slot is None and job["overlap"] != Overlap.ALLOW
    return {
        **inherited,
        "claim_rank": inherited["claim_rank"] + BACKFILL_LAG_MS,
        "source": Source.BACKFILL,
        "status": Status.PENDING,
        "scheduled_for": tick,
        "created_at": now,
        "requested_by": requested_by,
        "target": target,
        "concurrency_key": admission.concurrency_key(job, target)
        if shares
        else f"job:{job['id']}@{target}:backfill:{slot or 0}",
        "note": None if window is None else holds.held_note(window),
    }
