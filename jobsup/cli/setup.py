"""`jobsup init` and `jobsup check`: from nothing to a configuration that is right."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, plural, print_json, say, table
from jobsup.cli.times import away, local
from jobsup.cli.verb import json_option, verb
from jobsup.clock import SystemClock, rfc3339
from jobsup.config.search import FILE_NAME
from jobsup.errors import ConfigError, ConflictError, ExitCode, Problem

if TYPE_CHECKING:
    from jobsup.config.settings import Config

PREVIEW_ROWS_MAX = 10


@verb(
    "init",
    ("jobsup init", "write ./jobsup.toml"),
    ("jobsup init /etc/jobsup/jobsup.toml", "write it there"),
)
@click.argument("file", required=False, metavar="[FILE]")
def init(here: Here, file: str | None) -> None:
    """Write a commented starter configuration; a file that exists is left alone."""
    from jobsup.config.starter import starter_toml

    path = Path(file or here.option or FILE_NAME)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConflictError(f"{path} exists: edit it, move it away, or name another file") from None
    try:
        with target:
            target.write(starter_toml())
    except OSError:
        path.unlink()  # a half-written one would be read
        raise
    flag = "" if str(path) == FILE_NAME else f" -c {path}"
    click.echo(path)
    say(f"next: `jobsup check{flag}`, then `jobsup start{flag}`")


@verb(
    "check",
    ("jobsup check", "report all problems at once, and preview the next runs"),
    ("jobsup check -c new.toml --strict", "let warnings count as errors"),
)
@click.option("--strict", is_flag=True, help="End with 7 for warnings too.")
@json_option
@click.pass_context
def check(ctx: click.Context, here: Here, strict: bool, as_json: bool) -> None:
    """Read the configuration as a start would, without starting anything.

    Problems go to standard error, one a line, with their place; the next runs to standard output. A warning that
    many jobs get is one line; --json lists each.
    """
    config: Config | None = None
    try:
        config = here.config()
        problems = config.warnings
    except ConfigError as error:
        problems = error.problems
    is_bad = config is None or (strict and bool(problems))
    ticks = _preview(config) if config is not None else []
    if as_json:
        print_json({"ok": not is_bad, "problems": [asdict(each) for each in problems], "next": _as_json(ticks)})
    else:
        _print_problems(problems)
        if config is not None:
            _print_preview(config, ticks)
        if is_bad:
            say(f"{plural(len(problems), 'problem')} found")
    ctx.exit(ExitCode.CONFIG if is_bad else ExitCode.OK)


def _print_problems(problems: tuple[Problem, ...]) -> None:
    from jobsup.config.report import told_together

    for text in told_together(problems):
        say("\n".join(clean(line) for line in text.splitlines()))


def _preview(config: Config) -> list[tuple[datetime, str]]:
    """Return the next run of every job that has one, the soonest first."""
    from jobsup.schedule import upcoming

    now = SystemClock().now()
    ticks = [
        (tick, job.name) for job in config.jobs if job.enabled for tick in upcoming(job.schedule, now, 1, name=job.name)
    ]
    return sorted(ticks)


def _as_json(ticks: list[tuple[datetime, str]]) -> list[dict[str, Any]]:
    return [{"job": name, "at": rfc3339(tick)} for tick, name in ticks]


def _print_preview(config: Config, ticks: list[tuple[datetime, str]]) -> None:
    now = SystemClock().now()
    say(f"{config.path}: {plural(len(config.jobs), 'job')}, of which {len(ticks)} will run by schedule")
    if not ticks:
        return
    click.echo(
        table(("JOB", "NEXT RUN", ""), [(name, local(at), away(at, now)) for at, name in ticks[:PREVIEW_ROWS_MAX]])
    )
    if len(ticks) > PREVIEW_ROWS_MAX:
        say(f"and {len(ticks) - PREVIEW_ROWS_MAX} more")
