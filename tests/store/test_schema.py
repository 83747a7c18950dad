"""The version of the tables: made, told, checked, and refused when it is not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from jobsup.errors import DatabaseError
from jobsup.store import schema
from jobsup.store.engine import Database
from jobsup.store.migrations.run import settings
from tests.support.store import add_dispatch, add_job, create_database


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}", synchronous="off")
    yield database
    database.close()


def definitions_of(database: Database) -> dict[str, str]:
    """Every table and index as SQLite keeps it, with blanks evened out and a table's parts in one order."""
    with database.read() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {name: "\n".join(sorted(part.strip(" ,\t") for part in sql.splitlines())) for name, sql in rows}


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
    with pytest.raises(DatabaseError, match=r"new\.db has no tables yet: run `jobsup db upgrade`"):
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
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE job (title TEXT)"))
    with pytest.raises(DatabaseError, match="has a table 'job' that jobsup did not make"):
        schema.ensure(empty, migrate=True)
    assert list(definitions_of(empty)) == ["job"]


def test_a_failed_upgrade_leaves_nothing_behind(empty: Database) -> None:
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


def test_check_names_a_row_that_points_nowhere(db: Database) -> None:
    add_dispatch(db, add_job(db))
    with db.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        connection.rollback()
        for statement in ("PRAGMA foreign_keys = OFF", "DELETE FROM job", "PRAGMA foreign_keys = ON"):
            raw.cursor().execute(statement)
    assert schema.check(db) == ["row 1 of job_dispatch points to a row of job that is gone"]


def test_two_upgrades_at_once_both_succeed(tmp_path: Path) -> None:
    program = (
        "import sys; from jobsup.store import schema; from jobsup.store.engine import Database;"
        "schema.ensure(Database(sys.argv[1]), migrate=True)"
    )
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    running = [subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE) for _ in range(3)]
    assert [(child.wait(30), child.stderr and child.stderr.read()) for child in running] == [(0, b"")] * 3


def test_looking_at_the_version_loads_no_alembic(tmp_path: Path) -> None:
    create_database(tmp_path / "jobsup.db").close()
    program = (
        "import sys; from jobsup.store import schema; from jobsup.store.engine import Database;"
        "schema.ensure(Database(sys.argv[1]), migrate=True); sys.exit('alembic' in sys.modules)"
    )
    url = f"sqlite:///{tmp_path / 'jobsup.db'}"
    assert subprocess.run([sys.executable, "-c", program, url], timeout=30, check=False).returncode == 0
