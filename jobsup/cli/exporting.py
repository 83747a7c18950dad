"""`jobsup export`: jobs of the database as TOML, or as a crontab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import plural, say
from jobsup.cli.verb import verb
from jobsup.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from jobsup.model import JobSpec
    from jobsup.store.engine import Database


@verb(
    "export",
    ("jobsup export --shared > new.toml", "every job of the database, with the calendars, blackouts and pools"),
    ("jobsup export backup --crontab", "one as a line of a crontab"),
)
@click.argument("names", nargs=-1, metavar="[NAME]...", type=JobName())
@click.option("--crontab", "as_crontab", is_flag=True, help="Print a crontab, with comments for what it cannot say.")
@click.option("--shared", is_flag=True, help="Print what jobs share too: calendars, blackouts, pools.")
@click.pass_context
def export(ctx: click.Context, here: Here, names: tuple[str, ...], as_crontab: bool, shared: bool) -> None:
    """Print jobs of the database, all or those named, as `[[job]]` tables that give them back.

    Only what differs from the defaults is written. Calendars, blackouts and pools stand in a main file, not in one
    that it includes, and so are printed with --shared only. The values of `env` are printed as they are: keep the
    output private when they are.
    """
    from jobsup.store import jobs

    if shared and as_crontab:
        raise click.UsageError("a crontab has no calendars, blackouts or pools: drop --shared", ctx)
    with here.database() as database:
        found = [jobs.get_job(database, name) for name in dict.fromkeys(names)] or jobs.list_jobs(database)
        tables = _shared(database, {facts.set_name for facts in found})
    specs = [facts.spec for facts in found]
    if as_crontab:
        from jobsup.importing.crontab_lines import crontab

        click.echo(crontab(specs, _local_zone()), nl=False)
    else:
        from jobsup.importing.tables import table_of
        from jobsup.importing.toml_text import document, table

        defaults = _defaults(here)
        texts = [document(tables)] if shared and tables else []
        click.echo("\n".join([*texts, *(table(table_of(spec, defaults)) for spec in specs)]), nl=False)
    say(plural(len(specs), "job") + _left_out(tables, shared or as_crontab))


def _shared(database: Database, set_names: set[str]) -> dict[str, Any]:
    """Return the tables that the jobs of these sets share. Raises ConflictError when they are of several sets."""
    from jobsup.importing.shared_tables import shared_tables
    from jobsup.store import sets

    with database.read() as connection:
        found = {name: each for name, each in sets.shared(connection).items() if name in set_names}
    if len(found) > 1:
        raise ConflictError(f"the jobs are of the sets {', '.join(sorted(found))}: name those of one of them")
    return shared_tables(next(iter(found.values()))) if found else {}


def _left_out(tables: dict[str, Any], is_said: bool) -> str:
    return "" if is_said or not tables else f"; their {', '.join(sorted(tables))}: `jobsup export --shared`"


def _defaults(here: Here) -> tuple[JobSpec, ...]:
    """Return what the configuration gives to jobs; nothing when it cannot be read."""
    try:
        return (here.config().defaults,)
    except ConfigError as error:
        say(f"the configuration is invalid, so its [defaults] are not looked at: {error.problems[0]}")
        return ()


def _local_zone() -> str | None:
    from jobsup.config.local_zone import local_zone

    try:
        return local_zone()
    except ValueError:
        return None
