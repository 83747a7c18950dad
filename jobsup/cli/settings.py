"""`jobsup config`: which file is read, and what every setting is and why."""

from __future__ import annotations

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, table
from jobsup.cli.verb import json_option, noun, verb


@noun(
    "config",
    ("jobsup config show", "every effective value and where it is from"),
    ("jobsup config path", "the file that is read"),
)
def config(here: Here) -> None:
    """Show the effective settings and where each is from."""


@verb(
    "show",
    ("jobsup config show", "every effective value and where it is from"),
    ("jobsup config show worker --json", "the [worker] settings, for a program"),
    group=config,
)
@click.argument("prefix", required=False, metavar="[KEY]")
@json_option
def show(here: Here, prefix: str | None, as_json: bool) -> None:
    """Print each setting, its value as TOML writes it, and its origin; passwords are masked.

    KEY limits it to one setting (worker.count) or one table (worker).
    """
    from jobsup.actions.operations.exporting import SHOW_CONFIG
    from jobsup.config.report import hint

    here.on_fault = lambda _fault: None  # the fault itself is the answer
    with here.gateway() as gate:
        settings = gate.ask(SHOW_CONFIG)["settings"]
    rows = [(each["key"], each["value"], each["origin"]) for each in settings]
    if prefix:
        known = {path for key, _, _ in rows for path in (key, key.partition(".")[0])}
        rows = [row for row in rows if row[0] == prefix or row[0].startswith(f"{prefix}.")]
        if not rows:
            raise click.UsageError(f"no such setting: {prefix!r}{hint(prefix, known)}")
    if as_json:
        print_json({"settings": [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]})
    else:
        click.echo(table(("KEY", "VALUE", "FROM"), [(key, clean(value), origin) for key, value, origin in rows]))


@verb(
    "path",
    ("jobsup config path", "the file that is read"),
    ("vi $(jobsup config path)", "edit it"),
    group=config,
)
def path(here: Here) -> None:
    """Print the absolute path of the configuration that is read here."""
    click.echo(here.path().absolute())
