"""Moving from a SQLite file to a server: everything arrives, as it was, or nothing does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from jobsup.errors import ConflictError, DatabaseError, UsageError
from jobsup.model import Role, Status, WorkerStatus
from jobsup.runtime import locks, procs
from jobsup.store import copy, dispatches, leases, users
from jobsup.store import schema as schema_of_store
from jobsup.store.engine import Database
from jobsup.store.tables import metadata
from tests.support.postgres import PostgresServer, open_schema, schema
from tests.support.store import (
    FakeClock,
    add_chunk,
    add_dispatch,
    add_job,
    add_log,
    add_worker,
    create_database,
)


@pytest.fixture
def source(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    with closing(create_database(tmp_path / "jobsup.db", clock=clock)) as database:
        yield database


@pytest.fixture
def target(postgres: PostgresServer, clock: FakeClock) -> Iterator[Database]:
    with schema(postgres, with_tables=False) as name, closing(open_schema(postgres, name, clock=clock)) as database:
        yield database


def fill(database: Database) -> None:
    """Leave what a used instance leaves: jobs, ended, retried and waiting runs, output of every byte, a term."""
    job = add_job(database, "report", next_run=database.now(), tags=("a", "b"), timeout=timedelta(seconds=1.5))
    first = add_dispatch(database, job, Status.FAILED, scheduled_for=database.now(), params={"n": [1, "ö"]})
    add_log(database, first, bytes(range(256)) * 10)
    retry = add_dispatch(database, job, Status.COMPLETED, retry_of=first, retry_count=1, error_message="nul \0")
    add_log(database, retry, b"x" * (copy.BATCH_BYTES_MAX + 1))
    for _ in range(40):
        add_dispatch(database, job)
    add_chunk(database, add_dispatch(database, add_job(database), Status.IN_PROGRESS), 0, b"\xff")
    add_worker(database, status=WorkerStatus.OFFLINE)
    leases.acquire(database, "me", "here", timedelta(seconds=8))


def rows_of(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in metadata.sorted_tables
        }


def test_every_row_arrives_as_it_was_and_the_numbers_go_on(source: Database, target: Database) -> None:
    fill(source)
    before = rows_of(source)
    copied = copy.copy(source, target)
    after = rows_of(target)
    assert {each.table: each.rows for each in copied} == {table: len(rows) for table, rows in before.items()}
    replaced = json.dumps(before["job_dispatch"], default=str).replace("\\u0000", "\\ufffd")
    assert json.dumps(after.pop("job_dispatch"), default=str) == replaced
    before.pop("job_dispatch")
    assert after == before
    job = add_job(target, "new")
    made = dispatches.create_manual(target, "new", params={}, requested_by="ann")
    assert (job.job_id, made.dispatch_id) == (3, 44)


def test_an_empty_instance_moves_too(source: Database, target: Database) -> None:
    assert all(each.rows == 0 for each in copy.copy(source, target))
    assert add_job(target).job_id == 1


def test_a_target_with_rows_is_refused_and_left_as_it_is(source: Database, target: Database) -> None:
    fill(source)
    copy.copy(source, target)
    before = rows_of(target)
    with pytest.raises(ConflictError, match="table job has rows already"):
        copy.copy(source, target)
    assert rows_of(target) == before


def test_an_instance_that_runs_is_refused(source: Database, target: Database) -> None:
    held = locks.acquire(f"{source.path}-supervisor")
    with pytest.raises(ConflictError, match=f"is held by pid {os.getpid()}"):
        copy.copy(source, target)
    held.release()
    me = procs.host_identity("here")
    add_worker(
        source,
        boot_id=me.boot_id,
        pid_namespace=me.pid_ns,
        process_id=os.getpid(),
        process_started=procs.start_time(os.getpid()),
    )
    with pytest.raises(ConflictError, match=f"worker-aaaaa .pid {os.getpid()} on here. still works"):
        copy.copy(source, target)


def test_a_row_that_cannot_be_taken_over_undoes_the_whole(source: Database, target: Database) -> None:
    fill(source)
    with source.write() as connection:
        connection.execute(text("UPDATE job_dispatch SET queue = :long WHERE id = 2"), {"long": "q" * 65})
    with pytest.raises(DatabaseError, match="too long"):
        copy.copy(source, target)
    assert all(rows == [] for rows in rows_of(target).values())


def test_only_from_a_file_to_a_server(source: Database) -> None:
    with pytest.raises(UsageError, match="from a SQLite file to a PostgreSQL server"):
        copy.copy(source, source)


def test_the_command_copies_and_says_what_is_next(source: Database, target: Database, tmp_path: Path) -> None:
    fill(source)
    users.add(source, "ann", Role.ADMIN, "hash")
    schema_of_store.ensure(target, migrate=True)  # made beforehand, as whoever may not make a schema has it done
    (tmp_path / "jobsup.toml").write_text('[database]\nurl = "sqlite:///jobsup.db"\n')
    jobsup = [str(Path(sys.executable).parent / "jobsup"), "db", "copy", "-c", str(tmp_path / "jobsup.toml")]
    url = str(target.url).replace("+psycopg", "")
    command = [*jobsup, "--to", url, "--schema", str(target.schema)]
    held = locks.acquire(f"{source.path}-supervisor")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    held.release()
    assert (refused.returncode, refused.stdout) == (6, "")
    assert f"held by pid {os.getpid()}" in refused.stderr
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert ["43", "job_dispatch"] in told
    assert ["1", "portal_user"] in told
    assert f'set url = "{url}"' in done.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stdout) == (6, "")
    assert "has rows already" in again.stderr
