"""`jobsup db`: the tables' version and health."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.times import Duration
from jobsup.cli.verb import json_option, noun, verb
from jobsup.errors import ExitCode, UnreachableError, UsageError

if TYPE_CHECKING:
    from jobsup.store.engine import Database


@noun(
    "db",
    ("jobsup db upgrade", "make the tables, or bring them to this version"),
    ("jobsup db copy --to postgresql://jobsup@db1/jobsup", "move to a server"),
)
def db(here: Here) -> None:
    """Upgrade, check or move the database."""


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


@verb(
    "copy",
    ("jobsup stop && jobsup db copy --to postgresql://jobsup@db1/jobsup", "move to a server"),
    ("jobsup db copy --to postgresql://db1/ops --schema jobs", "into a schema of that name"),
    group=db,
)
@click.option("--to", "url", metavar="URL", required=True, help="The PostgreSQL database that everything goes to.")
@click.option("--schema", metavar="NAME", help="The schema there; [database] schema if it is not said.")
@json_option
def copy(here: Here, url: str, schema: str | None, as_json: bool) -> None:
    """Copy everything from the SQLite file of a stopped instance into an empty database on a server.

    The file stays as it is. Afterwards let [database] url name the server, and start.
    """
    from jobsup.config import urls
    from jobsup.store import copy as store_copy
    from jobsup.store.engine import Database

    if message := urls.fault(url):
        raise UsageError(message)
    named = replace(here.peek().database, url=url)
    target = Database.of(replace(named, schema=schema) if schema else named, kind="copy")
    try:
        with _database(here) as source:
            copied = store_copy.copy(source, target)
    finally:
        target.close()
    if as_json:
        print_json({"copied": {each.table: each.rows for each in copied}})
        return
    for each in copied:
        click.echo(f"{each.rows:>12}  {each.table}")
    say(f'copied: set url = "{urls.masked(url)}" in [database], then start')


@verb(
    "prune",
    ("jobsup db prune --older-than 7d --dry-run", "how many runs that would delete"),
    ("jobsup db prune --older-than 7d", "delete them, with what they printed"),
    group=db,
)
@click.option("--older-than", "age", type=Duration(), metavar="DURATION", required=True, help="Ended so long ago.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@json_option
def prune(here: Here, age: timedelta, dry_run: bool, as_json: bool) -> None:
    """Delete runs that ended long ago now, and not when [scheduler] cleanup_retention_days lets the scheduler do it."""
    from jobsup.actions.operations.runs import PRUNE_RUNS

    with here.gateway() as gate:
        done = gate.ask(PRUNE_RUNS, older_than_seconds=int(age.total_seconds()), dry_run=dry_run)
    if as_json:
        print_json({"deleted": done["deleted"], "left": done["left"]})
        return
    click.echo(f"{done['left']} runs would go" if dry_run else f"{done['deleted']} runs deleted")
    if done["left"] and not dry_run:
        say(f"{done['left']} are left: run it again")


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
