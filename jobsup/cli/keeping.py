"""`jobsup save` and `jobsup remove`: jobs that stand in no file."""

from __future__ import annotations

from typing import IO

import click

from jobsup.cli.here import Here
from jobsup.cli.names import JobName
from jobsup.cli.text import clean, print_json, say
from jobsup.cli.verb import json_option, verb

TEXT_CHARS_MAX = 1 << 20


@verb(
    "save",
    ("jobsup export backup > b.toml; jobsup save b.toml", "change a job made in the portal"),
    ("jobsup save --dry-run - < new.toml", "only say what is wrong, and what would change"),
)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only look at it.")
@json_option
def save(here: Here, *, file: IO[str], dry_run: bool, as_json: bool) -> None:
    """Save the one [[job]] table of a file into the database: a new job, or a change of one made so before.

    Such a job stands in no file that jobsup reads; `export` prints it. A job of the configuration is changed there.
    """
    from jobsup.actions import define
    from jobsup.errors import ConfigError, UsageError
    from jobsup.model import Origin

    text = file.read(TEXT_CHARS_MAX + 1)
    if len(text) > TEXT_CHARS_MAX:
        raise UsageError(f"a job's table has at most {TEXT_CHARS_MAX} characters")
    config = here.config()
    with here.database() as database:
        known = define.known_name(database, text)
        draft = define.look(database, config, text, name=known)
        if draft.spec is None:
            raise ConfigError(draft.problems)
        if not dry_run:
            define.save_job(database, config, text, origin=Origin.CLI, name=known, may_change_work=True)
    if as_json:
        print_json({"job": draft.spec.name, "changes": list(draft.changes), "saved": not dry_run})
    else:
        for change in draft.changes:
            click.echo(clean(change))
        say(f"{draft.spec.name}: {'would be saved' if dry_run else 'saved'}" if draft.changes else "nothing changes")
    for warning in draft.warnings:
        say(f"warning: {clean(str(warning))}")


@verb(
    "remove",
    ("jobsup remove backup", "take a job made in the portal out of service"),
    ("jobsup remove backup --json", "for a program"),
)
@click.argument("job", type=JobName())
@json_option
def remove(here: Here, *, job: str, as_json: bool) -> None:
    """Take a job that stands in no file out of service: it does not run any more, its history stays.

    What waits of it is cancelled, what runs goes on. A job of the configuration is removed there.
    """
    from jobsup.actions import define

    with here.database() as database:
        define.remove_job(database, job)
    if as_json:
        print_json({"job": job, "removed": True})
    else:
        click.echo(f"{job}: removed")
