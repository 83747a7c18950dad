"""Instances that share a server, as hosts of one house do."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.instance import Instance
from tests.support.postgres import PostgresServer

SCHEMA = "house"
TIMEOUT_SECONDS = 2


class Host(Instance):
    """An instance that shares a server with others; every poll is an hour apart."""

    def __init__(self, server: PostgresServer, node: str, jobs: str, **options: Any) -> None:
        super().__init__("", node=node, **{"workers": 1, **options})
        self.node = node
        self._server = server
        address = f'url = "{server.url()}"\nschema = "{SCHEMA}"\ntimeout = "{TIMEOUT_SECONDS}s"'
        self.settings = self.settings.replace('url = "sqlite:///jobsup.db"', address)
        self.write(jobs)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self._server.url(), row_factory=dict_row, autocommit=True) as connection:
            connection.execute(f"SET search_path = {SCHEMA}".encode())
            return connection.execute(query.replace("?", "%s").encode(), values).fetchall()
