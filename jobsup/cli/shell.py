"""`jobsup completion` and `jobsup version`: what a shell and a bug report ask for."""

from __future__ import annotations

import platform
import sqlite3

import click

from jobsup.cli.here import Here
from jobsup.cli.text import print_json
from jobsup.cli.verb import json_option, verb
from jobsup.version import VERSION


@verb(
    "completion",
    ('eval "$(jobsup completion bash)"', "complete in this shell"),
    ("jobsup completion fish > ~/.config/fish/completions/jobsup.fish", "complete in every fish"),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, here: Here, shell: str) -> None:  # noqa: ARG001  (every verb is handed it)
    """Print the script that lets a shell complete verbs, options and job names."""
    from click.shell_completion import get_completion_class

    from jobsup.cli.main import COMPLETION_VARIABLE, PROGRAM

    maker = get_completion_class(shell)
    if maker is None:
        raise click.UsageError(f"no completion for {shell}")
    complete = maker(ctx.find_root().command, {}, PROGRAM, COMPLETION_VARIABLE)
    click.echo(complete.source_template % complete.source_vars())


@verb(
    "version",
    ("jobsup version", "the version"),
    ("jobsup version --json", "with those of Python and SQLite"),
)
@json_option
def version(here: Here, as_json: bool) -> None:  # noqa: ARG001  (every verb is handed it)
    """Print the version."""
    if as_json:
        print_json({"version": VERSION, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version})
    else:
        click.echo(f"jobsup {VERSION}")
