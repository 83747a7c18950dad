"""Blackouts for runs that wait already: what may not start now starts when the blackout is over, or was taken away.

A tick, a retry or a run behind another that is made within a blackout waits for its end from the beginning. This is
for what waited when the blackout began, and for what it held when somebody changed it. A run that a person asked for
is never held.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Select, String, bindparam, literal_column, or_, select, update

from jobsup.config.document import jobspec_from_dict
from jobsup.model import BlackoutSpec, JobSpec, SetSpec, Source, Status
from jobsup.schedule.base import MOMENT
from jobsup.schedule.blackouts import Window, blackout_at, window_at, windows_between
from jobsup.store import notifier, ranks, sets
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, Job, JobDispatch
from jobsup.store.statements import Given, Statement

AHEAD_MAX = timedelta(hours=1)
"""How far ahead the beginning of a blackout is looked for; then it is looked for again."""
PAGE_SIZE = 1000
"""Waiting runs looked at in one transaction."""
_HELD = "held by "
_BETWEEN = "; "


def window_of(connection: Connection, set_name: str, job: JobSpec, at: datetime) -> Window | None:
    """Return the blackout that covers a start of a job at an instant; None when it may start."""
    return blackout_at(sets.shared(connection).get(set_name, SetSpec()).blackouts, job, at)


def held_note(window: Window, note: str | None = None) -> str:
    """Say in a run's note that it waits for the end of a blackout."""
    return _BETWEEN.join((*_other_words(note), f"{_HELD}{window.words}"))


def next_change(database: Database, now: datetime) -> datetime:
    """Return when `apply` has to be called again, at the latest: a blackout begins then."""
    with database.look() as direct:
        blackouts = [each for shared in sets.shared_in(direct).values() for each in shared.blackouts]
    later = now + AHEAD_MAX
    starts = (next(windows_between(blackout, now, later), None) for blackout in blackouts)
    return min((window.start for window in starts if window is not None), default=later)


def apply(database: Database, now: datetime) -> int:
    """Move the start of runs that wait to the end of a blackout of now, or back to now; returns how many."""
    moved, seen = 0, 0
    while True:
        rows, changes = database.transact_directly(partial(_apply_page, now=now, after=seen))
        moved += changes
        if len(rows) < PAGE_SIZE:
            break
        seen = rows[-1]
    if moved:
        notifier.wake(database, "worker", moved)
    return moved


def _apply_page(direct: Direct, *, now: datetime, after: int) -> tuple[list[int], int]:
    """Do so for the runs that come after a number; returns the numbers of those looked at, and how many were moved."""
    shared = sets.shared_in(direct)
    open_sets = [name for name, each in shared.items() if _is_any_open(each, now)]
    runs = [_Waiting(*row) for row in direct.fetch(_WAITING, {"sets": open_sets, "after": after})]
    jobs = _jobs(direct, {run.job_id for run in runs})
    changes = []
    for run in runs:
        set_name, spec = jobs[run.job_id]
        change = _change(run, shared.get(set_name, SetSpec()).blackouts, spec, now)
        if change is not None:
            changes.append({"run": run.id, **change})
    if changes:
        direct.core.execute(_MOVE, changes)
    return [run.id for run in runs], len(changes)


_MOVE = (
    update(JobDispatch.__table__)
    .where(JobDispatch.id == bindparam("run"), JobDispatch.status == Status.PENDING)
    .values(available_at=bindparam("start"), claim_rank=bindparam("rank"), note=bindparam("words"))
)


class _Waiting(NamedTuple):
    """A run that waits in a set in which a blackout is open, or that one holds."""

    id: int
    job_id: int
    source: str
    retry_count: int
    requested_by: str | None
    available_at: datetime
    claim_rank: int
    note: str | None


def _waiting(given: Given) -> Select[Any]:
    """Make the query for the next of them by their number."""
    is_concerned = or_(given.among(Job.set_name, "sets", String()), JobDispatch.note.like(f"%{_HELD}%"))
    return (
        select(*(getattr(JobDispatch, name) for name in _Waiting._fields))
        .join(Job, Job.id == JobDispatch.job_id)
        .where(
            LIVE,
            JobDispatch.status == Status.PENDING,
            JobDispatch.id > given.one("after", BigInteger()),
            is_concerned,
        )
        .order_by(JobDispatch.id)
        .limit(literal_column(str(PAGE_SIZE)))
    )


_WAITING = Statement(_waiting)
_JOBS = Statement(lambda given: select(Job.id, Job.set_name, Job.payload).where(given.among(Job.id, "jobs")))


def _jobs(direct: Direct, job_ids: set[int]) -> dict[int, tuple[str, JobSpec]]:
    rows = direct.fetch(_JOBS, {"jobs": list(job_ids)}) if job_ids else []
    return {job_id: (set_name, jobspec_from_dict(payload)) for job_id, set_name, payload in rows}


def _is_any_open(shared: SetSpec, now: datetime) -> bool:
    return any(window_at(blackout, now) for blackout in shared.blackouts)


def _change(run: _Waiting, blackouts: tuple[BlackoutSpec, ...], job: JobSpec, now: datetime) -> dict[str, Any] | None:
    """Return the columns that make a run wait for the blackouts there are; None when they are right."""
    start, is_held = run.available_at, _HELD in (run.note or "")
    window = None if _is_by_a_person(run) else blackout_at(blackouts, job, now)
    if window is not None and start < window.end:
        return _moved(run, window.end, held_note(window, run.note))
    if not is_held or start <= now:
        return None
    until = blackout_at(blackouts, job, start - MOMENT)  # the blackout that holds it may be one to come
    if until is not None and until.end == start:
        return None
    if window is not None:
        return _moved(run, window.end, held_note(window, run.note))
    return _moved(run, now, _BETWEEN.join(_other_words(run.note)) or None)


def _moved(run: _Waiting, start: datetime, note: str | None) -> dict[str, Any]:
    rank = ranks.moved_rank(run.claim_rank, run.available_at, start)
    return {"start": start, "rank": rank, "words": note}


def _is_by_a_person(run: _Waiting) -> bool:
    """Tell whether somebody asked for this very attempt: a person's retry begins a new count."""
    asked = run.source == Source.RETRY and run.retry_count == 0 and run.requested_by is not None
    return run.source == Source.MANUAL or asked


def _other_words(note: str | None) -> tuple[str, ...]:
    """Return what a note says besides."""
    return tuple(part for part in (note or "").split(_BETWEEN) if part and not part.startswith(_HELD))
