"""`jobsup export`: jobs of the database as TOML, or as a crontab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import plural, say
from jobsup.cli.verb import verb
from jobsup.errors import ConfigError

if TYPE_CHECKING:
    from jobsup.model import JobSpec


@verb(
    "export",
    ("jobsup export > jobs.d/all.toml", "every job of the database as TOML"),
    ("jobsup export backup --crontab", "one as a line of a crontab"),
)
@click.argument("names", nargs=-1, metavar="[NAME]...", type=JobName())
@click.option("--crontab", "as_crontab", is_flag=True, help="Print a crontab, with comments for what it cannot say.")
def export(here: Here, names: tuple[str, ...], as_crontab: bool) -> None:
    """Print jobs of the database, all or those named, as `[[job]]` tables that give them back.

    Only what differs from the defaults is written. The values of `env` are printed as they are: keep the output
    private when they are.
    """
    from jobsup.store import jobs

    with here.database() as database:
        found = [jobs.get_job(database, name) for name in dict.fromkeys(names)] or jobs.list_jobs(database)
    specs = [facts.spec for facts in found]
    if as_crontab:
        from jobsup.importing.crontab_lines import crontab

        click.echo(crontab(specs, _local_zone()), nl=False)
    else:
        from jobsup.importing import tables, toml_text

        defaults = _defaults(here)
        click.echo("\n".join(toml_text.table(tables.table_of(spec, defaults)) for spec in specs), nl=False)
    say(plural(len(specs), "job"))


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
