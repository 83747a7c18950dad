"""Starting the processes, and speaking with the supervisor that runs."""

from __future__ import annotations

import os
import re
import select
from contextlib import suppress
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json
from jobsup.cli.verb import json_option, verb
from jobsup.errors import ExitCode, JobsupError, UnreachableError, UsageError

WORKERS_MAX = 1024
PING_SECONDS = 5.0
LOOK_MILLISECONDS = 100
"""How often a supervisor that starts again is asked whether it is up."""
_UP = ("running", "degraded")
_CHANGES = ("+ ", "~ ", "- ")
_SCALE = re.compile(r"(?:(workers?)=)?(\d+)", re.ASCII)


@verb(
    "start",
    ("jobsup start", "run what ./jobsup.toml says, until Ctrl-C"),
    ("jobsup start -c /etc/jobsup/jobsup.toml", "as a service does"),
)
@click.pass_context
def start(ctx: click.Context, here: Here) -> None:
    """Run the supervisor in the foreground: a scheduler, the workers, and all that keeps them alive.

    SIGTERM or Ctrl-C drains and stops it, a second one is faster; SIGHUP reloads.
    """
    from jobsup import app

    ctx.exit(app.start(str(here.path())))


@verb(
    "scheduler",
    ("jobsup scheduler -c jobsup.toml", "schedule on this host, run elsewhere"),
    ("JOBSUP_SUPERVISOR_NODE=a jobsup scheduler", "under a name of its own"),
)
@click.pass_context
def scheduler(ctx: click.Context, here: Here) -> None:
    """Run a scheduler alone, in the foreground; several share the work safely, one leads."""
    from jobsup import app

    ctx.exit(app.run_scheduler(str(here.path())))


@verb(
    "worker",
    ("jobsup worker -c jobsup.toml", "run jobs on this host"),
    ("JOBSUP_WORKER_QUEUES=heavy jobsup worker", "only those of one queue"),
)
@click.pass_context
def worker(ctx: click.Context, here: Here) -> None:
    """Run a worker alone, in the foreground; SIGTERM lets it finish what it runs."""
    from jobsup import app

    ctx.exit(app.run_worker(str(here.path())))


@verb(
    "portal",
    ("jobsup portal -c jobsup.toml", "see and mend jobs in a browser"),
    ("JOBSUP_PORTAL_PORT=9000 jobsup portal", "at another port"),
)
@click.pass_context
def portal(ctx: click.Context, here: Here) -> None:
    """Run a portal alone, in the foreground; any number of them on one database."""
    from jobsup import app

    ctx.exit(app.run_portal(str(here.path())))


@verb(
    "stop",
    ("jobsup stop", "let running jobs finish, then stop"),
    ("jobsup stop -c other.toml", "stop another instance"),
)
@click.pass_context
def stop(ctx: click.Context, here: Here) -> None:
    """Drain and stop the supervisor; return when it is gone.

    Jobs that still run when [supervisor] drain_timeout has passed are ended, and retried at the next start.
    """
    code = _ask(here, {"do": "stop"})
    _tell_audit(here, "supervisor.stop")
    if not code:
        _print_line("stopped")
    ctx.exit(code)


@verb(
    "restart",
    ("jobsup restart", "drain, then begin anew with the same process id"),
    ("jobsup restart -c other.toml", "restart another instance"),
)
@click.pass_context
def restart(ctx: click.Context, here: Here) -> None:
    """Drain the supervisor and start it again in its place, and return when it is up.

    For a new version, or a setting that reload refuses.
    """
    from jobsup.control import client

    pid = int(client.call(str(here.socket()), {"do": "ping"}, timeout=PING_SECONDS)["pid"])
    _tell_audit(here, "supervisor.restart")
    code = _ask(here, {"do": "restart"})
    ctx.exit(code or _await_return(here, pid))


@verb(
    "reload",
    ("jobsup reload", "validate, then take over what changed"),
    ("jobsup reload --dry-run", "only print what would change"),
)
@click.option("--dry-run", is_flag=True, help="Validate and print the changes; change nothing.")
def reload(here: Here, dry_run: bool) -> None:
    """Take over the changed configuration, and return when that is done.

    The changes are printed, `+` added, `~` changed, `-` removed. A configuration that is wrong changes nothing.
    Only processes whose settings changed are replaced; jobs that run go on.
    """
    from jobsup.actions.operations.hosts import RELOAD

    here.on_fault = lambda _fault: None  # the supervisor itself will say what is wrong
    with here.gateway(_print_line) as gate:
        gate.ask(RELOAD, dry_run=dry_run)


@verb(
    "scale",
    ("jobsup scale workers=8", "run eight workers until the next restart"),
    ("jobsup scale 0", "run no more jobs for now"),
)
@click.argument("count", metavar="workers=N")
@json_option
def scale(here: Here, count: str, as_json: bool) -> None:
    """Change the number of workers of the running supervisor; those that leave finish their jobs first."""
    match = _SCALE.fullmatch(count)
    if match is None or int(match[2]) > WORKERS_MAX:
        raise UsageError(f"{count!r}: write workers=N, with N from 0 to {WORKERS_MAX}")
    from jobsup.actions.operations.hosts import SCALE

    with here.gateway(_print_line) as gate:
        answer = gate.ask(SCALE, workers=int(match[2]))
    if as_json:
        print_json({key: value for key, value in answer.items() if key != "lines"})


def _await_return(here: Here, pid: int) -> int:
    """Wait until the process, which has begun anew, is up; 1 when it is gone instead, with a word on where to look."""
    from jobsup.control import client

    handle = os.pidfd_open(pid)
    try:
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        while not gone.poll(LOOK_MILLISECONDS):
            with suppress(UnreachableError):
                if client.call(str(here.socket()), {"do": "ping"}, timeout=PING_SECONDS)["state"] in _UP:
                    _print_line(f"running again, pid {pid}")
                    return ExitCode.OK
    finally:
        os.close(handle)
    click.echo(f"jobsup: process {pid} ended instead of starting again: its log says why", err=True)
    return ExitCode.FAILED


def _ask(here: Here, request: dict[str, Any]) -> int:
    """Send a request to the supervisor, print what it says as it comes, and return the exit code it gives."""
    from jobsup.control import client

    return int(client.call(str(here.socket()), request, on_line=_print_line).get("exit_code", 0))


def _tell_audit(here: Here, word: str) -> None:
    """Write down who did it; a database that cannot be reached has no say in whether a supervisor stops."""
    from jobsup.actions.people import requester
    from jobsup.store import audit

    with suppress(JobsupError), here.database() as database:
        audit.record(database, actor=requester(), origin="cli", verb=word, subject=here.peek().node)


def _print_line(line: str) -> None:
    """Print a change as data, and everything else as talk."""
    click.echo(clean(line), err=not line.startswith(_CHANGES))
