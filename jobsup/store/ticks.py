"""Ticks become dispatches: due jobs are read, decided on elsewhere, and written in one transaction a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.errors import ConflictError
from jobsup.model import DueJob, Lease, Overlap, Reason, Source, Status, TickPlan
from jobsup.store import leases
from jobsup.store.dialect import insert_new
from jobsup.store.engine import Database
from jobsup.store.models import LIVE, Job, JobDispatch


class LeaseLostError(ConflictError):
    """The term of this leader is over; nothing was written."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What one chunk of plans came to."""

    count: int
    """Dispatches that wait for a worker now."""
    skipped: int
    """Ticks written as SKIPPED."""
    stale: int
    """Plans not applied: their job changed after it was read; it is read again."""


def due(database: Database, limit: int) -> list[DueJob]:
    """Read the jobs whose next tick has come, the longest waiting first."""
    now = database.now()
    with database.read() as connection:
        rows = connection.execute(
            select(
                Job.id,
                Job.name,
                Job.next_run,
                Job.payload,
                Job.paused_at,
                Job.paused_until,
                Job.paused_by,
                Job.paused_reason,
            )
            .where(Job.is_active, Job.next_run <= now)
            .order_by(Job.next_run, Job.id)
            .limit(limit)
        ).all()
    return [_due_job(*row) for row in rows]


def next_due_at(database: Database) -> datetime | None:
    """Return the earliest tick of all active jobs, which may be past; None when there is none."""
    with database.read() as connection:
        return connection.execute(select(func.min(Job.next_run)).where(Job.is_active)).scalar_one()


def dispatch(database: Database, lease: Lease, plans: Sequence[TickPlan]) -> Dispatched:
    """Apply plans in one transaction: advance each job's `next_run`, insert its dispatches and SKIPPED rows.

    Overlap is decided here, inside the transaction, against the runs that wait or run at this very moment.
    Raises LeaseLostError, with nothing written, when the term is not the current one any more.
    """
    now = database.now()
    with database.write() as connection:
        if not leases.holds(connection, lease):
            raise LeaseLostError(f"the lease of term {lease.epoch} is not held any more")
        jobs = _lock_jobs(connection, [plan.job_id for plan in plans])
        current = [plan for plan in plans if _is_current(jobs.get(plan.job_id), plan)]
        _advance(connection, current)
        rows = _rows(connection, current, jobs, lease.epoch, now)
        if rows:
            insert_new(connection, JobDispatch, rows)
    pending = sum(row["status"] == Status.PENDING for row in rows)
    skipped = sum(row["skipped_count"] or 0 for row in rows)
    return Dispatched(pending, skipped, len(plans) - len(current))


def _due_job(job_id: int, name: str, next_run: datetime, payload: dict[str, Any], *paused: Any) -> DueJob:
    spec = jobspec_from_dict(payload)
    return DueJob(
        job_id, name, next_run, spec.schedule, spec.catch_up, spec.catch_up_limit, spec.misfire_grace, *paused
    )


def _lock_jobs(connection: Connection, job_ids: Sequence[int]) -> dict[int, RowMapping]:
    rows = connection.execute(
        select(Job.id, Job.next_run, Job.is_active, Job.overlap, Job.priority, Job.queue)
        .where(Job.id.in_(job_ids))
        .order_by(Job.id)
        .with_for_update()
    ).mappings()
    return {row["id"]: row for row in rows}


def _is_current(job: RowMapping | None, plan: TickPlan) -> bool:
    return job is not None and job["is_active"] and job["next_run"] == plan.seen_next_run


def _advance(connection: Connection, plans: Sequence[TickPlan]) -> None:
    if plans:
        connection.execute(
            update(Job.__table__)  # type: ignore[arg-type]  # the declarative base types its table as a FromClause
            .where(Job.id == bindparam("job"))
            .values(next_run=bindparam("following")),
            [{"job": plan.job_id, "following": plan.next_run} for plan in plans],
        )


def _rows(
    connection: Connection, plans: Sequence[TickPlan], jobs: dict[int, RowMapping], epoch: int, now: datetime
) -> list[dict[str, Any]]:
    live = _live_runs(connection, [plan.job_id for plan in plans if plan.runs])
    rows: list[dict[str, Any]] = []
    for plan in plans:
        job, running = jobs[plan.job_id], live.get(plan.job_id, ())
        base = {**_EMPTY, **_common(job, now), "epoch": epoch}
        rows += [
            {
                **base,
                **_skipped(skip.reason, skip.first, now),
                "skipped_until": skip.last,
                "skipped_count": skip.count,
                "error_message": skip.text,
            }
            for skip in plan.skips
        ]
        rows += _run_rows(connection, plan, Overlap(job["overlap"]), running, base, now)
    return rows


def _run_rows(  # noqa: PLR0917  (one row's whole story)
    connection: Connection,
    plan: TickPlan,
    overlap: Overlap,
    running: Sequence[tuple[int, str]],
    base: dict[str, Any],
    now: datetime,
) -> Iterable[dict[str, Any]]:
    """Turn the ticks that are to run into rows; several at once (caught up) wait for each other, not for a skip."""
    if overlap is Overlap.SKIP and running:
        dispatch_id, status = running[-1]
        text = f"run {dispatch_id} was {'still running' if status == Status.IN_PROGRESS else 'still waiting'}"
        return [{**base, **_skipped(Reason.OVERLAP, tick, now), "error_message": text} for tick in plan.runs]
    key = None if overlap is Overlap.ALLOW else concurrency_key(plan.job_id)
    rows = [{**base, "scheduled_for": tick, "status": Status.PENDING, "concurrency_key": key} for tick in plan.runs]
    if overlap is Overlap.REPLACE and rows:
        replace(connection, [dispatch_id for dispatch_id, _ in running], now)
        text = f"the tick of {plan.runs[-1].isoformat()} took its place"
        rows[:-1] = [{**base, **_skipped(Reason.OVERLAP, tick, now), "error_message": text} for tick in plan.runs[:-1]]
    return rows


def concurrency_key(job_id: int) -> str:
    """Name what at most one running attempt of a job holds."""
    return f"job:{job_id}"


def replace(connection: Connection, dispatch_ids: Sequence[int], now: datetime) -> None:
    """End earlier runs of a job for a newer one: waiting ones at once, running ones by a wish to their worker."""
    earlier = JobDispatch.id.in_(dispatch_ids)
    connection.execute(
        update(JobDispatch)
        .where(earlier, JobDispatch.status == Status.PENDING)
        .values(status=Status.CANCELLED, reason=Reason.REPLACED, completed_at=now)
    )
    connection.execute(
        update(JobDispatch)
        .where(earlier, JobDispatch.status == Status.IN_PROGRESS, JobDispatch.cancel_requested_at.is_(None))
        .values(cancel_requested_at=now, cancel_reason=Reason.REPLACED)
    )


def _live_runs(connection: Connection, job_ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    found: dict[int, list[tuple[int, str]]] = {}
    for job_id, dispatch_id, status in connection.execute(
        select(JobDispatch.job_id, JobDispatch.id, JobDispatch.status)
        .where(LIVE, JobDispatch.status.in_((Status.PENDING, Status.IN_PROGRESS)), JobDispatch.job_id.in_(job_ids))
        .order_by(JobDispatch.id)
    ):
        found.setdefault(job_id, []).append((dispatch_id, status))
    return found


def _common(job: RowMapping, now: datetime) -> dict[str, Any]:
    return {
        "job_id": job["id"],
        "source": Source.SCHEDULE,
        "priority": job["priority"],
        "queue": job["queue"],
        "available_at": now,
        "created_at": now,
    }


def _skipped(reason: Reason, tick: datetime, now: datetime) -> dict[str, Any]:
    return {
        "scheduled_for": tick,
        "status": Status.SKIPPED,
        "reason": reason,
        "skipped_until": tick,
        "skipped_count": 1,
        "completed_at": now,
    }


_EMPTY: dict[str, Any] = {
    "reason": "",
    "skipped_until": None,
    "skipped_count": None,
    "completed_at": None,
    "error_message": None,
    "concurrency_key": None,
}
"""Every row of a bulk insert names the same columns."""
