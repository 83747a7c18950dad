"""One run of the engine's benchmark: what is compiled, started and installed is so once, when it is first needed."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from benchmarks.instance import FULL, NORMAL, Place
from benchmarks.limit import Limit

SERVER = ("fsync=on", "full_page_writes=on", "shared_buffers=128MB", "max_wal_size=1GB", "max_connections=200")
"""PostgreSQL as it comes; the tests' server is quicker because its data need not last."""
PLACES = {"full": FULL.name, "normal": NORMAL.name, "postgres": "PostgreSQL"}


class Bench:
    """What the parts share."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self._stack = stack
        self.scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsup-bench-", dir=options.folder))
        )

    @cached_property
    def limit(self) -> Limit:
        return Limit(self.scratch)

    @cached_property
    def server(self) -> Place:
        from tests.support.postgres import running  # it brings the programs of a server, which nothing else here needs

        self._server = self._stack.enter_context(running(*SERVER))
        return Place(PLACES["postgres"], server=self._server.url())

    def new_database(self) -> str:
        """Make an empty database on the server and return its URL."""
        name = f"peer_{time.time_ns()}"
        self.server  # noqa: B018  (started now)
        self._server.execute(f"CREATE DATABASE {name}")
        return self._server.url(name)

    def place(self, word: str) -> Place:
        """Return where `full`, `normal` or `postgres` keeps its rows."""
        return {"full": lambda: FULL, "normal": lambda: NORMAL, "postgres": lambda: self.server}[word]()
