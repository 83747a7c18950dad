"""Names of jobs on the command line, which a shell can complete."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
from click.shell_completion import CompletionItem

from jobsup.cli.here import Here
from jobsup.errors import JobsupError

if TYPE_CHECKING:
    JobType = click.ParamType[str]
else:  # only newer versions of click can be subscripted
    JobType = click.ParamType

COMPLETIONS_MAX = 500
COMPLETION_WAIT_SECONDS = 0.2


class JobName(JobType):
    """The name of a job; whether there is one is found out by the verb."""

    name = "job"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002  (the signature is click's)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  (as above)
        """Offer the jobs that begin so; a shell that completes must never see an error."""
        here = ctx.find_object(Here) or Here()
        try:
            return [CompletionItem(name) for name in _names(here, incomplete)]
        except (JobsupError, sqlite3.Error, OSError):
            return []


def _names(here: Here, beginning: str) -> list[str]:
    """Read names straight from a SQLite file: loading the store would make the shell wait."""
    scheme, _, path = here.peek().database_url.partition(":///")
    if not scheme.startswith("sqlite") or not os.path.isabs(path):  # noqa: PTH117  (a text, not a path yet)
        return []
    uri = f"file:{quote(path)}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=COMPLETION_WAIT_SECONDS)) as connection:
        rows = connection.execute(
            "SELECT name FROM job WHERE retired_at IS NULL AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
            (len(beginning), beginning, COMPLETIONS_MAX),
        )
        return [name for (name,) in rows]
