"""`jobsup db`: the tables' version and health."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.verb import json_option, noun, verb
from jobsup.errors import ExitCode, UnreachableError

if TYPE_CHECKING:
    from jobsup.store.engine import Database


@noun(
    "db",
    ("jobsup db upgrade", "make the tables, or bring them to this version"),
    ("jobsup db check", "look for damage"),
)
def db(here: Here) -> None:
    """Upgrade or check the database schema."""


@verb(
    "upgrade",
    ("jobsup db upgrade", "make the tables, or bring them to this version"),
    ("jobsup db upgrade -c new.toml", "of another configuration"),
    group=db,
)
def upgrade(here: Here) -> None:
    """Bring the tables to the version this program works with; make them where there are none."""
    from jobsup.store import schema

    with _database(here, must_exist=False) as database:
        before = schema.current(database)
        schema.upgrade(database)
        after = schema.current(database)
    click.echo(after)
    say(f"{'made' if before is None else f'upgraded from {before}'}" if before != after else "already up to date")


@verb(
    "current",
    ("jobsup db current", "the version the tables have"),
    ("jobsup db current --json", "and the one this program needs"),
    group=db,
)
@json_option
def current(here: Here, as_json: bool) -> None:
    """Print the version the tables have."""
    from jobsup.store import schema

    with _database(here) as database:
        found, head = schema.current(database), schema.head()
    if as_json:
        print_json({"current": found, "head": head})
        return
    click.echo(found or "none")
    if found != head:
        say(f"this jobsup needs {head}: run `jobsup db upgrade`")


@verb(
    "check",
    ("jobsup db check", "report what is wrong with the database"),
    ("jobsup db check && jobsup start", "start only when nothing is"),
    group=db,
)
@json_option
@click.pass_context
def check(ctx: click.Context, here: Here, as_json: bool) -> None:
    """Look for missing tables, columns and indexes, and for damage; end with 1 when there is any."""
    from jobsup.store import schema

    with _database(here) as database:
        faults = schema.check(database)
    if as_json:
        print_json({"ok": not faults, "faults": faults})
    else:
        for fault in faults:
            say(clean(fault))
        click.echo("faulty" if faults else "ok")
    ctx.exit(ExitCode.FAILED if faults else ExitCode.OK)


@contextmanager
def _database(here: Here, *, must_exist: bool = True) -> Iterator[Database]:
    """Open the database whatever version its tables have."""
    from jobsup.store.engine import Database

    database = Database.of(here.peek().database, kind="command")
    try:
        if must_exist and database.path is not None and not database.path.exists():
            raise UnreachableError(f"database {database.path} does not exist yet: run `jobsup db upgrade`")
        yield database
    finally:
        database.close()
