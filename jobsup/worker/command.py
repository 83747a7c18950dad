"""Starting a command or a script as a process in a session of its own."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobsup.config.scripts import script_argv
from jobsup.model import Claim, JobKind, JobSpec
from jobsup.worker.account import Account, find_account, own_home
from jobsup.worker.environment import job_environment
from jobsup.worker.failure import NotStartedError, explain

SHELL = "/bin/sh"
UMASK_OF_ANOTHER_USER = 0o077

_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True)
class Start:
    """All that a spawn needs."""

    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    account: Account | None
    """None: who the worker is."""


def prepare(claim: Claim, instance: str) -> Start:
    """Work out how a run is started. NotStartedError when its definition does not fit this machine."""
    job = claim.job
    account = None if job.user is None else find_account(job.user)
    return Start(
        argv=_argv(job),
        cwd=working_folder(job, account),
        environment=job_environment(claim, instance, account),
        account=account,
    )


def working_folder(job: JobSpec, account: Account | None) -> str:
    """Return where the job runs: its `cwd`, else the home of whoever it runs as, else the root folder."""
    if job.cwd is not None:
        return job.cwd
    home = own_home() if account is None else account.home
    return home if Path(home).is_dir() else "/"


def spawn(start: Start, stdout: int, stderr: int, *, keep: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    """Start the process with these descriptors, and those of `keep`; NotStartedError says why it could not be."""
    account = None if start.account is None or start.account.is_ours else start.account

    def start_it() -> subprocess.Popen[bytes]:
        # No preexec_fn anywhere: it would turn the cheap vfork into a fork of the whole worker.
        return subprocess.Popen(
            start.argv,
            cwd=start.cwd,
            env=start.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            close_fds=True,
            pass_fds=keep,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else account.groups,
            umask=-1 if account is None else UMASK_OF_ANOTHER_USER,
        )

    try:
        return start_it() if account is None or keep else _without_new_privileges(start_it)
    except OSError as error:
        raise _explain(error, start) from None
    except ValueError as error:
        raise NotStartedError(f"cannot start {start.argv[0]}: {error}") from None


def open_handle(process: subprocess.Popen[bytes]) -> int:
    """Open the descriptor that tells when the process exits; without one the process must not stay."""
    try:
        return os.pidfd_open(process.pid)
    except OSError as error:
        process.kill()
        process.wait()
        raise explain(error, "the run") from None


def _argv(job: JobSpec) -> tuple[str, ...]:
    if job.kind is JobKind.SCRIPT and job.script is not None:
        return (*_script_words(job.script), *job.args)
    if isinstance(job.command, str):
        return (SHELL, "-c", job.command)
    if job.command:
        return job.command
    raise NotStartedError(f'job "{job.name}" has no command')


def _script_words(script: str) -> tuple[str, ...]:
    try:
        words = script_argv(script)
    except OSError as error:
        raise NotStartedError(f"script {script}: {error.strerror}") from None
    if words is None:
        raise NotStartedError(f"script {script}: is not executable and its extension is not known: chmod +x it")
    return words


def _without_new_privileges(start_it: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Spawn from a thread that gave up gaining privileges: the flag is a thread's own, inherited, and for ever."""
    outcome: list[subprocess.Popen[bytes] | BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "cannot give up gaining privileges")  # noqa: TRY301  (handed over)
            outcome.append(start_it())
        except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
            outcome.append(error)

    thread = threading.Thread(target=run, name="spawn")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


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
