"""What a job lets in while it has runs already, and what every new run of it takes over from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, String, case, cast, literal_column, null, select, update

from jobsup.model import On, Overlap, Reason, Source, Status
from jobsup.store import hosts, ranks
from jobsup.store.direct import Direct
from jobsup.store.requirements import tags_of
from jobsup.store.rows import LIVE, Job, JobDispatch
from jobsup.store.statements import Statement

JOB_COLUMNS = (
    Job.id,
    Job.overlap,
    Job.queue_limit,
    Job.priority,
    Job.head_start_ms,
    Job.queue,
    Job.pool_key,
    Job.requires,
    Job.on_hosts,
)
"""What has to be known of a job to let a run of it in."""
Facts = RowMapping | Mapping[str, Any]
"""These columns of a job, by name."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that waits or runs."""

    id: int
    status: Status
    available_at: datetime
    target: str = ""

    @property
    def is_running(self) -> bool:
        return self.status is Status.IN_PROGRESS


def jobs(direct: Direct, job_ids: Sequence[int]) -> dict[int, Facts]:
    """Read what has to be known of jobs, by their ids."""
    rows = direct.fetch(_JOBS, {"jobs": job_ids})
    return {row[0]: dict(zip(_NAMES, row, strict=True)) for row in rows}


_NAMES = tuple(column.key for column in JOB_COLUMNS)
_JOBS = Statement(lambda given: select(*JOB_COLUMNS).where(given.among(Job.id, "jobs")))


def live_runs(direct: Direct, job_ids: Sequence[int]) -> dict[int, list[LiveRun]]:
    """Return the runs of jobs that wait or run, the oldest first; those filled in afterwards keep nobody out."""
    found: dict[int, list[LiveRun]] = {}
    # Sorted here: asked for an order by id, SQLite would walk all of the jobs' history instead of their live rows.
    for job_id, dispatch_id, status, available_at, target in sorted(
        direct.fetch(_LIVE_RUNS, {"jobs": job_ids}), key=itemgetter(1)
    ):
        found.setdefault(job_id, []).append(LiveRun(dispatch_id, Status(status), available_at, target))
    return found


_LIVE_RUNS = Statement(
    lambda given: select(
        JobDispatch.job_id, JobDispatch.id, JobDispatch.status, JobDispatch.available_at, JobDispatch.target
    ).where(
        LIVE,
        JobDispatch.status.in_([literal_column(f"'{status}'") for status in (Status.PENDING, Status.IN_PROGRESS)]),
        given.among(JobDispatch.job_id, "jobs"),
        JobDispatch.source != Source.BACKFILL,
    )
)


STATEMENTS = (_JOBS, _LIVE_RUNS)


def beside(job: Facts, live: Sequence[LiveRun], target: str) -> list[LiveRun]:
    """Return those of a job's runs that one more run meets: of a job that runs on each host, those of its own."""
    if job["on_hosts"] != On.EACH:
        return list(live)
    return [run for run in live if run.target in ("", target)]


def targets(connection: Connection, jobs: Sequence[Facts], now: datetime) -> dict[int, list[str]]:
    """Return on which hosts each job is to run now: by name for one that runs on each, else `""`, which is any."""
    living = hosts.living(connection, now) if any(job["on_hosts"] == On.EACH for job in jobs) else []
    return {
        job["id"]: hosts.able(living, job["queue"], tags_of(job["requires"])) if job["on_hosts"] == On.EACH else [""]
        for job in jobs
    }


def no_host(job: Facts) -> str:
    """Say what a host would have had to have."""
    tags = f" with {job['requires']}" if job["requires"] else ""
    return f'no living host has a worker{tags} that serves the queue "{job["queue"]}"'


def refusal(job: Facts, live: Sequence[LiveRun], *, ahead: int = 0) -> tuple[Reason, str] | None:
    """Say why one more run, behind `ahead` others that are let in with it, is not; None when it is."""
    overlap = Overlap(job["overlap"])
    if overlap is Overlap.SKIP and live:
        last = live[-1]
        return Reason.OVERLAP, f"run {last.id} was {'still running' if last.is_running else 'still waiting'}"
    if overlap is Overlap.QUEUE:
        waiting = sum(not run.is_running for run in live) + ahead
        # When none runs, the first that waits waits for no other.
        if waiting - (not any(run.is_running for run in live)) >= job["queue_limit"]:
            return Reason.QUEUE_FULL, f"{waiting} runs were waiting, and queue_limit is {job['queue_limit']}"
    return None


def inherited(job: Facts, available_at: datetime) -> dict[str, Any]:
    """Return the columns of a new run that its job decides, and its place among those that wait."""
    return {
        "job_id": job["id"],
        "priority": job["priority"],
        "queue": job["queue"],
        "pool_key": job["pool_key"],
        "requires": job["requires"],
        "available_at": available_at,
        "claim_rank": ranks.rank(available_at, job["head_start_ms"]),
    }


def concurrency_key(job: Facts, target: str = "") -> str | None:
    """Name what at most one running attempt of a job holds; None when they may run side by side."""
    if job["overlap"] == Overlap.ALLOW:
        return None
    return f"job:{job['id']}@{target}" if job["on_hosts"] == On.EACH and target else f"job:{job['id']}"


KEY_ON_ANY_HOST: ColumnElement[str | None] = case(
    (Job.overlap == literal_column(f"'{Overlap.ALLOW}'"), null()),
    else_=literal_column("'job:'").concat(cast(Job.id, String())),
)
"""The same, in the database's words, of a job that does not run on each host."""


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
