"""What nobody but the owner may read: the file itself, and what a statement that fails was given."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from jobsup.errors import DatabaseError
from jobsup.store import notifier, preload
from jobsup.store.engine import Database

SECRET = "hunter2-in-a-payload"


@contextmanager
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_database_and_its_companions_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with open_umask(), closing(Database(f"sqlite:///{path}")) as database:
        with database.write() as connection:
            connection.execute(text("CREATE TABLE t (a)"))
        listener = notifier.Listener(database, "worker")
        files = {file.name: mode(file) for file in tmp_path.iterdir()}
        listener.close()
    assert files == {
        "new.db": 0o600,
        "new.db-wal": 0o600,
        "new.db-shm": 0o600,
        "new.db-queue": 0o600,
        "new.db-wake": 0o700,
    }


def test_a_database_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.touch()
    path.chmod(0o640)
    with closing(Database(f"sqlite:///{path}")) as database, database.write() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    assert mode(path) == 0o640


def test_an_error_shows_no_value_that_the_statement_was_given(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    with closing(database), pytest.raises(DatabaseError) as caught, database.read() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": SECRET})
    shown = str(caught.value)
    cause = caught.value.__cause__
    assert isinstance(cause, DBAPIError)
    assert SECRET not in shown + str(cause)


def test_what_was_rehearsed_serves_the_next_database_and_only_that(tmp_path: Path) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    preload.rehearse(f"sqlite:///{first}")
    assert not first.exists(), "a rehearsal has nothing to do with the database itself"
    with closing(Database(f"sqlite:///{first}")) as one, closing(Database(f"sqlite:///{second}")) as other:
        assert one.engine is not other.engine
        for database in (one, other):
            with database.write() as connection:
                connection.execute(text("CREATE TABLE t (a)"))
            assert database.statements == 1
    assert first.stat().st_size > 0
    assert second.stat().st_size > 0
