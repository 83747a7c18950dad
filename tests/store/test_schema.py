"""The version of the tables: made, told, checked, and refused when it is not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from jobsup.errors import DatabaseError
from jobsup.model import Status
from jobsup.store import schema, workers
from jobsup.store.engine import Database
from jobsup.store.migrations.run import settings, upgrade_to
from jobsup.store.rows import JobDispatch
from tests.support.command import at_once
from tests.support.postgres import open_schema
from tests.support.postgres import schema as server_schema
from tests.support.store import add_dispatch, add_job, opening


@pytest.fixture
def empty(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with nothing in it; on a server not even the schema is there."""
    if backend == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'new.db'}", synchronous="off")
        yield database
        database.close()
        return
    server = request.getfixturevalue("postgres")
    with server_schema(server, with_tables=False) as name:
        database = open_schema(server, name)
        yield database
        database.close()


def make_schema(database: Database) -> None:
    """Make the place for tables where a database needs one."""
    if database.schema is not None:
        with database.write() as connection:
            connection.execute(text(f"CREATE SCHEMA {database.schema}"))


def definitions_of(database: Database) -> dict[str, str]:
    """Every table and index as the database keeps it, a table's parts in one order."""
    with database.read() as connection:
        rows = connection.execute(text(_SQLITE if database.is_sqlite else _POSTGRESQL)).all()
    return {name: "\n".join(sorted(_parts(sql) if database.is_sqlite else sql.splitlines())) for name, sql in rows}


def _parts(sql: str) -> list[str]:
    """Part what SQLite keeps of a table, however it was written and added to later, at its outer commas."""
    head, _, body = sql.partition("(")
    parts, depth = [""], 0
    for character in body.rstrip().removesuffix(")"):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [" ".join(part.split()) for part in (head, *parts)]


_SQLITE = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_POSTGRESQL = """
SELECT c.relname, replace(concat_ws(chr(10), CAST(c.reloptions AS text),
  (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                               pg_get_expr(d.adbin, d.adrelid)), chr(10))
   FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = c.oid AND a.attnum > 0),
  (SELECT string_agg(concat_ws(' ', k.conname, pg_get_constraintdef(k.oid)), chr(10)) FROM pg_constraint k
   WHERE k.conrelid = c.oid),
  CASE WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) END), c.relnamespace::regnamespace || '.', '')
FROM pg_class c WHERE c.relnamespace = to_regnamespace(current_schema())
"""


def test_migrations_make_exactly_the_tables_of_the_models(empty: Database, db: Database) -> None:
    schema.upgrade(empty)
    made, modelled = definitions_of(empty), definitions_of(db)
    made.pop(schema.VERSION_TABLE)
    modelled.pop(schema.VERSION_TABLE)
    assert made == modelled


def test_the_listed_revisions_are_the_migrations_there_are() -> None:
    steps = ScriptDirectory.from_config(settings())
    assert tuple(step.revision for step in reversed(list(steps.walk_revisions()))) == schema.REVISIONS
    assert steps.get_current_head() == schema.head()


def test_a_new_database_is_upgraded_and_then_whole(empty: Database) -> None:
    assert schema.current(empty) is None
    schema.ensure(empty, migrate=True)
    assert schema.current(empty) == schema.HEAD
    assert schema.check(empty) == []


def test_an_upgraded_database_is_left_alone_with_its_rows(db: Database) -> None:
    dispatch_id = add_dispatch(db, add_job(db))
    schema.upgrade(db)
    schema.ensure(db, migrate=True)
    with db.read() as connection:
        assert connection.execute(text("SELECT id FROM job_dispatch")).scalar_one() == dispatch_id


def test_a_new_database_is_refused_when_it_may_not_be_changed(empty: Database) -> None:
    with pytest.raises(DatabaseError, match=r"(new\.db|schema test_\d+) has no tables yet: run `jobsup db upgrade`"):
        schema.ensure(empty, migrate=False)
    assert schema.current(empty) is None


def test_a_newer_database_is_refused(db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (lambda: schema.ensure(db, migrate=True), lambda: schema.upgrade(db)):
        with pytest.raises(DatabaseError, match="version 9999, newer than this jobsup"):
            attempt()
    assert "9999" in schema.check(db)[0]


def test_another_programs_table_is_never_touched(empty: Database) -> None:
    make_schema(empty)
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE job (title TEXT)"))
    with pytest.raises(DatabaseError, match="has a table 'job' that jobsup did not make"):
        schema.ensure(empty, migrate=True)
    assert list(definitions_of(empty)) == ["job"]


def test_a_failed_upgrade_leaves_nothing_behind(empty: Database) -> None:
    make_schema(empty)
    with empty.write() as connection:
        connection.execute(text("CREATE VIEW job_output_chunk AS SELECT 1"))
    with pytest.raises(DatabaseError, match="job_output_chunk"):
        schema.upgrade(empty)
    assert list(definitions_of(empty)) == ["job_output_chunk"]


def test_check_names_a_lost_index_and_a_lost_table(db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("DROP INDEX ix_job_dispatch_claimable"))
        connection.execute(text("DROP TABLE job_output_chunk"))
    assert sorted(schema.check(db)) == [
        "index ix_job_dispatch_claimable is missing",
        "table job_output_chunk is missing",
    ]


@pytest.mark.only("sqlite", "a server keeps its references whatever a client says")
def test_check_names_a_row_that_points_nowhere(db: Database) -> None:
    add_dispatch(db, add_job(db))
    with db.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        connection.rollback()
        for statement in ("PRAGMA foreign_keys = OFF", "DELETE FROM job", "PRAGMA foreign_keys = ON"):
            raw.cursor().execute(statement)
    assert schema.check(db) == ["row 1 of job_dispatch points to a row of job that is gone"]


def test_a_database_of_the_first_version_is_upgraded_with_its_rows(empty: Database) -> None:
    if empty.schema is not None:
        make_schema(empty)
    with empty.write() as connection:
        upgrade_to(connection, schema.REVISIONS[0])
        connection.execute(text(_FIRST_JOB))
        connection.execute(text(_FIRST_WORKER))
    schema.ensure(empty, migrate=True)
    assert schema.check(empty) == []
    [worker] = workers.list_workers(empty)
    assert (worker.worker_id, worker.queues, worker.tags) == ("worker-aaaaa", ("slow",), ())
    with empty.read() as connection:
        job = connection.execute(text("SELECT name, requires, on_hosts FROM job")).one()
    assert tuple(job) == ("backup", None, "one")


_FIRST_JOB = """
INSERT INTO job (name, set_name, origin, kind, description, payload, config_hash, timezone, is_active, overlap,
  queue_limit, catch_up, max_retries, retry_backoff_seconds, priority, queue, tags, created_at, updated_at)
VALUES ('backup', 'default', 'file', 'command', '', '{}', 'x', 'UTC', true, 'skip', 100, 'latest', 3, 30, 0,
  'default', '[]', '2026-01-01 00:00:00', '2026-01-01 00:00:00')
"""
_FIRST_WORKER = """
INSERT INTO worker_registration (worker_id, node, hostname, platform, boot_id, pid_namespace, process_id,
  process_started, started_at, last_heartbeat, heartbeat_interval, status, jobs_processed, concurrency, queues, version)
VALUES ('worker-aaaaa', 'here', 'here', 'Linux', 'b', 'p', 1, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 5,
  'IDLE', 0, 1, '["slow"]', '0')
"""


def test_several_upgrades_at_once_all_succeed(empty: Database) -> None:
    def ensure() -> None:
        schema.ensure(Database(str(empty.url), schema=empty.schema or ""), migrate=True)

    assert at_once([ensure] * 3) == [0] * 3
    assert schema.check(empty) == []


def test_looking_at_the_version_loads_no_alembic(db: Database) -> None:
    program = (
        "import sys; from jobsup.store import schema; from jobsup.store.engine import Database;"
        f"schema.ensure({opening(db)}, migrate=True); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


def test_a_status_always_fits_the_end(empty: Database) -> None:
    schema.ensure(empty, migrate=True)
    job = add_job(empty, overlap="allow")
    now = empty.now()
    for status in Status:
        run = add_dispatch(empty, job, status)
        for wrong in ({"status": "LOST"}, {"completed_at": None if status.is_terminal else now}):
            with pytest.raises(IntegrityError, match="status_fits_end"), empty.write() as connection:
                connection.execute(update(JobDispatch).where(JobDispatch.id == run).values(wrong))
