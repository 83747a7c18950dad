"""A worker's whole traffic with the database: one transaction a round, however much came together meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Float, String, Update, bindparam, delete, literal_column, select, update

from jobsup.model import Claim, Heartbeat, OutputChunk, Progress, Reason, RunResult, Status, WorkerStatus
from jobsup.runtime import failpoints
from jobsup.store import attempts, claiming, notifier, packing, tables
from jobsup.store.column_types import FreeText, UtcDateTime
from jobsup.store.dialect import insert_new
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.rows import IN_PROGRESS, LIVE, JobOutputChunk, WorkerRegistration
from jobsup.store.statements import Given, Statement

_D = tables.job_dispatch


@dataclass(frozen=True, slots=True)
class Worker:
    """The registered worker that acts."""

    worker_id: str
    node: str
    queues: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Beside its host's."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a worker wants of the database at once."""

    started: dict[int, datetime] = field(default_factory=dict)
    """Dispatches whose process runs since then."""
    chunks: Sequence[OutputChunk] = ()
    """Live output to add."""
    dropped: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Dispatch -> live output from one offset up to another that is past its cap and goes."""
    progress: dict[int, Progress] = field(default_factory=dict)
    """Dispatch -> how far it says it is."""
    results: Sequence[RunResult] = ()
    release: Sequence[int] = ()
    """Claimed and not started: to be given back without counting an attempt."""
    claim: int = 0
    """How many dispatches it wants."""
    is_poll: bool = False
    """Nobody has told of work: most likely there is none."""
    heartbeat: Heartbeat | None = None
    watch_cancels: bool = False
    """Ask which of its runs somebody wants to end."""
    known: frozenset[int] = frozenset()
    """All dispatches it has: those that run, and those whose end is in this round."""
    is_repeated: bool = False
    """An earlier try of this round failed, and may be written all the same."""

    @property
    def is_sign_of_life(self) -> bool:
        """It says that the worker is there, and looks at most whether anything waits: nothing else is written."""
        says = self.started or self.chunks or self.dropped or self.progress or self.results or self.release
        return not says and (not self.claim or self.is_poll) and not self.is_repeated


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


def ready(request: Round) -> Round:
    """Pack the outputs of a round, which takes time that no transaction should."""
    if not any(packing.is_packable(result.output.data) for result in request.results):
        return request
    return replace(request, results=tuple(_packed(result) for result in request.results))


def _packed(result: RunResult) -> RunResult:
    return replace(result, output=replace(result.output, data=packing.pack(result.output.data)))


def exchange(database: Database, worker: Worker, request: Round) -> Answer:
    """Do a whole round in one transaction: heartbeat, started, output, results (with retries), give-backs, claim.

    Only a poll is two, where it finds that something waits: most find nothing, and no disk has to be waited for.
    Raises DatabaseUnavailableError when the database does not answer now; nothing is done then, unless the answer to
    the commit is what was lost. Sent again with `is_repeated`, the round does what is left of it and no more.
    """

    def exchange_all(direct: Direct) -> Answer:
        answer = _exchange(direct, worker, request, database.now(), database.clock_offset)
        if request.results or request.chunks or request.started or request.progress:
            notifier.wake(database, "follower")
        if request.release or answer.makes_work or (request.results and not request.claim):
            notifier.wake(database, "worker")  # there is work, or a key is free, that this worker may not take
        failpoints.reach("round.before_commit")
        return answer

    if request.is_poll and request.is_sign_of_life:

        def poll(direct: Direct) -> Answer | None:
            return _poll(direct, worker, request, database.now(), database.clock_offset)

        calm = database.transact_directly(poll, is_lasting=False)
        if calm is not None:
            return calm
    answer = database.transact_directly(exchange_all, is_lasting=not request.is_sign_of_life or request.claim > 0)
    failpoints.reach("round.after_commit")
    return answer


def finish(database: Database, worker: Worker, results: Sequence[RunResult]) -> set[int]:
    """Write the results of a worker that is gone, each only while its run is still that worker's.

    Returns those that were too late; what the worker has written itself, without hearing of it, is none of them.
    """
    request = ready(Round(results=results))

    def finish_all(direct: Direct) -> set[int]:
        _write_progress(direct, worker, request)
        ends = attempts.end(direct, request.results, worker_id=worker.worker_id, node=worker.node, now=database.now())
        refused = [each for each in request.results if each.dispatch_id not in ends]
        written = _written_before(direct.core, worker, refused) if refused else set()
        for kind in ("follower", "worker"):
            notifier.wake(database, kind)
        return {each.dispatch_id for each in refused} - written

    return database.transact_directly(finish_all)


def _exchange(direct: Direct, worker: Worker, request: Round, now: datetime, clock_offset: float | None) -> Answer:
    beat = request.heartbeat
    is_registered = beat is None or _beat(direct, worker, beat, now, clock_offset)
    if request.started:
        direct.run_many(_STARTED, sorted(request.started.items()), by_worker=worker.worker_id)
    _write_chunks(direct, request)
    _write_progress(direct, worker, request)
    ends = attempts.end(direct, request.results, worker_id=worker.worker_id, node=worker.node, now=now)
    refused = {result.dispatch_id for result in request.results} - set(ends)
    if request.is_repeated:
        refused -= _written_before(
            direct.core, worker, [each for each in request.results if each.dispatch_id in refused]
        )
        _release(direct, worker, _lost_claims(direct.core, worker, request))
    _release(direct, worker, request.release)
    claims: tuple[Claim, ...] = ()
    next_available_at = None
    if request.claim > 0 and is_registered:
        claims, next_available_at = claiming.claim(
            direct,
            worker_id=worker.worker_id,
            node=worker.node,
            queues=worker.queues,
            tags=worker.tags,
            limit=request.claim,
            now=now,
        )
        if not claims and beat is None:
            is_registered = _is_registered(direct, worker)
    return Answer(
        claims=claims,
        refused=frozenset(refused),
        makes_work=any([ended.makes_work for ended in ends.values()]),  # noqa: C419  (a list is quicker)
        cancels=_cancels(direct, worker) if request.watch_cancels else {},
        next_available_at=next_available_at,
        is_registered=is_registered,
    )


def _poll(direct: Direct, worker: Worker, request: Round, now: datetime, clock_offset: float | None) -> Answer | None:
    """Give a sign of life and look whether anything waits; None: it does."""
    if request.heartbeat is None:
        found = direct.fetch(_LOOK_AROUND, {"by_worker": worker.worker_id})
    else:
        found = direct.fetch(_RENEW_AND_LOOK, _renewal(worker, request.heartbeat, now, clock_offset))
    return None if found and found[0][0] is not None else Answer(is_registered=bool(found))


def _is_registered(direct: Direct, worker: Worker) -> bool:
    return bool(direct.fetch(_LOOK, {"by_worker": worker.worker_id}))


def _beat(direct: Direct, worker: Worker, beat: Heartbeat, now: datetime, clock_offset: float | None) -> bool:
    """Renew the registration; False: the worker was given up."""
    return direct.run(_RENEW, _renewal(worker, beat, now, clock_offset)) == 1


def _renewal(worker: Worker, beat: Heartbeat, now: datetime, clock_offset: float | None) -> dict[str, Any]:
    return {
        "by_worker": worker.worker_id,
        "at": now,
        "new_status": beat.status.value,
        "processed": beat.jobs_processed,
        "job": beat.current_job_id,
        "offset": clock_offset,
    }


_ALIVE = (
    WorkerRegistration.worker_id == bindparam("by_worker", type_=String()),
    WorkerRegistration.status != literal_column(f"'{WorkerStatus.OFFLINE}'"),
)
_LOOK = Statement(lambda _: select(WorkerRegistration.worker_id).where(*_ALIVE))
_RENEWED = (
    update(WorkerRegistration)
    .where(*_ALIVE)
    .values(
        last_heartbeat=bindparam("at"),
        status=bindparam("new_status"),
        jobs_processed=bindparam("processed"),
        current_job_id=bindparam("job"),
        clock_offset=bindparam("offset"),
    )
)
_RENEW = Statement(lambda _: _RENEWED)
_RENEW_AND_LOOK = Statement(lambda _: _RENEWED.returning(claiming.FIRST_WAITING))
_LOOK_AROUND = Statement(lambda _: select(claiming.FIRST_WAITING).select_from(WorkerRegistration).where(*_ALIVE))


def _ours(given: Given) -> Update:
    return update(_D).where(
        _D.c.id == given.each("row_id"),
        _D.c.worker_id == given.one("by_worker", String()),
        _D.c.status == IN_PROGRESS,
    )


_STARTED = Statement(
    lambda given: _ours(given).values(started_at=given.each("began_at")),
    each={"row_id": BigInteger(), "began_at": UtcDateTime()},
    few_alone=True,
)
_PROGRESS = Statement(
    lambda given: _ours(given).values(progress=given.each("fraction"), progress_text=given.each("words")),
    each={"row_id": BigInteger(), "fraction": Float(), "words": FreeText(200)},
)
_GIVEN_BACK = Statement(
    lambda given: (
        _ours(given)
        .where(_D.c.started_at.is_(None))
        .values(status=Status.PENDING, worker_id=None, claimed_at=None, deadline_at=None, config_hash=None)
    ),
    each={"row_id": BigInteger()},
)


def _release(direct: Direct, worker: Worker, dispatch_ids: Sequence[int]) -> None:
    """Give claims back that nothing was started of."""
    if dispatch_ids:
        rows = [(dispatch_id,) for dispatch_id in sorted(dispatch_ids)]
        direct.run_many(_GIVEN_BACK, rows, by_worker=worker.worker_id)


def _lost_claims(connection: Connection, worker: Worker, request: Round) -> Sequence[int]:
    """Return what is ours by the database and not by the worker: the answer that handed it over never arrived."""
    ours = select(_D.c.id).where(
        LIVE, _D.c.worker_id == worker.worker_id, _D.c.status == Status.IN_PROGRESS, _D.c.id.not_in(request.known)
    )
    return connection.execute(ours).scalars().all()


def _written_before(connection: Connection, worker: Worker, results: Sequence[RunResult]) -> set[int]:
    """Return those of the results that an earlier try has written, though nobody heard of it."""
    ended_at = {result.dispatch_id: result.finished_at for result in results}
    ours = select(_D.c.id, _D.c.completed_at).where(_D.c.id.in_(list(ended_at)), _D.c.worker_id == worker.worker_id)
    written = {row.id for row in connection.execute(ours) if row.completed_at == ended_at[row.id]}
    if written:
        connection.execute(delete(JobOutputChunk).where(JobOutputChunk.dispatch_id.in_(written)))
    return written


def _write_progress(direct: Direct, worker: Worker, request: Round) -> None:
    told = {result.dispatch_id: result.progress for result in request.results if result.progress is not None}
    rows = [
        (dispatch_id, each.fraction, each.text or None)
        for dispatch_id, each in sorted({**request.progress, **told}.items())
    ]
    if rows:
        direct.run_many(_PROGRESS, rows, by_worker=worker.worker_id)


def _write_chunks(direct: Direct, request: Round) -> None:
    for dispatch_id, (start, stop) in request.dropped.items():
        direct.core.execute(
            delete(JobOutputChunk).where(
                JobOutputChunk.dispatch_id == dispatch_id, JobOutputChunk.offset >= start, JobOutputChunk.offset < stop
            )
        )
    if request.chunks:  # an earlier try of this round may have written them
        insert_new(direct.core, JobOutputChunk, [asdict(chunk) for chunk in request.chunks])


def _cancels(direct: Direct, worker: Worker) -> dict[int, Reason]:
    rows = direct.fetch(_CANCELLED, {"by_worker": worker.worker_id})
    return {dispatch_id: Reason(reason or Reason.CANCELLED) for dispatch_id, reason in rows}


_CANCELLED = Statement(
    lambda given: select(_D.c.id, _D.c.cancel_reason).where(
        LIVE,
        _D.c.worker_id == given.one("by_worker", String()),
        _D.c.status == IN_PROGRESS,
        _D.c.cancel_requested_at.is_not(None),
    )
)
STATEMENTS = (_RENEW_AND_LOOK, _STARTED, _PROGRESS, _GIVEN_BACK, _CANCELLED)
"""What each run needs: made before a fork, so that no worker makes its own."""
