"""Jobs that start when others end: who waits for whom, and the runs that an end leads to.

Each job that one waits for has a row, which keeps the last end of it that has not led to a run yet. The rows of a
waiting job are locked before they are judged, so that of two ends at the same moment the later one sees the earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.model import BlackoutPolicy, DependsMode, DependsWhen, JobSpec, On, Overlap, Reason, Source, Status
from jobsup.store import admission, holds
from jobsup.store.admission import LiveRun
from jobsup.store.dialect import insert_new
from jobsup.store.direct import Direct
from jobsup.store.rows import Job, JobDependency, JobDispatch

RETRIES_WALKED_MAX = 10_000
"""More attempts than one run has: only a bound for the walk to its first."""

_NO_END = (Reason.REPLACED, Reason.JOB_REMOVED)
"""What ended for these reasons was given up for another run, or for good: nothing follows it."""


def write(connection: Connection, set_name: str, specs: Sequence[JobSpec], whose: ColumnElement[bool]) -> None:
    """Make what these jobs of a set wait for what their definitions say; what has ended already is kept.

    `whose` says which of the set's jobs `specs` are all of.
    """
    rows = connection.execute(select(Job.name, Job.id).where(Job.set_name == set_name))
    ids = {row.name: row.id for row in rows}
    wanted = {(ids[spec.name], ids[name]) for spec in specs for name in spec.depends_on if name in ids}
    ours = JobDependency.job_id.in_(select(Job.id).where(Job.set_name == set_name, whose))
    stored = set(connection.execute(select(JobDependency.job_id, JobDependency.upstream_id).where(ours)).tuples())
    for job_id, upstream_id in stored - wanted:
        gone = (JobDependency.job_id == job_id, JobDependency.upstream_id == upstream_id)
        connection.execute(delete(JobDependency).where(*gone))
    fresh = [{"job_id": job_id, "upstream_id": upstream_id} for job_id, upstream_id in sorted(wanted - stored)]
    if fresh:
        connection.execute(insert(JobDependency), fresh)


def follow(connection: Connection, run: RowMapping, status: Status, reason: Reason, now: datetime) -> int:
    """Make the runs that the final end of a run leads to; returns how many wait for a worker now.

    Nothing follows what was filled in afterwards: the runs that depended on that time have been, or are filled in too.
    """
    if reason in _NO_END or not (links := _links(connection, run["job_id"])) or _is_backfill(connection, run):
        return 0
    made = 0
    for _, group in groupby(links, key=lambda link: link["id"]):
        waiting = list(group)
        spec = jobspec_from_dict(waiting[0]["payload"])
        if _suits(spec.depends_when, status) and _is_complete(connection, spec, waiting, run):
            made += _start(connection, waiting[0], spec, run, now)
    return made


def _links(connection: Connection, upstream_id: int) -> Sequence[RowMapping]:
    """Read, and lock, all that the jobs wait for which wait for this one."""
    waiting = select(JobDependency.job_id).where(JobDependency.upstream_id == upstream_id)
    statement = (
        select(
            *admission.JOB_COLUMNS,
            Job.set_name,
            Job.payload,
            Job.paused_at,
            Job.paused_until,
            Job.paused_by,
            Job.paused_reason,
            JobDependency.upstream_id,
            JobDependency.ended_by,
        )
        .join(JobDependency, JobDependency.job_id == Job.id)
        .where(JobDependency.job_id.in_(waiting), Job.is_active)
        .order_by(JobDependency.job_id, JobDependency.upstream_id)
        .with_for_update(of=(JobDependency, Job), key_share=True)
    )
    return connection.execute(statement).mappings().all()


def _is_backfill(connection: Connection, run: RowMapping) -> bool:
    """Say whether the first attempt of a run was filled in afterwards."""
    source, earlier = run["source"], run["retry_of"]
    for _ in range(RETRIES_WALKED_MAX):
        if earlier is None:
            break
        found = select(JobDispatch.source, JobDispatch.retry_of).where(JobDispatch.id == earlier)
        row = connection.execute(found).one_or_none()
        if row is None:
            break
        source, earlier = row
    return bool(source == Source.BACKFILL)


def _suits(when: DependsWhen, status: Status) -> bool:
    return when is DependsWhen.ANY or (status is Status.COMPLETED) == (when is DependsWhen.SUCCESS)


def _is_complete(connection: Connection, spec: JobSpec, links: Sequence[RowMapping], run: RowMapping) -> bool:
    """Note this end; say whether the job has all it waits for, and if so begin anew."""
    if spec.depends_mode is DependsMode.ANY:
        return True
    mine = update(JobDependency).where(JobDependency.job_id == links[0]["id"])
    if any(link["ended_by"] is None for link in links if link["upstream_id"] != run["job_id"]):
        connection.execute(mine.where(JobDependency.upstream_id == run["job_id"]).values(ended_by=run["id"]))
        return False
    connection.execute(mine.values(ended_by=None))
    return True


def _start(connection: Connection, job: RowMapping, spec: JobSpec, parent: RowMapping, now: datetime) -> int:
    """Let a run in behind its parent, or write why it is not; returns how many wait now.

    On each host, if the job says so: behind a parent that ran on one of them for the same reason, on that one only.
    """
    row: dict[str, Any] = {
        "reason": Reason.NONE,
        "status": Status.PENDING,
        "note": None,
        "error_message": None,
        "parent_id": parent["id"],
        "source": Source.DEPENDENCY,
        "created_at": now,
    }
    available_at = now
    refused = _paused(job, now)
    window = holds.window_of(connection, job["set_name"], spec, now)
    if window is not None and window.policy is BlackoutPolicy.SKIP:
        refused = refused or (Reason.BLACKOUT, window.words)
    elif window is not None:
        available_at, row["note"] = window.end, holds.held_note(window)
    targets = _targets(connection, job, parent, now)
    if not targets:
        targets, refused = [""], refused or (Reason.NO_HOST, admission.no_host(job))
    live = admission.live_runs(Direct.of(connection), [job["id"]]).get(job["id"], [])
    rows = [
        _row(connection, job, admission.beside(job, live, target), {**row, "target": target}, refused, available_at)
        for target in targets
    ]
    insert_new(connection, JobDispatch, rows)
    return sum(row["status"] == Status.PENDING for row in rows)


def _targets(connection: Connection, job: RowMapping, parent: RowMapping, now: datetime) -> list[str]:
    if job["on_hosts"] == On.EACH and parent["target"]:
        return [parent["target"]]
    return admission.targets(connection, [job], now)[job["id"]]


def _row(  # noqa: PLR0917  (one row's whole story)
    connection: Connection,
    job: RowMapping,
    live: Sequence[LiveRun],
    row: dict[str, Any],
    refused: tuple[Reason, str | None] | None,
    available_at: datetime,
) -> dict[str, Any]:
    refused = refused or admission.refusal(job, live)
    if refused is not None:
        row |= {"status": Status.SKIPPED, "reason": refused[0], "error_message": refused[1], "note": None}
    elif job["overlap"] == Overlap.REPLACE:
        admission.replace(connection, [run.id for run in live], row["created_at"])
    return {
        **row,
        **admission.inherited(job, available_at),
        "completed_at": None if refused is None else row["created_at"],
        "concurrency_key": None if refused is not None else admission.concurrency_key(job, row["target"]),
    }


def _paused(job: RowMapping, now: datetime) -> tuple[Reason, str | None] | None:
    if job["paused_at"] is None or (job["paused_until"] is not None and job["paused_until"] <= now):
        return None
    by = f"by {job['paused_by']}" if job["paused_by"] else ""
    return Reason.PAUSED, ": ".join(part for part in (by, job["paused_reason"]) if part) or None
