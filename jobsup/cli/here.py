"""Where a command acts: its configuration file, and through it the database and the control socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobsup.errors import UnreachableError

if TYPE_CHECKING:
    from jobsup.config.quick import Peek
    from jobsup.config.settings import Config
    from jobsup.store.engine import Database


class Here:
    """Finds and opens things when they are first asked for, so that a verb pays only for what it uses."""

    def __init__(self) -> None:
        self.option: str | None = None
        """What `-c` said."""
        self._peek: Peek | None = None

    def path(self) -> Path:
        """Return the configuration file; ConfigError when there is none."""
        from jobsup.config import search

        return search.find(self.option)

    def peek(self) -> Peek:
        """Return where the database and the socket are, without judging the rest of the file."""
        from jobsup.config import quick

        if self._peek is None:
            self._peek = quick.peek(self.path())
        return self._peek

    def config(self) -> Config:
        """Return the whole configuration; ConfigError with every problem."""
        from jobsup.config.load import load

        return load(self.path())

    def defines(self, job_name: str) -> bool:
        """Say whether the main file has a job of that name, without judging anything."""
        from jobsup.config.source import read_source

        path = self.path()
        tables = read_source(path, str(path)).data.get("job", [])
        return isinstance(tables, list) and any(
            isinstance(table, dict) and table.get("name") == job_name for table in tables
        )

    def socket(self) -> Path:
        """Return the control socket of the supervisor that runs this configuration."""
        from jobsup.config.places import socket_path

        return socket_path(self.peek().runtime_dir)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Open the database with a schema this version knows; it is never made by the way.

        Raises UnreachableError when there is none yet, DatabaseError when its schema is older or newer.
        """
        from jobsup.store import schema
        from jobsup.store.engine import Database

        database = Database.of(self.peek().database, kind="command")
        try:
            if database.path is not None and not database.path.exists():
                raise UnreachableError(f"database {database.path} does not exist yet: `jobsup start` makes it")
            schema.ensure(database, migrate=False)
            yield database
        finally:
            database.close()
