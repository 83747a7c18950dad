"""Ticks become dispatches: due jobs are read, decided on elsewhere, and written in one transaction a chunk.

Most of them are one run of a job that has none: of those the database itself makes the rows, all in one statement,
from the jobs as they are. What asks for more (ticks that do not run, runs that are there already, a job that runs on
each host) is put together here, row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Executable,
    Integer,
    ScalarSelect,
    Select,
    Text,
    cast,
    column,
    func,
    literal_column,
    select,
    update,
)

from jobsup.config.document import TICK_RULES, tick_rules
from jobsup.errors import ConflictError
from jobsup.model import DueJob, Lease, On, SetSpec, Source, Status, TickPlan
from jobsup.schedule.blackouts import covers
from jobsup.store import admission, leases, notifier, ranks, sets, tables, tick_rows
from jobsup.store.column_types import FreeText, UtcDateTime
from jobsup.store.dialect import insert_for
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.news import Offer
from jobsup.store.rows import Job, JobDispatch
from jobsup.store.statements import Given, Statement

_J, _D = tables.job, tables.job_dispatch


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
    """Read the jobs whose next tick has come, the longest waiting first; equal rules of theirs are one object."""
    now = database.now()
    with database.look() as direct:
        rows = direct.fetch(_DUE, {"at": now, "wanted": limit})
        shared = sets.shared_in(direct) if rows else {}
    return [_due_job(shared.get(set_name), *row) for set_name, *row in rows]


def next_due_at(database: Database) -> datetime | None:
    """Return the earliest tick of all active jobs, which may be past; None when there is none."""
    with database.look() as direct:
        earliest: datetime | None = direct.fetch(_NEXT_DUE, {})[0][0]
    return earliest


def _due(given: Given) -> Select[Any]:
    rules = func.json_extract(Job.payload, *(f"$.{key}" for key in TICK_RULES), type_=Text())
    # In the order of the index alone: ordered by id as well, a server sorts all that is due for each chunk of it.
    first = (
        select(
            Job.set_name,
            Job.id,
            Job.name,
            Job.next_run,
            Job.payload if given.is_server else rules,
            Job.paused_at,
            Job.paused_until,
            Job.paused_by,
            Job.paused_reason,
        )
        .where(Job.is_active, Job.next_run <= given.one("at", UtcDateTime()))
        .order_by(Job.next_run)
        .limit(given.one("wanted", Integer()))
    )
    if not given.is_server:
        return first
    # A server that has not yet looked at the table sorts it, and would take apart each definition to do so.
    due = first.subquery("due")
    return select(*(_taken_apart(each) if each is due.c.payload else each for each in due.c)).order_by(due.c.next_run)


def _taken_apart(payload: ColumnElement[Any]) -> ScalarSelect[str]:
    """Return what `tick_rules` reads: a server is quickest with all values of a document at once."""
    values = func.json_to_record(payload).table_valued(*(column(key, JSON()) for key in TICK_RULES))
    record = values.render_derived(name="record", with_types=True)
    return select(cast(func.json_build_array(*(record.c[key] for key in TICK_RULES)), Text)).scalar_subquery()


_DUE = Statement(_due)
_NEXT_DUE = Statement(lambda _: select(func.min(Job.next_run, type_=UtcDateTime())).where(Job.is_active))


def _due_job(shared: SetSpec | None, job_id: int, name: str, next_run: datetime, rules: str, *paused: Any) -> DueJob:
    job = DueJob(job_id, name, tick_rules(rules), next_run, (), *paused)
    if shared is None or not shared.blackouts:
        return job
    return replace(job, blackouts=tuple(blackout for blackout in shared.blackouts if covers(blackout, job)))


def dispatch(database: Database, lease: Lease, plans: Sequence[TickPlan]) -> Dispatched:
    """Apply plans in one transaction: advance each job's `next_run`, insert its dispatches and SKIPPED rows.

    Overlap is decided here, inside the transaction, against the runs that wait or run at this very moment.
    Workers are told of what waits for them. Raises LeaseLostError, with nothing written, when the term is not the
    current one any more.
    """

    def apply(direct: Direct) -> Dispatched:
        if not leases.holds(direct, lease):
            raise LeaseLostError(f"the lease of term {lease.epoch} is not held any more")
        now = database.now()
        advanced = _advance(direct, plans)
        current = [plan for plan in plans if plan.job_id in advanced]
        live = admission.live_runs(direct, [plan.job_id for plan in current if plan.runs])
        plain = [plan for plan in current if plan.is_plain and plan.job_id not in live]
        begun = _begin(direct, plain, lease.epoch, now)
        rest = [plan for plan in current if plan.job_id not in begun]
        others = tick_rows.write(direct, rest, live, epoch=lease.epoch, now=now)
        waiting = [*begun.values(), *others.waiting]
        if others.is_for_all or any(plan.starts for plan in plain):
            notifier.wake(database, "worker", len(waiting))
        else:
            for what, count in Counter(waiting).items():
                notifier.offer(database, Offer(*what), count)
        return Dispatched(len(waiting), others.skipped, len(plans) - len(current))

    return database.transact_directly(apply)


def _advance(direct: Direct, plans: Sequence[TickPlan]) -> set[int]:
    """Move each job on that is still as its plan saw it; returns which those are."""
    if not plans:
        return set()
    rows = [
        (plan.job_id, plan.seen_next_run, plan.next_run, plan.zone_fingerprint) for plan in sorted(plans, key=_job_id)
    ]
    if direct.is_server:  # in one order, so that no two that want the same jobs wait for each other
        direct.fetch(_LOCK, {"jobs": [row[0] for row in rows]})
    return {job_id for (job_id,) in direct.fetch_many(_ADVANCE, rows)}


_job_id = attrgetter("job_id")
_LOCK = Statement(
    lambda given: (
        select(literal_column("1")).where(given.among(Job.id, "jobs")).order_by(Job.id).with_for_update(key_share=True)
    )
)
"""What refers to these jobs may be written meanwhile."""
_ADVANCE = Statement(
    lambda given: (
        update(_J)
        .where(_J.c.id == given.each("job"), _J.c.is_active, _J.c.next_run == given.each("seen"))
        .values(next_run=given.each("following"), zone_fingerprint=given.each("rules"))
        .returning(_J.c.id)
    ),
    each={"job": BigInteger(), "seen": UtcDateTime(), "following": UtcDateTime(), "rules": Text()},
)


def _begin(direct: Direct, plans: Sequence[TickPlan], epoch: int, now: datetime) -> dict[int, tuple[str, str, str]]:
    """Let one run in of each job, none of which has any; returns what each run asks of a worker, by its job.

    Left out are jobs that run on each host.
    """
    rows = []
    for plan in plans:
        (tick,) = plan.runs
        start = max(now, plan.starts.get(tick, now))
        rows.append((plan.job_id, tick, start, ranks.rank(start, 0), plan.notes.get(tick)))
    found = direct.fetch_many(_BEGIN, rows, now=now, term=epoch) if rows else ()
    return {job_id: (queue, "", requires or "") for job_id, queue, requires in found}


def _beginning(given: Given) -> Executable:
    values: dict[str, Any] = {
        "job_id": Job.id,
        "scheduled_for": given.each("tick"),
        "source": _word(Source.SCHEDULE),
        "status": _word(Status.PENDING),
        "note": given.each("note"),
        "priority": Job.priority,
        "claim_rank": given.each("rank") - Job.head_start_ms,
        "queue": Job.queue,
        "available_at": given.each("start"),
        "created_at": given.one("now", UtcDateTime()),
        "epoch": given.one("term", BigInteger()),
        "concurrency_key": admission.KEY_ON_ANY_HOST,
        "pool_key": Job.pool_key,
        "requires": Job.requires,
    }
    jobs = select(*values.values()).where(Job.id == given.each("job"), Job.on_hosts != _word(On.EACH))
    new = insert_for(JobDispatch, is_server=given.is_server).from_select(list(values), jobs, include_defaults=False)
    made: Executable = new.on_conflict_do_nothing().returning(_D.c.job_id, _D.c.queue, _D.c.requires)
    return made


def _word(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'")


_BEGIN = Statement(
    _beginning,
    each={"job": BigInteger(), "tick": UtcDateTime(), "start": UtcDateTime(), "rank": BigInteger(), "note": FreeText()},
)
STATEMENTS = (_ADVANCE, _BEGIN, *admission.STATEMENTS)
"""What each tick needs: made before a fork, so that it is shared."""
