"""Where a command acts: its configuration file, and through it the database and the control socket; or a portal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobsup.errors import ConfigError, UnreachableError, UsageError

if TYPE_CHECKING:
    from jobsup.cli.gateway import Gateway
    from jobsup.config.quick import Peek
    from jobsup.config.settings import Config
    from jobsup.store.engine import Database


class Here:
    """Finds and opens things when they are first asked for, so that a verb pays only for what it uses."""

    def __init__(self) -> None:
        self.option: str | None = None
        """What `-c` said."""
        self.url_option: str | None = None
        """What `--url` said."""
        self.token_option: str | None = None
        self.fault: ConfigError | None = None
        """What is wrong with the file, while the instance that was started with it runs on; known after `peek`."""
        self.on_fault: Callable[[ConfigError], None] = _tell
        self._peek: Peek | None = None

    @property
    def url(self) -> str | None:
        """The portal through which the command acts; None: it acts on this machine."""
        if self.url_option is not None:
            if self.option is not None:
                raise UsageError("--url names an instance elsewhere and --config one here: give one of them")
            return self.url_option
        return None if self.option is not None else os.environ.get("JOBSUP_URL") or None

    @property
    def token(self) -> str | None:
        return self.token_option or os.environ.get("JOBSUP_TOKEN") or None

    def gateway(self, on_line: Callable[[str], None] | None = None) -> Gateway:
        """Return the way to the instance; `on_line` is told what its supervisor says while it works."""
        from jobsup.cli import gateway

        return gateway.of(self, on_line)

    def path(self) -> Path:
        """Return the configuration file; ConfigError when there is none, UsageError when a portal is meant."""
        from jobsup.config import search

        if self.url is not None:
            given = "--url" if self.url_option is not None else "JOBSUP_URL"
            raise UsageError(f"this works only on the machine itself, not through {self.url}: leave {given} out")
        return search.find(self.option)

    def peek(self) -> Peek:
        """Return where the database and the socket are, without judging the rest of the file."""
        from jobsup.config import quick

        if self._peek is None:
            try:
                self._peek = quick.peek(self.path())
            except ConfigError as error:
                self._peek = self._running(error)
        return self._peek

    def _running(self, fault: ConfigError) -> Peek:
        """Return where the instance is that was started with a file which is broken or gone by now.

        Without one the fault is raised.
        """
        from jobsup.config import quick, search
        from jobsup.control import finding

        found = finding.find(Path(os.path.abspath(search.wanted(self.option))))  # noqa: PTH100  # as the file is read
        if found is None:
            raise fault
        self.fault = fault
        self.on_fault(fault)
        return quick.of_running(found.status, found.socket)

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

        settings = self.peek().database
        if not settings.url:
            raise UnreachableError("where the database is, password included, stands in the broken configuration alone")
        database = Database.of(settings, kind="command")
        try:
            if database.path is not None and not database.path.exists():
                raise UnreachableError(f"database {database.path} does not exist yet: `jobsup start` makes it")
            schema.ensure(database, migrate=False)
            yield database
        finally:
            database.close()


def _tell(fault: ConfigError) -> None:
    from jobsup.cli.text import say

    say("\n".join(f"jobsup: warning: {line}" for line in str(fault).splitlines()))
    say("jobsup: warning: the running instance keeps the configuration it has; a restart would fail")
