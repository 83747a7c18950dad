"""The first word of a command: which file has the verb, and how every way of ending becomes an exit code."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from jobsup.cli.here import Here
from jobsup.cli.services import mend_streams
from jobsup.cli.verb import Noun, config_option
from jobsup.errors import ExitCode, JobsupError
from jobsup.version import VERSION

PROGRAM = "jobsup"
COMPLETION_VARIABLE = "_JOBSUP_COMPLETE"
BROKEN_PIPE = 128 + 13
"""What a shell sees of any program that SIGPIPE ended."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A verb: its place in the help, the module and the object in it, and the line the help says of it."""

    section: str
    module: str
    attribute: str
    summary: str


_SETUP, _RUNNING, _ACCESS, _JOBS, _RUNS = "Set up", "The supervisor", "The portal", "Jobs", "Runs"

VERBS: dict[str, Entry] = {
    "init": Entry(_SETUP, "setup", "init", "Write a commented starter configuration."),
    "check": Entry(_SETUP, "setup", "check", "Report all problems at once; preview the next runs."),
    "config": Entry(_SETUP, "settings", "config", "Show the effective settings and where each is from."),
    "import": Entry(_SETUP, "importing", "import_", "Bring over jobs of cron, systemd or another portal."),
    "export": Entry(_SETUP, "exporting", "export", "Print jobs of the database as TOML or as a crontab."),
    "db": Entry(_SETUP, "db", "db", "Upgrade or check the database schema."),
    "systemd": Entry(_SETUP, "systemd", "systemd", "Print a systemd unit for this installation."),
    "completion": Entry(_SETUP, "shell", "completion", "Print a completion script for bash, zsh or fish."),
    "version": Entry(_SETUP, "shell", "version", "Print the version."),
    "start": Entry(_RUNNING, "supervise", "start", "Run the supervisor in the foreground."),
    "stop": Entry(_RUNNING, "supervise", "stop", "Drain and stop it."),
    "restart": Entry(_RUNNING, "supervise", "restart", "Drain it and start it again, with the same process id."),
    "reload": Entry(_RUNNING, "supervise", "reload", "Take over the changed configuration; keep the old if it is bad."),
    "scale": Entry(_RUNNING, "supervise", "scale", "Change the number of workers."),
    "status": Entry(_RUNNING, "status", "status_", "Show whether all is well."),
    "workers": Entry(_RUNNING, "workers", "workers", "List the workers of all hosts."),
    "scheduler": Entry(_RUNNING, "supervise", "scheduler", "Run a scheduler alone, in the foreground."),
    "worker": Entry(_RUNNING, "supervise", "worker", "Run a worker alone, in the foreground."),
    "portal": Entry(_RUNNING, "supervise", "portal", "Run a portal alone, in the foreground."),
    "user": Entry(_ACCESS, "access", "user", "Make and change users of the portal."),
    "token": Entry(_ACCESS, "access", "token", "Make and revoke tokens of programs."),
    "audit": Entry(_ACCESS, "access", "audit", "Show who did what."),
    "list": Entry(_JOBS, "jobs", "list_", "List the jobs."),
    "show": Entry(_JOBS, "jobs", "show", "Show everything about one job."),
    "next": Entry(_JOBS, "upcoming", "next_", "Show the next runs."),
    "why": Entry(_JOBS, "why", "why", "Say why a job ran, or did not."),
    "forecast": Entry(_JOBS, "forecast", "forecast", "Show what the days to come will ask for."),
    "explain": Entry(_JOBS, "explain", "explain", "Say what a schedule means, and when it fires."),
    "save": Entry(_JOBS, "keeping", "save", "Save a job that stands in no file."),
    "remove": Entry(_JOBS, "keeping", "remove", "Remove a job that stands in no file."),
    "pause": Entry(_JOBS, "pausing", "pause", "Stop jobs from running by their schedule."),
    "resume": Entry(_JOBS, "pausing", "resume", "Let paused jobs run again."),
    "run": Entry(_RUNS, "run", "run", "Run a job now."),
    "backfill": Entry(_RUNS, "backfill", "backfill", "Run a job for ticks of a time gone by."),
    "runs": Entry(_RUNS, "runs", "runs", "List runs, the newest first."),
    "logs": Entry(_RUNS, "logs", "logs", "Print what a run printed."),
    "cancel": Entry(_RUNS, "runs", "cancel", "End runs that wait or run."),
    "retry": Entry(_RUNS, "runs", "retry", "Run an ended run once more."),
}


class LazyGroup(Noun):
    """The top group: a verb's module is imported when that verb is asked for, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (the signature is click's)
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (as above)
        entry = VERBS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"jobsup.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)  # noqa: S101  (the table names commands only)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no such command: {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (as above)
        for section in dict.fromkeys(entry.section for entry in VERBS.values()):
            with formatter.section(section):
                rows = [(name, entry.summary) for name, entry in VERBS.items() if entry.section == section]
                formatter.write_dl(rows)


@click.command(
    cls=LazyGroup,
    examples=(
        ("jobsup init && jobsup start", "write a starter file and run it"),
        ("jobsup run backup --follow", "run a job now and watch it"),
    ),
    epilog="Exit codes: 0 ok, 1 failed or unhealthy, 2 usage, 3 not running, 4 not found, 5 denied, "
    "6 conflict, 7 invalid configuration; `run --wait` ends with the job's own.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@config_option
@click.version_option(VERSION, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """The scheduled-job supervisor: one command schedules, runs, records and survives."""
    ctx.ensure_object(Here)


def run(args: Sequence[str]) -> int:
    """Do what the words say; return the exit code. Every expected fault is a line on standard error."""
    mend_streams()
    if COMPLETION_VARIABLE in os.environ:
        cli.main(args=list(args), prog_name=PROGRAM)
    try:
        code = _invoke(args)
        sys.stdout.flush()
    except (KeyboardInterrupt, OSError) as error:
        return fault(error)
    return code


def fault(error: JobsupError | OSError | KeyboardInterrupt) -> int:
    """Say what a command ended with, as far as it needs a word; return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.CANCELLED
    if isinstance(error, OSError):
        return _output_fault(error)
    if not error.is_told:
        complain(str(error))
    return error.exit_code


def _invoke(args: Sequence[str]) -> int:
    try:
        with cli.make_context(PROGRAM, list(args)) as ctx:
            cli.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return ExitCode.CANCELLED
    except click.ClickException as error:
        return _usage_fault(error)
    except JobsupError as error:
        return fault(error)
    except UnicodeEncodeError as error:
        complain(f"{error.object!r} is not UTF-8 text, which the database takes alone")
        return ExitCode.USAGE
    return ExitCode.OK


def _usage_fault(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return ExitCode.OK
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else PROGRAM
    complain(f"{error.format_message().rstrip('.')} (see `{path} --help`)")
    return ExitCode.USAGE


def complain(text: str) -> None:
    """Say what is wrong on standard error, each line marked as ours and free of control characters."""
    from jobsup.cli.text import clean

    for line in text.splitlines():
        click.echo(f"{PROGRAM}: {clean(line)}", err=True)


def _output_fault(error: OSError) -> int:
    """End quietly when the reader of our output has left; say what is wrong with a file or a disk."""
    if error.errno == errno.EPIPE:
        # What is still buffered has nowhere to go; without this the interpreter complains at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    name = f"{error.filename}: " if error.filename else ""
    complain(f"{name}{error.strerror or error}")
    return ExitCode.DENIED if isinstance(error, PermissionError) else ExitCode.FAILED
