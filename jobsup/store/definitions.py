"""Definition sets: all jobs of a file brought into the database at once, with what they keep over a change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, RowMapping, bindparam, cast, insert, literal, select, update

from jobsup.config.document import config_hash, jobspec_from_dict, setspec_to_dict, stored_document
from jobsup.errors import ConfigError, Problem, ScheduleError
from jobsup.model import JobSpec, Origin, Reason, SetSpec, Source, Status
from jobsup.runtime import failpoints
from jobsup.schedule.due import next_due, zone_rules
from jobsup.store import dependencies, ranks, requirements, sets
from jobsup.store.dialect import one_at_a_time
from jobsup.store.engine import Database
from jobsup.store.rows import LIVE, Job, JobDispatch, JobSet

# Ids or names in one statement; SQLite takes at most 32,766 values.
IN_LIST_MAX = 1000

NOTHING_SHARED = SetSpec()


@dataclass(frozen=True, slots=True)
class Synced:
    """Which jobs a synchronisation changed, by name, sorted."""

    added: tuple[str, ...]
    """New, or back after they had been removed."""
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """What the database holds of a set, when a host's own file says something else."""

    set_name: str
    content_hash: str
    node: str
    """The host that synchronised last."""
    path: str
    """The file it read."""
    synced_at: datetime


def content_hash(specs: Sequence[JobSpec], shared: SetSpec = NOTHING_SHARED) -> str:
    """Return hex digits that are equal for equal sets of definitions, whatever their order."""
    lines = sorted(f"{spec.name} {config_hash(spec)}\n" for spec in specs)
    if shared != NOTHING_SHARED:
        lines.append(json.dumps(setspec_to_dict(shared), sort_keys=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def drift(database: Database, set_name: str, content_hash: str) -> Drift | None:
    """Return what is stored when it differs from a host's own set; None when equal, or never synchronised."""
    with database.read() as connection:
        stored = connection.execute(select(JobSet.__table__).where(JobSet.name == set_name)).mappings().one_or_none()
    if stored is None or stored["content_hash"] == content_hash:
        return None
    return Drift(set_name, stored["content_hash"], stored["node"], stored["path"], stored["synced_at"])


def sync(
    database: Database,
    set_name: str,
    specs: Sequence[JobSpec],
    *,
    content_hash: str,
    node: str,
    path: str,
    shared: SetSpec = NOTHING_SHARED,
    priority_aging: timedelta | None = ranks.PRIORITY_AGING,
) -> Synced:
    """Make the set in the database equal to `specs` and what they share, in one transaction.

    `priority_aging` is the waiting that one priority is worth; None: priorities do not age.

    A job that did not change keeps everything. A changed one keeps its pause, and its next tick unless its
    schedule changed. One that is no longer there is retired with its history, and what waits of it is
    CANCELLED; it may come back. Raises ConfigError, with every problem, when a name belongs to somebody else.
    """
    hashes = {spec.name: config_hash(spec) for spec in specs}
    with database.write() as connection:
        one_at_a_time(connection, "definitions")
        stored = {row["name"]: row for row in connection.execute(STORED).mappings()}
        _refuse_taken(set_name, specs, stored, path)
        change = Change(connection, database.now(), set_name, hashes, stored)
        fresh = [spec for spec in specs if spec.name not in stored]
        changed = [spec for spec in specs if spec.name in stored and _differs(stored[spec.name], hashes[spec.name])]
        gone = [row for row in stored.values() if _is_gone(row, set_name, hashes)]
        change.add(fresh)
        change.redefine(changed)
        change.retire([row["id"] for row in gone])
        change.age(ranks.aging_ms(priority_aging))
        sets.write_pools(connection, set_name, shared)
        if fresh or changed or gone:
            dependencies.write(connection, set_name, specs, Job.origin == Origin.FILE)
        change.note(content_hash=content_hash, node=node, path=path, shared=sets.document(shared))
        failpoints.reach("reload.before_commit")
    back = [spec.name for spec in changed if stored[spec.name]["retired_at"] is not None]
    return Synced(
        added=tuple(sorted([*back, *(spec.name for spec in fresh)])),
        changed=tuple(sorted({spec.name for spec in changed} - set(back))),
        removed=tuple(sorted(row["name"] for row in gone)),
    )


def columns(
    spec: JobSpec,
    set_name: str,
    config_hash: str,
    next_run: datetime | None,
    now: datetime,
    *,
    origin: Origin = Origin.FILE,
) -> dict[str, Any]:
    """Return the columns of a `job` row that its definition decides."""
    return {
        "name": spec.name,
        "set_name": set_name,
        "origin": origin,
        "kind": spec.kind,
        "description": spec.description,
        "payload": stored_document(spec),
        "config_hash": config_hash,
        "timezone": spec.schedule.timezone,
        "next_run": next_run if spec.enabled else None,
        "zone_fingerprint": zone_rules(spec.schedule, now) if next_run is not None else None,
        "is_active": spec.enabled,
        "retired_at": None,
        "overlap": spec.overlap,
        "queue_limit": spec.queue_limit,
        "catch_up": spec.catch_up,
        "max_retries": spec.max_retries,
        "retry_backoff_seconds": spec.retry_backoff.total_seconds(),
        "timeout_seconds": None if spec.timeout is None else spec.timeout.total_seconds(),
        "priority": spec.priority,
        "queue": spec.queue,
        "pool_key": ranks.pool_key(set_name, spec.pool),
        "requires": requirements.text_of(spec.requires),
        "on_hosts": spec.on,
        "tags": list(spec.tags),
        "updated_at": now,
    }


def first_tick(spec: JobSpec, now: datetime) -> datetime | None:
    """Return when a job is due first after `now`; None: manual only, or never again. Raises ScheduleError."""
    if spec.schedule.is_manual:
        return None
    from jobsup.schedule import compile as compile_schedule

    schedule = compile_schedule(spec.schedule, name=spec.name)
    return None if schedule is None else next_due(schedule, now)


STORED = select(
    Job.id,
    Job.name,
    Job.set_name,
    Job.origin,
    Job.config_hash,
    Job.next_run,
    Job.zone_fingerprint,
    Job.is_active,
    Job.retired_at,
)


def _refuse_taken(set_name: str, specs: Iterable[JobSpec], stored: Mapping[str, RowMapping], path: str) -> None:
    problems = []
    for spec in specs:
        row = stored.get(spec.name)
        # A retired job's name is free: nobody defines it any more.
        if row is None or row["retired_at"] is not None:
            continue
        if row["origin"] != Origin.FILE:
            owner = f"a job made in the {_MAKERS[row['origin']]}"
        elif row["set_name"] != set_name:
            owner = f'a job of the definition set "{row["set_name"]}"'
        else:
            continue
        problems.append(Problem(f"{owner} has this name: rename one", path, f'[[job]] "{spec.name}"', "name"))
    if problems:
        raise ConfigError(tuple(problems))


def _differs(row: RowMapping, config_hash: str) -> bool:
    return row["retired_at"] is not None or row["config_hash"] != config_hash


def _is_gone(row: RowMapping, set_name: str, wanted: Mapping[str, str]) -> bool:
    is_ours = row["set_name"] == set_name and row["origin"] == Origin.FILE
    return is_ours and row["retired_at"] is None and row["name"] not in wanted


@dataclass(frozen=True, slots=True)
class Change:
    """One change of definitions under way: what is known of their set, and the statements that bring it about."""

    connection: Connection
    now: datetime
    set_name: str
    hashes: Mapping[str, str]
    """Of the definitions wanted, by name."""
    stored: Mapping[str, RowMapping]
    """The rows there are, by name."""
    origin: Origin = Origin.FILE
    """Who owns what is written."""

    def add(self, specs: Sequence[JobSpec]) -> None:
        if specs:
            requirements.write(self.connection, [spec.requires for spec in specs])
            rows = [{**self._columns(spec, self._tick(spec)), "created_at": self.now} for spec in specs]
            self.connection.execute(insert(Job), rows)

    def redefine(self, specs: Sequence[JobSpec]) -> None:
        if not specs:
            return
        requirements.write(self.connection, [spec.requires for spec in specs])
        before = self._definitions([self.stored[spec.name]["id"] for spec in specs])
        rows = []
        for spec in specs:
            row = self.stored[spec.name]
            keeps = row["is_active"] and before[row["id"]].schedule == spec.schedule
            columns = self._columns(spec, row["next_run"] if keeps else self._tick(spec))
            if keeps:
                columns["zone_fingerprint"] = row["zone_fingerprint"]  # it goes with the tick that is kept
            rows.append({"row_id": row["id"], **columns})
        names = [name for name in rows[0] if name != "row_id"]
        rows.sort(key=lambda row: row["row_id"])  # the order in which everybody locks jobs
        self.connection.execute(
            update(Job).where(Job.id == bindparam("row_id")).values({name: bindparam(name) for name in names}), rows
        )
        self._cancel_waiting([self.stored[spec.name]["id"] for spec in specs if not spec.enabled], ticks_only=True)
        self._send_elsewhere([row["row_id"] for row in rows])

    def retire(self, ids: Sequence[int]) -> None:
        for some in _slices(ids):
            retired = {"is_active": False, "retired_at": self.now, "next_run": None, "updated_at": self.now}
            self.connection.execute(update(Job).where(Job.id.in_(some)).values(**retired, **NOT_PAUSED))
        self._cancel_waiting(ids, ticks_only=False)

    def age(self, milliseconds: int) -> None:
        """Let the set's priorities be worth so much waiting; what waits already keeps its place."""
        head_start = cast(Job.priority, BigInteger) * literal(milliseconds, BigInteger)
        ours = (Job.set_name == self.set_name, Job.head_start_ms != head_start)
        self.connection.execute(update(Job).where(*ours).values(head_start_ms=head_start))

    def note(self, **values: Any) -> None:
        """Write which file the set was synchronised from."""
        noted = update(JobSet).where(JobSet.name == self.set_name).values(**values, synced_at=self.now)
        if self.connection.execute(noted).rowcount == 0:
            self.connection.execute(insert(JobSet).values(name=self.set_name, **values, synced_at=self.now))

    def _columns(self, spec: JobSpec, next_run: datetime | None) -> dict[str, Any]:
        return columns(spec, self.set_name, self.hashes[spec.name], next_run, self.now, origin=self.origin)

    def _definitions(self, ids: Sequence[int]) -> dict[int, JobSpec]:
        specs: dict[int, JobSpec] = {}
        for some in _slices(ids):
            rows = self.connection.execute(select(Job.id, Job.payload).where(Job.id.in_(some)))
            specs.update((job_id, jobspec_from_dict(payload)) for job_id, payload in rows)
        return specs

    def _tick(self, spec: JobSpec) -> datetime | None:
        if not spec.enabled:
            return None
        try:
            return first_tick(spec, self.now)
        except ScheduleError as error:
            raise ConfigError((Problem(str(error), table=f'[[job]] "{spec.name}"'),)) from error

    def _cancel_waiting(self, ids: Sequence[int], *, ticks_only: bool) -> None:
        """End what still waits of jobs that are removed or disabled; a disabled one's manual runs stay."""
        for some in _slices(ids):
            statement = update(JobDispatch).where(
                LIVE, JobDispatch.status == Status.PENDING, JobDispatch.job_id.in_(some)
            )
            if ticks_only:
                is_tick = JobDispatch.source.in_((Source.SCHEDULE, Source.RETRY)) & JobDispatch.scheduled_for.is_not(
                    None
                )
                statement = statement.where(is_tick)
            ended = {"status": Status.CANCELLED, "reason": Reason.JOB_REMOVED, "completed_at": self.now}
            self.connection.execute(statement.values(**ended))

    def _send_elsewhere(self, ids: Sequence[int]) -> None:
        """Let what waits of changed jobs be run by those who may run them now: else it might wait for ever."""
        now_of = {
            name: select(Job.__table__.c[name]).where(Job.id == JobDispatch.job_id).scalar_subquery()
            for name in ("queue", "requires")
        }
        for some in _slices(ids):
            waiting = (LIVE, JobDispatch.status == Status.PENDING, JobDispatch.job_id.in_(some))
            self.connection.execute(update(JobDispatch).where(*waiting).values(now_of))


NOT_PAUSED: dict[str, None] = dict.fromkeys(("paused_at", "paused_until", "paused_by", "paused_reason"))
"""The columns of a job that is not paused."""


def _slices(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + IN_LIST_MAX] for start in range(0, len(ids), IN_LIST_MAX))


_MAKERS = {Origin.PORTAL: "portal", Origin.CLI: "command line"}
