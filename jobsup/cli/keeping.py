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
    from jobsup.actions.operations.jobs import SAVE_JOB
    from jobsup.errors import UsageError

    toml = file.read(TEXT_CHARS_MAX + 1)
    if len(toml) > TEXT_CHARS_MAX:
        raise UsageError(f"a job's table has at most {TEXT_CHARS_MAX} characters")
    with here.gateway() as gate:
        saved = gate.ask(SAVE_JOB, toml=toml, dry_run=dry_run or None)
    changes = saved["changes"]
    if as_json:
        print_json({key: saved[key] for key in ("job", "changes", "saved")})
    else:
        for change in changes:
            click.echo(clean(change))
        say(f"{clean(saved['job'])}: {'would be saved' if dry_run else 'saved'}" if changes else "nothing changes")
    for warning in saved["warnings"]:
        say(f"warning: {clean(warning)}")


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
    from jobsup.actions.operations.jobs import REMOVE_JOB

    with here.gateway() as gate:
        removed = gate.ask(REMOVE_JOB, name=job)
    if as_json:
        print_json(removed)
    else:
        click.echo(f"{clean(job)}: removed")
