"""`jobsup systemd`: the unit file that fits this installation."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import click

from jobsup.cli.here import Here
from jobsup.cli.text import say
from jobsup.cli.unit import STOP_MARGIN_SECONDS, Unit
from jobsup.cli.verb import verb
from jobsup.errors import ConfigError, UsageError

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", re.ASCII)


@verb(
    "systemd",
    ("jobsup systemd > /etc/systemd/system/jobsup.service", "install it as a service"),
    ("jobsup systemd --user jobsup -c /srv/jobs.toml", "for a user of its own"),
)
@click.option("--user", metavar="NAME", help="Run as this user; else as root.")
def systemd(here: Here, user: str | None) -> None:
    """Print a systemd unit for this program and this configuration.

    Then: systemctl daemon-reload && systemctl enable --now jobsup
    """
    if user is not None and not _USER.fullmatch(user):
        raise UsageError(f"{user!r} is no user name")
    click.echo(_unit(here, user).text(), nl=False)


def _unit(here: Here, user: str | None) -> Unit:
    """Fit the unit to the configuration, where there is one that can be read."""
    program = _program()
    try:
        config = here.config()
    except ConfigError as error:
        path = str(Path(here.option).absolute()) if here.option else Unit().config
        say(f"warning: the unit is for {path}, which is not right yet: {error.problems[0]}")
        return Unit(program=program, config=path, user=user)
    grace = max((job.kill_grace.total_seconds() for job in config.jobs), default=0.0)
    drain = config.supervisor.drain_timeout.total_seconds()
    return Unit(
        program=program,
        config=config.path,
        user=user,
        set_name=config.set,
        stop_seconds=math.ceil(drain + grace) + STOP_MARGIN_SECONDS,
    )


def _program() -> str:
    """Return the command that is running, or the one beside this Python."""
    called = Path(sys.argv[0])
    if called.name == "jobsup" and called.is_file():
        return str(called.absolute())
    return str(Path(sys.executable).parent / "jobsup")
