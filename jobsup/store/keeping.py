"""Jobs that stand in no file: saved one at a time, and removed again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, RowMapping, select

from jobsup.config.document import config_hash
from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import JobSpec, Origin
from jobsup.store import dependencies, ranks
from jobsup.store.definitions import STORED, Change
from jobsup.store.dialect import one_at_a_time
from jobsup.store.engine import Database
from jobsup.store.rows import Job, JobDependency


def save(
    database: Database,
    spec: JobSpec,
    *,
    origin: Origin,
    set_name: str,
    replaces: str | None,
    priority_aging: timedelta | None = ranks.PRIORITY_AGING,
) -> None:
    """Make the job, or give it this definition; what it keeps over that is as in a synchronisation.

    `replaces` is the hash of the definition that the new one was made from; None: there is no such job yet.
    Raises ConflictError when the name is taken, the job is a file's, or it was changed meanwhile.
    """
    with database.write() as connection:
        one_at_a_time(connection, "definitions")
        row = _row(connection, spec.name)
        _refuse_stale(spec.name, row, replaces)
        stored = {spec.name: row} if row is not None else {}
        hashes = {spec.name: config_hash(spec)}
        change = Change(connection, database.now(), set_name, hashes, stored, origin)
        if row is None:
            change.add([spec])
        else:
            change.redefine([spec])
        change.age(ranks.aging_ms(priority_aging))
        dependencies.write(connection, set_name, [spec], Job.name == spec.name)


def remove(database: Database, name: str) -> None:
    """Retire a job that stands in no file; its history stays, and what waits of it is CANCELLED.

    Raises NotFoundError, or ConflictError when it is a file's or others wait for it.
    """
    with database.write() as connection:
        one_at_a_time(connection, "definitions")
        row = _row(connection, name)
        if row is None or row["retired_at"] is not None:
            raise NotFoundError(f'no job is called "{name}"')
        _refuse_file(name, row)
        waiting = _waiting_for(connection, row["id"])
        if waiting:
            raise ConflictError(f'"{name}" cannot be removed: {", ".join(waiting)} waits for it')
        Change(connection, database.now(), row["set_name"], {}, {name: row}).retire([row["id"]])


def waits(database: Database, set_name: str) -> dict[str, list[str]]:
    """Return the living jobs of a set by name, each with those it waits for."""
    living = (Job.set_name == set_name, Job.retired_at.is_(None))
    upstream = Job.__table__.alias("upstream")
    links = (
        select(Job.name, upstream.c.name)
        .join(JobDependency, JobDependency.job_id == Job.id)
        .join(upstream, JobDependency.upstream_id == upstream.c.id)
        .where(*living)
    )
    with database.read() as connection:
        found: dict[str, list[str]] = {
            name: [] for name in connection.execute(select(Job.name).where(*living)).scalars()
        }
        for name, other in connection.execute(links).tuples():
            found[name].append(other)
    return found


def _row(connection: Connection, name: str) -> RowMapping | None:
    return connection.execute(STORED.where(Job.name == name).with_for_update()).mappings().one_or_none()


def _refuse_stale(name: str, row: RowMapping | None, replaces: str | None) -> None:
    is_there = row is not None and row["retired_at"] is None
    if replaces is None and row is not None and is_there:
        _refuse_file(name, row)
        raise ConflictError(f'there is a job "{name}" already: edit that, or choose another name')
    if replaces is None:
        return
    if row is None or not is_there:
        raise ConflictError(f'job "{name}" has been removed meanwhile')
    _refuse_file(name, row)
    if row["config_hash"] != replaces:
        raise ConflictError(f'job "{name}" has been changed meanwhile: look at it again, then change it')


def _refuse_file(name: str, row: RowMapping) -> None:
    if row["origin"] == Origin.FILE:
        raise ConflictError(f'job "{name}" stands in a file: change it there, then `jobsup reload`')


def _waiting_for(connection: Connection, job_id: int) -> Sequence[str]:
    statement = (
        select(Job.name)
        .join(JobDependency, JobDependency.job_id == Job.id)
        .where(JobDependency.upstream_id == job_id, Job.retired_at.is_(None))
        .order_by(Job.name)
    )
    return connection.execute(statement).scalars().all()
