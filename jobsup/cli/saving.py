"""Where imported jobs go: to standard output, or to a file beside the configuration; and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobsup.cli.here import Here
from jobsup.cli.main import complain
from jobsup.cli.text import clean, plural, say
from jobsup.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from jobsup.importing.draft import Fault, Harvest
    from jobsup.importing.naming import Names

_Function = TypeVar("_Function", bound=Callable[..., Any])


def write_options(function: _Function) -> _Function:
    """Let a verb save what it would print."""
    force = click.option("--force", is_flag=True, help="Replace the file of --write.")
    write = click.option(
        "--write",
        metavar="[FILE|DIR]",
        is_flag=False,
        flag_value="",
        help="Save the TOML there, instead of printing it; alone: in jobs.d/ beside the configuration.",
    )
    return write(force(function))


class Saving:
    """Where the jobs go: to standard output, or to a file beside the configuration."""

    def __init__(self, here: Here, write: str | None, force: bool) -> None:
        self._wish = write
        self._force = force
        self._config = _config_path(here)
        if force and write is None:
            raise UsageError("--force goes with --write")

    def source_names(self, source: str) -> Names:
        """Return what gives out the names that nobody has where the jobs are going."""
        from jobsup.importing import naming, saving

        return naming.Names(saving.taken_names(self._config, self._target(source)))

    def save(self, source: str, harvest: Harvest, header: tuple[str, ...]) -> bool:
        """Tell the notes and the faults, print or save the jobs; say whether the configuration reads them now."""
        from jobsup.importing import saving, toml_text

        _tell(harvest)
        text = toml_text.write(harvest.drafts, harvest.faults, header=header)
        path = self._target(source)
        if path is None or not harvest.drafts:
            click.echo("" if path else text, nl=False)
            return False
        saving.save(text, path, force=self._force, config=self._config)
        click.echo(path)
        if self._config is None or saving.is_included(path, self._config):
            return self._config is not None
        say(saving.include_advice(path, self._config))
        return False

    def finish(self, ctx: click.Context, harvest: Harvest) -> None:
        """Say how many there were, and end with 1 when there was a fault."""
        missing = f", {len(harvest.faults)} not taken over" if harvest.faults else ""
        say(f"{plural(len(harvest.drafts), 'job')}{missing}")
        ctx.exit(ExitCode.FAILED if harvest.faults else ExitCode.OK)

    def _target(self, source: str) -> Path | None:
        from jobsup.importing import saving

        return None if self._wish is None else saving.target(self._wish, source, self._config)


def _config_path(here: Here) -> Path | None:
    """Return the configuration, if there is one; a wrong `-c` is an error all the same."""
    try:
        return here.path()
    except ConfigError:
        if here.option is not None:
            raise
        return None


def _tell(harvest: Harvest) -> None:
    for draft in harvest.drafts:
        for note in draft.notes:
            say(clean(f"{draft.place}: {draft.name}: {note}"))
    complain_of(harvest.faults)


def complain_of(faults: tuple[Fault, ...]) -> None:
    for fault in faults:
        complain(clean(str(fault)))
