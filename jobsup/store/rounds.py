"""A worker's whole traffic with the database: one transaction a round, however much came together meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Update, delete, insert, select, update

from jobsup.model import Claim, Heartbeat, OutputChunk, Reason, RunResult, Status, WorkerStatus
from jobsup.store import attempts, claiming, notifier
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, JobDispatch, JobOutputChunk, WorkerRegistration


@dataclass(frozen=True, slots=True)
class Worker:
    """The registered worker that acts."""

    worker_id: str
    node: str
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """What a worker wants of the database at once."""

    started: dict[int, datetime] = field(default_factory=dict)
    """Dispatches whose process runs since then."""
    chunks: Sequence[OutputChunk] = ()
    """Live output to add."""
    dropped: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Dispatch -> live output from one offset up to another that is past its cap and goes."""
    results: Sequence[RunResult] = ()
    release: Sequence[int] = ()
    """Claimed and not started: to be given back without counting an attempt."""
    claim: int = 0
    """How many dispatches it wants."""
    heartbeat: Heartbeat | None = None
    watch_cancels: bool = False
    """Ask which of its runs somebody wants to end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database said."""

    claims: tuple[Claim, ...] = ()
    refused: frozenset[int] = frozenset()
    """Results that changed nothing, because the dispatch was no longer this worker's."""
    makes_work: bool = False
    """A result made a retry, started a job that waited for it, or freed a pool's place: some worker must know."""
    cancels: dict[int, Reason] = field(default_factory=dict)
    next_available_at: datetime | None = None
    """When a claim found less than it wanted: the earliest instant at which waiting work becomes claimable."""
    is_registered: bool = True
    """False: the worker's row is gone or OFFLINE; it must end its runs and leave."""


def exchange(database: Database, worker: Worker, request: Round) -> Answer:
    """Do a whole round in one transaction: heartbeat, started, output, results (with retries), give-backs, claim.

    Raises DatabaseUnavailableError with nothing done when the database does not answer now.
    """
    now = database.now()
    with database.write() as connection:
        answer = _exchange(connection, worker, request, now)
    if request.results or request.chunks or request.started:
        notifier.wake(database, "follower")
    if request.release or answer.makes_work or (request.results and not request.claim):
        notifier.wake(database, "worker")  # there is work, or a key is free, that this worker may not take
    return answer


def _exchange(connection: Connection, worker: Worker, request: Round, now: datetime) -> Answer:
    is_registered = _beat(connection, worker, request, now)
    for dispatch_id, started_at in request.started.items():
        connection.execute(_owned(worker, dispatch_id).values(started_at=started_at))
    _write_chunks(connection, request)
    ends = {
        result.dispatch_id: attempts.end(connection, result, worker_id=worker.worker_id, node=worker.node, now=now)
        for result in request.results
    }
    for dispatch_id in request.release:
        connection.execute(
            _owned(worker, dispatch_id)
            .where(JobDispatch.started_at.is_(None))
            .values(status=Status.PENDING, worker_id=None, claimed_at=None, deadline_at=None, config_hash=None)
        )
    claims: tuple[Claim, ...] = ()
    next_available_at = None
    if request.claim > 0 and is_registered:
        claims, next_available_at = claiming.claim(
            connection, worker_id=worker.worker_id, node=worker.node, queues=worker.queues, limit=request.claim, now=now
        )
    return Answer(
        claims=claims,
        refused=frozenset(dispatch_id for dispatch_id, ended in ends.items() if ended is None),
        makes_work=any(ended is not None and ended.makes_work for ended in ends.values()),
        cancels=_cancels(connection, worker) if request.watch_cancels else {},
        next_available_at=next_available_at,
        is_registered=is_registered,
    )


def _beat(connection: Connection, worker: Worker, request: Round, now: datetime) -> bool:
    """Renew the registration, or only look whether it still stands; a worker that was given up must not claim."""
    alive = (WorkerRegistration.worker_id == worker.worker_id, WorkerRegistration.status != WorkerStatus.OFFLINE)
    beat = request.heartbeat
    if beat is None:
        return not request.claim or connection.execute(select(1).where(*alive)).first() is not None
    renewed = connection.execute(
        update(WorkerRegistration)
        .where(*alive)
        .values(
            last_heartbeat=now,
            status=beat.status,
            jobs_processed=beat.jobs_processed,
            current_job_id=beat.current_job_id,
        )
    )
    return renewed.rowcount == 1


def _owned(worker: Worker, dispatch_id: int) -> Update:
    return update(JobDispatch).where(
        JobDispatch.id == dispatch_id,
        JobDispatch.worker_id == worker.worker_id,
        JobDispatch.status == Status.IN_PROGRESS,
    )


def _write_chunks(connection: Connection, request: Round) -> None:
    for dispatch_id, (start, stop) in request.dropped.items():
        connection.execute(
            delete(JobOutputChunk).where(
                JobOutputChunk.dispatch_id == dispatch_id, JobOutputChunk.offset >= start, JobOutputChunk.offset < stop
            )
        )
    if request.chunks:
        connection.execute(insert(JobOutputChunk), [asdict(chunk) for chunk in request.chunks])


def _cancels(connection: Connection, worker: Worker) -> dict[int, Reason]:
    rows = connection.execute(
        select(JobDispatch.id, JobDispatch.cancel_reason).where(
            LIVE,
            JobDispatch.worker_id == worker.worker_id,
            JobDispatch.status == Status.IN_PROGRESS,
            JobDispatch.cancel_requested_at.is_not(None),
        )
    )
    return {dispatch_id: Reason(reason or Reason.CANCELLED) for dispatch_id, reason in rows}
