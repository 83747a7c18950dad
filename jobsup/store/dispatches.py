"""What a person does to single runs: make one, cancel one, retry one, look at one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from jobsup.clock import rfc3339
from jobsup.config.document import jobspec_from_dict
from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import Overlap, Reason, SetSpec, Source, Status
from jobsup.schedule.blackouts import blackout_at
from jobsup.store import admission, dependencies, notifier, ranks, sets
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.news import Offer
from jobsup.store.rows import Job, JobDispatch


@dataclass(frozen=True, slots=True)
class Created:
    """A dispatch somebody asked for; SKIPPED when an earlier run forbids it."""

    dispatch_id: int
    status: Status
    reason: Reason
    message: str | None = None
    target: str = ""
    """The host it has to run on; empty: any."""
    others: tuple[Created, ...] = ()
    """Those made with it, for the other hosts of a job that runs on each."""


def create_manual(
    database: Database,
    job_name: str,
    *,
    params: dict[str, Any],
    requested_by: str,
    at: datetime | None = None,
    force: bool = False,
    on: str = "",
) -> Created:
    """Make a run of a job now, or at `at`; workers are woken after the commit.

    `on` is the host it has to run on; else a job that runs on each host gets a run on each, the first of which is
    returned with the others in it.

    With `overlap = "skip"` and an earlier run waiting or running, the row is SKIPPED/overlap. Raises NotFoundError
    for an unknown or removed job, and ConflictError for a paused or disabled one unless `force`, or when no host can
    run it that is to run on each.
    """
    made: list[int] = []

    def make(connection: Connection, again: bool) -> Created:
        now = database.now()
        job = _job(connection, job_name)
        if again and (earlier := [row for each in made if (row := _find(connection, each)) is not None]):
            return _together([_created(row) for row in earlier])
        if not force:
            _refuse_paused(job, now)
        targets = [on] if on else admission.targets(connection, [job], now)[job["id"]]
        if not targets:
            raise ConflictError(f"job {job_name!r} runs on each host, and {admission.no_host(job)}")
        found = [_create(connection, job, params, requested_by, target=target, now=now, at=at) for target in targets]
        made[:] = [created.dispatch_id for created in found]
        if at is not None or job["overlap"] == Overlap.REPLACE:
            notifier.wake(database, "worker")
        else:
            for each in found:
                _offer(database, job, each.target, int(each.status is Status.PENDING))
        return _together(found)

    return database.settle(make)


def cancel(database: Database, dispatch_id: int, by: str) -> Status:
    """End a run for a person: a waiting one is CANCELLED at once, a running one by its worker; returns its status.

    Raises NotFoundError, and ConflictError when it has ended already.
    """

    def end(connection: Connection, again: bool) -> Status:
        now = database.now()
        row = _row(connection, dispatch_id, keep=True)
        status = Status(row["status"])
        if again and row["cancel_requested_by"] == by:
            return status
        if status.is_terminal:
            raise ConflictError(f"run {dispatch_id} has ended already: {status}")
        wish = {"cancel_requested_at": now, "cancel_requested_by": by, "cancel_reason": Reason.CANCELLED}
        if status is Status.PENDING:
            status = Status.CANCELLED
            wish |= {"status": status, "reason": Reason.CANCELLED, "completed_at": now}
        connection.execute(update(JobDispatch).where(JobDispatch.id == dispatch_id).values(**wish))
        if status is Status.CANCELLED:
            dependencies.follow(connection, row, status, Reason.CANCELLED, now)
        notifier.wake(database, "worker")
        notifier.wake(database, "follower")
        return status

    return database.settle(end)


def retry(database: Database, dispatch_id: int, by: str) -> int:
    """Make a new attempt at what an ended run was for, with its parameters; returns its id.

    A retry that is there already and waits for its time starts now instead, and is what is returned. Raises
    NotFoundError, and ConflictError when the run has not ended, or was retried already.
    """
    made: list[int] = []

    def make(connection: Connection, again: bool) -> int:
        now = database.now()
        row = _row(connection, dispatch_id, keep=True)
        later = _retry_id(connection, dispatch_id)
        if again and {dispatch_id, later} & set(made):
            return made[-1]
        job = connection.execute(_JOB.where(Job.id == row["job_id"])).mappings().one()
        waiting = row if later is None else _row(connection, later, keep=True)
        if _waits_for_its_time(waiting, now):
            made.append(_bring_forward(connection, waiting, job, by, now))
        elif not Status(row["status"]).is_terminal:
            raise ConflictError(f"run {dispatch_id} has not ended: it is {row['status']}")
        elif later is not None:
            raise ConflictError(f"run {dispatch_id} was retried already, as run {later}")
        elif job["retired_at"] is not None:
            raise ConflictError(f"job {job['name']!r} was removed on {rfc3339(job['retired_at'])}")
        else:
            made.append(_insert_retry(connection, row, job, by, now))
        _offer(database, job, row["target"], 1)
        return made[-1]

    return database.settle(make)


def _offer(database: Database, job: RowMapping, target: str, count: int) -> None:
    notifier.offer(database, Offer(job["queue"], target, job["requires"] or ""), count)


def latest_attempt(database: Database, dispatch_id: int) -> tuple[int, Status]:
    """Follow the retries of a run to the last there is; returns its id and status. Raises NotFoundError."""
    with database.read() as connection:
        row = _row(connection, dispatch_id)
        while (later := _retry_id(connection, row["id"])) is not None:
            row = _row(connection, later)
    return row["id"], Status(row["status"])


_JOB = select(
    *admission.JOB_COLUMNS,
    Job.name,
    Job.set_name,
    Job.payload,
    Job.is_active,
    Job.retired_at,
    Job.paused_at,
    Job.paused_until,
    Job.paused_by,
    Job.paused_reason,
)


def _job(connection: Connection, name: str) -> RowMapping:
    """Read a job and let nobody else make a run of it before the transaction ends."""
    statement = _JOB.where(Job.name == name).with_for_update(key_share=True)
    job = connection.execute(statement).mappings().one_or_none()
    if job is None:
        raise NotFoundError(f"no job {name!r}: see `jobsup list`")
    if job["retired_at"] is not None:
        raise NotFoundError(f"job {name!r} was removed on {rfc3339(job['retired_at'])}; its runs are kept")
    return job


def _refuse_paused(job: RowMapping, now: datetime) -> None:
    name = job["name"]
    if not job["is_active"]:
        raise ConflictError(f"job {name!r} is disabled in its file: set enabled = true, or run it with --force")
    if job["paused_at"] is not None and (job["paused_until"] is None or job["paused_until"] > now):
        by = f" by {job['paused_by']}" if job["paused_by"] else ""
        why = f" ({job['paused_reason']})" if job["paused_reason"] else ""
        raise ConflictError(f"job {name!r} is paused{by}{why}: `jobsup resume {name}`, or run it with --force")


def _create(
    connection: Connection,
    job: RowMapping,
    params: dict[str, Any],
    requested_by: str,
    *,
    target: str,
    now: datetime,
    at: datetime | None,
) -> Created:
    values: dict[str, Any] = {
        **admission.inherited(job, at or now),
        "target": target,
        "source": Source.MANUAL,
        "created_at": now,
        "requested_by": requested_by,
        "params": params or None,
        "note": _blackout_note(connection, job, at or now),
    }
    live = admission.beside(job, admission.live_runs(Direct.of(connection), [job["id"]]).get(job["id"], []), target)
    refused = admission.refusal(job, live)
    if refused is not None:
        values |= {"status": Status.SKIPPED, "reason": refused[0], "completed_at": now, "error_message": refused[1]}
    else:
        if job["overlap"] == Overlap.REPLACE:
            admission.replace(connection, [run.id for run in live], now)
        values |= {"status": Status.PENDING, "concurrency_key": admission.concurrency_key(job, target)}
    dispatch_id = connection.execute(insert(JobDispatch).values(**values).returning(JobDispatch.id)).scalar_one()
    reason, message = values.get("reason", Reason.NONE), values.get("error_message")
    return Created(dispatch_id, values["status"], reason, message, target)


def _created(row: RowMapping) -> Created:
    return Created(row["id"], Status(row["status"]), Reason(row["reason"]), row["error_message"], row["target"])


def _together(made: Sequence[Created]) -> Created:
    return replace(made[0], others=tuple(made[1:]))


def _insert_retry(connection: Connection, row: RowMapping, job: RowMapping, by: str, now: datetime) -> int:
    values = {
        **admission.inherited(job, now),
        "scheduled_for": row["scheduled_for"],
        "parent_id": row["parent_id"],
        "target": row["target"],
        "source": Source.RETRY,
        "status": Status.PENDING,
        "retry_of": row["id"],
        "retry_count": 0,  # a person's retry has all its automatic ones before it
        "created_at": now,
        "params": row["params"],
        "requested_by": by,
        "note": _blackout_note(connection, job, now),
        "concurrency_key": admission.concurrency_key(job, row["target"]),
    }
    return connection.execute(insert(JobDispatch).values(**values).returning(JobDispatch.id)).scalar_one()


def _waits_for_its_time(row: RowMapping, now: datetime) -> bool:
    """Say whether a run is a retry whose backoff, or a blackout, has not passed."""
    is_waiting: bool = row["status"] == Status.PENDING and row["retry_of"] is not None and row["available_at"] > now
    return is_waiting


def _bring_forward(connection: Connection, row: RowMapping, job: RowMapping, by: str, now: datetime) -> int:
    values = {
        "available_at": now,
        "claim_rank": ranks.moved_rank(row["claim_rank"], row["available_at"], now),
        "requested_by": by,
        "note": _blackout_note(connection, job, now),
    }
    connection.execute(update(JobDispatch).where(JobDispatch.id == row["id"]).values(**values))
    return int(row["id"])


def _blackout_note(connection: Connection, job: RowMapping, at: datetime) -> str | None:
    """Say which blackout a run starts in all the same, because a person wants it to."""
    blackouts = sets.shared(connection).get(job["set_name"], SetSpec()).blackouts
    window = blackout_at(blackouts, jobspec_from_dict(job["payload"]), at) if blackouts else None
    return None if window is None else f"asked for within {window.words}"


def _row(connection: Connection, dispatch_id: int, *, keep: bool = False) -> RowMapping:
    """Read a run; `keep` lets nobody change it before the transaction ends."""
    row = _find(connection, dispatch_id, keep=keep)
    if row is None:
        raise NotFoundError(f"no run {dispatch_id}: see `jobsup runs`")
    return row


def _find(connection: Connection, dispatch_id: int, *, keep: bool = False) -> RowMapping | None:
    statement = select(JobDispatch.__table__).where(JobDispatch.id == dispatch_id)
    statement = statement.with_for_update(key_share=True) if keep else statement
    return connection.execute(statement).mappings().one_or_none()


def _retry_id(connection: Connection, dispatch_id: int) -> int | None:
    statement = select(JobDispatch.id).where(JobDispatch.retry_of == dispatch_id)
    return connection.execute(statement).scalar_one_or_none()
