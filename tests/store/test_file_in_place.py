"""A database file that is removed or replaced under a running process: nothing is written where nobody will find it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from jobsup.errors import DatabaseError
from jobsup.store.engine import Database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobsup.db"


@pytest.fixture
def opened(file: Path) -> Database:
    database = Database(f"sqlite:///{file}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE kept (number INTEGER)"))
    return database


def test_a_removed_file_is_told_at_once_and_work_goes_on_when_it_is_back(file: Path, opened: Database) -> None:
    aside = file.with_suffix(".aside")
    file.rename(aside)
    with pytest.raises(DatabaseError, match="was removed or replaced while it was in use"), opened.write():
        pytest.fail("a transaction in a file without a name")
    with pytest.raises(DatabaseError, match="removed or replaced"), opened.read():
        pytest.fail("as above")
    assert not file.exists(), "no empty database is put in its place"

    aside.rename(file)
    with opened.write() as connection:
        connection.execute(text("INSERT INTO kept VALUES (1)"))
    opened.close()


@pytest.mark.parametrize("kind", ["worker", "scheduler", "portal"])
def test_a_process_that_begins_when_the_file_has_gone_makes_no_empty_one(file: Path, kind: str) -> None:
    database = Database(f"sqlite:///{file}", kind=kind)
    with pytest.raises(DatabaseError, match=f"database {file}: is not there: put it back"), database.write():
        pytest.fail("a transaction in a file that is not there")
    with pytest.raises(DatabaseError, match="is not there"), database.read():
        pytest.fail("as above")
    assert not file.exists()
    Database(f"sqlite:///{file}", kind="prepare").close()
    database.close()


def test_another_file_in_its_place_is_not_taken_for_it(file: Path, opened: Database) -> None:
    file.unlink()
    file.write_bytes(b"")
    with pytest.raises(DatabaseError, match=f"database {file}: was removed or replaced"), opened.write():
        pytest.fail("a transaction in a file without a name")
    opened.close()
