"""How long runs of a job usually take: the median of its latest ones that ended by themselves, or of its last days."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import Row, select

from jobsup.model import Status
from jobsup.store import job_days
from jobsup.store.engine import Database
from jobsup.store.rows import JobDispatch

LATEST_MAX = 50_000
"""Of all jobs together, so many of the latest runs are looked at."""
EACH_MAX = 51
"""Of one job, so many of its latest count."""
OWN_LOOK_MAX = 1000
"""Jobs whose own history is looked up because neither a recent run nor a counted day of theirs was found."""
DAYS = timedelta(days=366)
"""A job that runs seldom is judged by its days, which outlive its runs, so far back."""

_ENDED = (Status.COMPLETED, Status.FAILED)

_RUNS = (
    select(JobDispatch.job_id, JobDispatch.started_at, JobDispatch.completed_at)
    .where(JobDispatch.started_at.is_not(None), JobDispatch.status.in_(_ENDED))
    .order_by(JobDispatch.id.desc())
)


def usual_durations(database: Database, job_ids: Iterable[int]) -> dict[int, timedelta]:
    """Return the median duration of each of the jobs that has one; the cost is bounded whatever the history's size."""
    wanted = dict.fromkeys(job_ids)
    found: dict[int, list[float]] = {}
    with database.read() as connection:
        # By id alone: the newest rows are read, whatever jobs they are of, and the limit ends the walk.
        newest = select(JobDispatch.id).order_by(JobDispatch.id.desc()).limit(1).offset(LATEST_MAX)
        oldest = connection.execute(newest).scalar_one_or_none() or 0
        _collect(found, connection.execute(_RUNS.where(JobDispatch.id > oldest)))
    missing = [job_id for job_id in wanted if job_id not in found]
    days = job_days.durations(database, missing, since=(database.now() - DAYS).date())
    missing = [job_id for job_id in missing if job_id not in days]
    with database.read() as connection:
        for job_id in missing[:OWN_LOOK_MAX] if oldest else ():
            own = _RUNS.where(JobDispatch.job_id == job_id).limit(EACH_MAX)
            _collect(found, connection.execute(own))
    usual = {job_id: timedelta(seconds=median(found[job_id])) for job_id in wanted if job_id in found}
    return usual | {job_id: taken for job_id in days if (taken := job_days.quantile(days[job_id], 0.5)) is not None}


def _collect(found: dict[int, list[float]], rows: Iterable[Row[tuple[int, datetime | None, datetime | None]]]) -> None:
    for job_id, started_at, completed_at in rows:
        taken = found.setdefault(job_id, [])
        if len(taken) < EACH_MAX and started_at is not None and completed_at is not None:
            taken.append(max(0.0, (completed_at - started_at).total_seconds()))
