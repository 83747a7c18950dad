"""However many ask at once, a portal holds a few connections to a server; and one, when they come one by one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from jobsup.portal.handles import COUNT, Handles
from jobsup.store import overview, server_facts
from jobsup.store.engine import Database
from tests.support.postgres import PostgresServer, open_schema, postgres, schema

__all__ = ["postgres"]


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    with schema(postgres) as name:
        yield name


def connections(server: PostgresServer) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobsup/portal'"
    return int(str(server.execute(query)[0][0]))


def test_a_portal_opens_no_more_connections_than_are_used_at_once(postgres: PostgresServer, name: str) -> None:
    with closing(Handles(lambda: open_schema(postgres, name, kind="portal"))) as handles:

        async def one_by_one() -> None:
            for _ in range(20):
                await handles.ask(overview.counts)

        asyncio.run(one_by_one())
        assert connections(postgres) == 1
        together = threading.Barrier(COUNT)

        def meet(database: Database) -> None:
            overview.counts(database)
            together.wait(30)

        async def at_once() -> None:
            await asyncio.gather(*(handles.ask(meet) for _ in range(5 * COUNT)))

        asyncio.run(at_once())
        assert connections(postgres) == COUNT
        with closing(open_schema(postgres, name)) as database:
            facts = server_facts.read(database)
        assert facts is not None
        assert facts.connections_needed == COUNT
