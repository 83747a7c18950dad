"""Starting a command or a script as a process in a session of its own."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from jobsup.config.scripts import script_argv
from jobsup.config.sizes import format_size
from jobsup.model import Claim, JobKind, JobSpec
from jobsup.runtime.cgroups import Group
from jobsup.worker import process
from jobsup.worker.account import Account, own_home
from jobsup.worker.confinement import PLAIN, Confinement, Wrapper, confinement_of, wrapped
from jobsup.worker.environment import base_environment, job_environment
from jobsup.worker.failure import NotStartedError, explain
from jobsup.worker.grouping import Grouping
from jobsup.worker.process import Process
from jobsup.worker.run import SHELL_SIGNAL
from jobsup.worker.secrets import secret_commands

SHELL = "/bin/sh"
_OUT_OF_MEMORY = "ran out of memory"


@dataclass(frozen=True, slots=True)
class Start:
    """All that a spawn needs."""

    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    stdin: str = ""
    """What it reads; empty: nothing, from /dev/null."""
    confinement: Confinement = PLAIN
    secret_commands: list[tuple[str, list[str]]] = field(default_factory=list)
    """Variables that are still to be had, by these commands."""
    grouping: Grouping = field(default_factory=Grouping)

    @property
    def needs_wrapper(self) -> bool:
        return self.confinement.needs_wrapper or bool(self.secret_commands)


@dataclass(slots=True)
class Spawned:
    """A process that was started, as itself or as the exec wrapper that becomes it."""

    process: Process
    start: Start
    group: Group | None = None
    """The control group it is in."""
    wrapper: Wrapper | None = None
    """What the exec wrapper has to say; None: there was none."""

    def complaint(self) -> NotStartedError | None:
        """Say, once the process has ended, why it never became the job; None: it did."""
        if self.wrapper is None:
            return None
        return self.wrapper.complaint(lambda error: _explain(error, self.start), self.start.cwd)

    def ran_out_of_memory(self) -> str:
        """Say, once it has ended, that the kernel has ended a process of it for want of memory; empty: it has not.

        A plain run is asked only when it was killed: its worker's group, which it shares, counts for all of its runs.
        """
        if self.group is None:
            is_killed = self.process.returncode in (-signal.SIGKILL, SHELL_SIGNAL + signal.SIGKILL)
            return _OUT_OF_MEMORY if is_killed and self.start.grouping.is_short_of_memory() else ""
        if not self.group.take_oom_kills():
            return ""
        most, peak = self.start.confinement.memory_max, self.group.memory_peak()
        limit = "" if most is None else f": its memory_max is {format_size(most)}"
        return f"{_OUT_OF_MEMORY}{limit}" + ("" if peak is None else f", at its peak it had {peak >> 20} MiB")

    def close(self) -> None:
        """Let go of what was ours of it, once it has ended."""
        if self.group is not None:
            self.start.grouping.close(self.group)
        if self.wrapper is not None:
            self.wrapper.close()


def prepare(claim: Claim, instance: str, grouping: Grouping, secrets: dict[str, str]) -> Start:
    """Work out how a run is started. NotStartedError when its definition does not fit this machine."""
    job = claim.job
    confinement = confinement_of(job)
    return Start(
        argv=argv(job),
        cwd=working_folder(job, confinement.account),
        environment=job_environment(claim, instance, confinement.account, secrets),
        stdin=job.stdin,
        confinement=confinement,
        secret_commands=secret_commands(job),
        grouping=grouping,
    )


def argv(job: JobSpec) -> tuple[str, ...]:
    """Return the words that start a job. NotStartedError when there are none."""
    if job.kind is JobKind.SCRIPT and job.script is not None:
        return (*_script_words(job.script), *job.args)
    if isinstance(job.command, str):
        return (SHELL, "-c", job.command)
    if job.command:
        return job.command
    raise NotStartedError(f'job "{job.name}" has no command')


def working_folder(job: JobSpec, account: Account | None) -> str:
    """Return where the job runs: its `cwd`, else the home of whoever it runs as, else the root folder."""
    if job.cwd is not None:
        return job.cwd
    home = own_home() if account is None else account.home
    return home if os.path.isdir(home) else "/"  # noqa: PTH112  (asked for each run, at a fifth of the price)


def spawn(start: Start, stdout: int, stderr: int, *, keep: tuple[int, ...] = ()) -> Spawned:
    """Start the process with these descriptors, and those of `keep`; NotStartedError says why it could not be."""
    stdin = _stdin(start.stdin)
    group = start.grouping.open(start.confinement)
    try:
        if start.needs_wrapper:
            return _spawn_wrapped(start, group, (stdin, stdout, stderr), keep)
        child = process.spawn(start.argv, start.cwd, start.environment, (stdin, stdout, stderr), keep)
        return Spawned(child, start)
    except BaseException as error:
        if group is not None:
            start.grouping.close(group)
        if isinstance(error, OSError):
            raise _explain(error, start) from None
        if isinstance(error, ValueError):
            raise NotStartedError(f"cannot start {start.argv[0]}: {error}") from None
        raise
    finally:
        if stdin >= 0:
            os.close(stdin)


def _spawn_wrapped(start: Start, group: Group | None, streams: tuple[int, int, int], keep: tuple[int, ...]) -> Spawned:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    order_fd = -1
    try:
        order = {
            **start.confinement.order(group),
            "argv": list(start.argv),
            "cwd": start.cwd,
            "environment": start.environment,
            "secret_commands": start.secret_commands,
            "helper_environment": base_environment("", None) if start.secret_commands else {},
        }
        words, environment, order_fd = wrapped(order, writing)
        child = process.spawn(words, "/", environment, streams, (*keep, order_fd, writing))
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        if order_fd >= 0:
            os.close(order_fd)
    return Spawned(child, start, group, Wrapper(reading))


def _stdin(text: str) -> int:
    """Open a memory file with the text, to be read from its begin; -1 when there is none."""
    if not text:
        return -1
    fd = os.memfd_create("jobsup-stdin", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(text.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def open_handle(child: Process) -> int:
    """Open the descriptor that tells when the process exits; without one the process must not stay."""
    try:
        return os.pidfd_open(child.pid)
    except OSError as error:
        child.kill()
        child.wait()
        raise explain(error, "the run") from None


def _script_words(script: str) -> tuple[str, ...]:
    try:
        words = script_argv(script)
    except OSError as error:
        raise NotStartedError(f"script {script}: {error.strerror}") from None
    if words is None:
        raise NotStartedError(f"script {script}: is not executable and its extension is not known: chmod +x it")
    return words


def _explain(error: OSError, start: Start) -> NotStartedError:
    program = start.argv[0]
    if error.errno == errno.E2BIG:
        return NotStartedError(f"cannot start {program}: its arguments and environment are too long for the kernel")
    if not Path(start.cwd).is_dir():
        return NotStartedError(f"its folder {start.cwd} does not exist")
    if error.filename == start.cwd:
        return NotStartedError(f"its folder {start.cwd} cannot be entered: {error.strerror}")
    if error.errno == errno.ENOENT and Path(start.cwd, program).is_file():
        return NotStartedError(f"cannot start {program}: the interpreter its first line names does not exist")
    return explain(error, program)
