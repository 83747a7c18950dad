"""The database as a user's own program finds it: the same one that `jobsup status` would look at from there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from jobsup.config import search, urls
from jobsup.config.environment import find_override
from jobsup.config.keys import KEYS
from jobsup.config.quick import peek
from jobsup.config.report import environment_problem
from jobsup.config.settings import SCHEMA_DEFAULT, DatabaseSettings
from jobsup.errors import ConfigError, DatabaseError
from jobsup.store.addresses import parse

# How long a query waits for a writer that holds the file.
BUSY_SECONDS = 10.0


def get_db_url(environ: Mapping[str, str] | None = None) -> str:
    """Return the database's URL, a SQLite file by its absolute path.

    Taken from JOBSUP_DATABASE_URL or REFLEX_DB_URL, else from the configuration file found (JOBSUP_CONFIG,
    ./jobsup.toml, the user's and the system's place), else `jobsup.db` in the working folder. Raises ConfigError
    when one of them is there and wrong.
    """
    return _settings(os.environ if environ is None else environ).url


def get_engine(url: str | None = None, *, schema: str | None = None) -> Engine:
    """Return an engine for a user's own queries, on `url` or `get_db_url()`. Raises DatabaseError for a missing file.

    On PostgreSQL the tables are found in `schema`, or in that of the configuration. The supervisor's processes do
    not use it: theirs queue for the right to write on SQLite. So keep transactions short.
    """
    if url is None:
        settings = _settings(os.environ)
        url, schema = settings.url, schema or settings.schema
    file = urls.sqlite_file(url)
    if file is None:
        engine = create_engine(parse(url))
        event.listen(engine, "connect", _use_schema(schema or SCHEMA_DEFAULT))
        return engine
    if not file.exists():
        raise DatabaseError(
            f"database {file} does not exist: name another by JOBSUP_DATABASE_URL, or start jobsup first"
        )
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _keep_references)
    return engine


def _settings(environ: Mapping[str, str]) -> DatabaseSettings:
    """Return which database the environment, or the file that is found, names."""
    schema = find_override(KEYS["database.schema"], environ)
    named = DatabaseSettings(schema=schema.text if schema else SCHEMA_DEFAULT)
    if override := find_override(KEYS["database.url"], environ):
        if message := urls.fault(override.text):
            raise ConfigError((environment_problem(override.variable, message),))
        return replace(named, url=urls.absolute(override.text, Path.cwd()))
    file = _config_file(environ)
    return peek(file, environ).database if file else replace(named, url=urls.absolute(named.url, Path.cwd()))


def _config_file(environ: Mapping[str, str]) -> Path | None:
    try:
        return search.find(environ=environ)
    except ConfigError:
        if environ.get(search.VARIABLE):
            raise  # one was named, and is not there
        return None


def _use_schema(schema: str) -> Callable[[Any, Any], None]:
    def set_path(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", (f'"{schema}"',))
        connection.commit()

    return set_path


def _keep_references(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON").close()
