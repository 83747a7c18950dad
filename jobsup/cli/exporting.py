"""`jobsup export`: jobs of the database as TOML, or as a crontab."""

from __future__ import annotations

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import plural, say
from jobsup.cli.verb import verb


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
    from jobsup.actions.operations.exporting import EXPORT_JOBS

    if shared and as_crontab:
        raise click.UsageError("a crontab has no calendars, blackouts or pools: drop --shared", ctx)
    with here.gateway() as gate:
        found = gate.ask(EXPORT_JOBS, jobs=names or None, crontab=as_crontab or None, shared=shared or None)
    if found["warning"]:
        say(found["warning"])
    click.echo(found["text"], nl=False)
    left = f"; their {', '.join(found['left_out'])}: `jobsup export --shared`" if found["left_out"] else ""
    say(plural(found["jobs"], "job") + left)
