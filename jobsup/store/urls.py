"""The database as a user's own program finds it: the same one that `jobsup status` would look at from there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from jobsup.config import search, urls
from jobsup.config.environment import find_override
from jobsup.config.keys import KEYS
from jobsup.config.quick import peek
from jobsup.config.report import environment_problem
from jobsup.config.settings import DatabaseSettings
from jobsup.errors import ConfigError, DatabaseError

# How long a query waits for a writer that holds the file.
BUSY_SECONDS = 10.0


def get_db_url(environ: Mapping[str, str] | None = None) -> str:
    """Return the database's URL, a SQLite file by its absolute path.

    Taken from JOBSUP_DATABASE_URL or REFLEX_DB_URL, else from the configuration file found (JOBSUP_CONFIG,
    ./jobsup.toml, the user's and the system's place), else `jobsup.db` in the working folder. Raises ConfigError
    when one of them is there and wrong.
    """
    environ = os.environ if environ is None else environ
    if override := find_override(KEYS["database.url"], environ):
        if message := urls.fault(override.text):
            raise ConfigError((environment_problem(override.variable, message),))
        return urls.absolute(override.text, Path.cwd())
    file = _config_file(environ)
    return peek(file, environ).database_url if file else urls.absolute(DatabaseSettings().url, Path.cwd())


def get_engine(url: str | None = None) -> Engine:
    """Return an engine for a user's own queries, on `url` or `get_db_url()`. Raises DatabaseError for a missing file.

    The supervisor's processes do not use it: theirs queue for the right to write. So keep transactions short.
    """
    url = url or get_db_url()
    file = urls.sqlite_file(url)
    if file is None:
        return create_engine(url)
    if not file.exists():
        raise DatabaseError(
            f"database {file} does not exist: name another by JOBSUP_DATABASE_URL, or start jobsup first"
        )
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _keep_references)
    return engine


def _config_file(environ: Mapping[str, str]) -> Path | None:
    try:
        return search.find(environ=environ)
    except ConfigError:
        if environ.get(search.VARIABLE):
            raise  # one was named, and is not there
        return None


def _keep_references(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON").close()
