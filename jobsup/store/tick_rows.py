"""The rows of ticks that ask for more than one run: skips, overlaps, ticks caught up, a run on each host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobsup.model import Overlap, Reason, Source, Status, TickPlan
from jobsup.store import admission
from jobsup.store.admission import Facts, LiveRun
from jobsup.store.dialect import insert_new
from jobsup.store.direct import Direct
from jobsup.store.rows import JobDispatch


@dataclass(frozen=True, slots=True)
class Written:
    """What became of some plans."""

    waiting: Sequence[tuple[str, str, str]] = ()
    """The queue, the host and the tags that each run which waits asks for."""
    skipped: int = 0
    """Ticks written as SKIPPED."""
    is_for_all: bool = False
    """What waits begins later, or ends what runs: every worker has to know."""


def write(
    direct: Direct, plans: Sequence[TickPlan], live: Mapping[int, list[LiveRun]], *, epoch: int, now: datetime
) -> Written:
    """Write all that plans say, given the runs of their jobs that wait or run."""
    if not plans:
        return Written()
    jobs = admission.jobs(direct, [plan.job_id for plan in plans])
    rows = _rows(direct.core, plans, jobs, live, epoch=epoch, now=now)
    insert_new(direct.core, JobDispatch, rows)
    waiting = [row for row in rows if row["status"] == Status.PENDING]
    return Written(
        waiting=[(row["queue"], row["target"], row["requires"] or "") for row in waiting],
        skipped=sum(row["skipped_count"] or 0 for row in rows),
        is_for_all=any(row["available_at"] > now for row in waiting)
        or any(job["overlap"] == Overlap.REPLACE for job in jobs.values()),
    )


def _rows(
    connection: Connection,
    plans: Sequence[TickPlan],
    jobs: Mapping[int, Facts],
    live: Mapping[int, list[LiveRun]],
    *,
    epoch: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """Make a row for each run that is let in, and for all that does not run; earlier runs are ended on the way."""
    targets = admission.targets(connection, [jobs[plan.job_id] for plan in plans if plan.runs], now)
    made: list[dict[str, Any]] = []
    for plan in plans:
        job = jobs[plan.job_id]
        base = {**_EMPTY, **admission.inherited(job, now), "source": Source.SCHEDULE, "created_at": now, "epoch": epoch}
        made += [
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
            made += _run_rows(connection, plan, job, met, {**base, "target": target}, now)
        if plan.runs and not targets[plan.job_id]:
            text = admission.no_host(job)
            made += [{**base, **_skipped(Reason.NO_HOST, tick, now, text)} for tick in plan.runs]
    return made


def _run_rows(  # noqa: PLR0917  (one row's whole story)
    connection: Connection,
    plan: TickPlan,
    job: Facts,
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
