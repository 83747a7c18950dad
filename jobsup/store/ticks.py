"""Ticks become dispatches: due jobs are read, decided on elsewhere, and written in one transaction a chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.errors import ConflictError
from jobsup.model import DueJob, Lease, Overlap, Reason, SetSpec, Source, Status, TickPlan
from jobsup.schedule.blackouts import covers
from jobsup.store import admission, leases, notifier, sets
from jobsup.store.admission import LiveRun
from jobsup.store.dialect import insert_new
from jobsup.store.engine import Database
from jobsup.store.made import fetch
from jobsup.store.news import Offer
from jobsup.store.rows import Job, JobDispatch


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
        rows = fetch(connection, _DUE, {"at": now, "wanted": limit}).all()
        shared = sets.shared(connection) if rows else {}
    return [_due_job(shared.get(set_name, SetSpec()), *row) for set_name, *row in rows]


def next_due_at(database: Database) -> datetime | None:
    """Return the earliest tick of all active jobs, which may be past; None when there is none."""
    with database.read() as connection:
        earliest: datetime | None = fetch(connection, _NEXT_DUE, {}).scalar_one()
    return earliest


_NEXT_DUE = select(func.min(Job.next_run)).where(Job.is_active)
_DUE = (
    select(
        Job.set_name,
        Job.id,
        Job.next_run,
        Job.payload,
        Job.paused_at,
        Job.paused_until,
        Job.paused_by,
        Job.paused_reason,
    )
    .where(Job.is_active, Job.next_run <= bindparam("at"))
    .order_by(Job.next_run, Job.id)
    .limit(bindparam("wanted"))
)


def dispatch(database: Database, lease: Lease, plans: Sequence[TickPlan]) -> Dispatched:
    """Apply plans in one transaction: advance each job's `next_run`, insert its dispatches and SKIPPED rows.

    Overlap is decided here, inside the transaction, against the runs that wait or run at this very moment.
    Workers are told of what waits for them. Raises LeaseLostError, with nothing written, when the term is not the
    current one any more.
    """

    def apply(connection: Connection) -> Dispatched:
        if not leases.holds(connection, lease):
            raise LeaseLostError(f"the lease of term {lease.epoch} is not held any more")
        now = database.now()
        jobs = _lock_jobs(connection, [plan.job_id for plan in plans])
        current = [plan for plan in plans if _is_current(jobs.get(plan.job_id), plan)]
        _advance(connection, current)
        rows = _rows(connection, current, jobs, lease.epoch, now)
        if rows:
            insert_new(connection, JobDispatch, rows)
        pending = _pending(rows)
        _tell(database, rows, jobs.values(), now)
        skipped = sum(row["skipped_count"] or 0 for row in rows)
        return Dispatched(pending, skipped, len(plans) - len(current))

    return database.transact(apply)


def _due_job(shared: SetSpec, job_id: int, next_run: datetime, payload: dict[str, Any], *paused: Any) -> DueJob:
    spec = jobspec_from_dict(payload)
    ours = tuple(blackout for blackout in shared.blackouts if covers(blackout, spec))
    return DueJob(job_id, spec, next_run, ours, *paused)


def _lock_jobs(connection: Connection, job_ids: Sequence[int]) -> dict[int, RowMapping]:
    rows = connection.execute(
        select(*admission.JOB_COLUMNS, Job.next_run, Job.is_active)
        .where(Job.id.in_(job_ids))
        .order_by(Job.id)
        .with_for_update(key_share=True)  # what refers to these jobs may be written meanwhile
    ).mappings()
    return {row["id"]: row for row in rows}


def _is_current(job: RowMapping | None, plan: TickPlan) -> bool:
    return job is not None and job["is_active"] and job["next_run"] == plan.seen_next_run


def _advance(connection: Connection, plans: Sequence[TickPlan]) -> None:
    if plans:
        connection.execute(
            update(Job.__table__)
            .where(Job.id == bindparam("job"))
            .values(next_run=bindparam("following"), zone_fingerprint=bindparam("rules")),
            [{"job": plan.job_id, "following": plan.next_run, "rules": plan.zone_fingerprint} for plan in plans],
        )


def _rows(
    connection: Connection, plans: Sequence[TickPlan], jobs: dict[int, RowMapping], epoch: int, now: datetime
) -> list[dict[str, Any]]:
    due = [jobs[plan.job_id] for plan in plans if plan.runs]
    live = admission.live_runs(connection, [job["id"] for job in due])
    targets = admission.targets(connection, due, now)
    rows: list[dict[str, Any]] = []
    for plan in plans:
        job = jobs[plan.job_id]
        base = {**_EMPTY, **admission.inherited(job, now), "source": Source.SCHEDULE, "created_at": now, "epoch": epoch}
        rows += [
            {
                **base,
                **_skipped(skip.reason, skip.first, now, skip.text),
                "skipped_until": skip.last,
                "skipped_count": skip.count,
            }
            for skip in plan.skips
        ]
        for target in targets.get(plan.job_id, ()):
            met = admission.beside(job, live.get(plan.job_id, []), target)
            rows += _run_rows(connection, plan, job, met, {**base, "target": target}, now)
        if plan.runs and not targets[plan.job_id]:
            text = admission.no_host(job)
            rows += [{**base, **_skipped(Reason.NO_HOST, tick, now, text)} for tick in plan.runs]
    return rows


def _run_rows(  # noqa: PLR0917  (one row's whole story)
    connection: Connection,
    plan: TickPlan,
    job: RowMapping,
    live: list[LiveRun],
    base: dict[str, Any],
    now: datetime,
) -> list[dict[str, Any]]:
    """Turn the ticks that are to run into rows; several at once (caught up) wait for each other, not for a skip."""
    rows: list[dict[str, Any]] = []
    replaces = job["overlap"] == Overlap.REPLACE and len(plan.runs) > 0
    for tick in plan.runs:
        start = max(now, plan.starts.get(tick, now))
        if tick in plan.held and (other := _held_until(start, live)):
            text = f"run {other} starts then for all that the blackout holds"
            rows.append({**base, **_skipped(Reason.BLACKOUT, tick, now, text)})
        elif replaces and tick != plan.runs[-1]:
            text = f"the tick of {plan.runs[-1].isoformat()} took its place"
            rows.append({**base, **_skipped(Reason.OVERLAP, tick, now, text)})
        elif not replaces and (why := admission.refusal(job, live, ahead=_pending(rows))):
            rows.append({**base, **_skipped(why[0], tick, now, why[1])})
        else:
            rows.append(
                {
                    **base,
                    **admission.inherited(job, start),
                    "scheduled_for": tick,
                    "status": Status.PENDING,
                    "note": plan.notes.get(tick),
                    "concurrency_key": admission.concurrency_key(job, base["target"]),
                }
            )
    if replaces and _pending(rows):
        admission.replace(connection, [run.id for run in live], now)
    return rows


def _tell(database: Database, rows: Sequence[dict[str, Any]], jobs: Iterable[RowMapping], now: datetime) -> None:
    """Offer what waits to those who can have it; all workers are told of what comes later, or ends what runs."""
    waiting = [row for row in rows if row["status"] == Status.PENDING]
    if any(row["available_at"] > now for row in waiting) or any(job["overlap"] == Overlap.REPLACE for job in jobs):
        notifier.wake(database, "worker", len(waiting))
        return
    offered = Counter(Offer(row["queue"], row["target"], row["requires"] or "") for row in waiting)
    for offer, count in offered.items():
        notifier.offer(database, offer, count)


def _pending(rows: Iterable[dict[str, Any]]) -> int:
    return sum(row["status"] == Status.PENDING for row in rows)


def _held_until(end: datetime, live: Iterable[LiveRun]) -> int | None:
    """Return the run that waits for the end of the same blackout already."""
    return next((run.id for run in live if not run.is_running and run.available_at == end), None)


def _skipped(reason: Reason, tick: datetime, now: datetime, text: str | None) -> dict[str, Any]:
    return {
        "scheduled_for": tick,
        "status": Status.SKIPPED,
        "reason": reason,
        "skipped_until": tick,
        "skipped_count": 1,
        "completed_at": now,
        "error_message": text,
    }


_EMPTY: dict[str, Any] = {
    "target": "",
    "reason": "",
    "note": None,
    "skipped_until": None,
    "skipped_count": None,
    "completed_at": None,
    "error_message": None,
    "concurrency_key": None,
}
"""Every row of a bulk insert names the same columns."""
