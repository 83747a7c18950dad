"""Every test of the store runs on SQLite and on PostgreSQL, unless it says why it is about one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.postgres import PostgresServer, open_schema, own_server, postgres, schema
from tests.support.store import create_database

__all__ = ["own_server", "postgres"]

BACKENDS = ("sqlite", "postgresql")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only(backend, why): a test of what one database does in its own way")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("only")
        metafunc.parametrize("backend", BACKENDS if only is None else (only.args[0],), scope="function")


@pytest.fixture
def db(backend: str, tmp_path: Path, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of this version, on the test's clock."""
    if backend == "sqlite":
        database = create_database(tmp_path / "jobsup.db", clock=clock)
        yield database
        database.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with schema(server) as name:
        database = open_schema(server, name, clock=clock)
        yield database
        database.close()
