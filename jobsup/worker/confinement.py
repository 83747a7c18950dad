"""What a job's process is given besides its program: whose it is, its limits, and its ranks."""

from __future__ import annotations

import marshal
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobsup.model import IoClass, JobSpec, Reason
from jobsup.runtime.cgroups import Group
from jobsup.worker.account import Account, find_account
from jobsup.worker.environment import MARKS
from jobsup.worker.failure import NotStartedError

UMASK_OF_ANOTHER_USER = 0o077
READ_BYTES_MAX = 64 << 10
KNOWN_MAX = 1000
LENGTH_BYTES = 4
"""In front of each message of a wrapper."""

_PROGRAM = (
    f"import sys; sys.path.append({str(Path(__file__).parent)!r}); "
    "from exec_main import main; sys.exit(main(sys.argv[1:]))"
)
"""Imported, and not run by its path: so it is compiled once and not each time, and its package is not loaded."""
_IO_CLASSES = {IoClass.REALTIME: 1, IoClass.BEST_EFFORT: 2, IoClass.IDLE: 3}
_IO_CLASS_SHIFT = 13
_IO_PRIORITY_DEFAULT = 4


@dataclass(frozen=True, slots=True)
class Confinement:
    """All that an exec wrapper does for a job; equal ones may share a runner."""

    account: Account | None = None
    """Whose environment and folder it has; None: the worker's."""
    umask: int | None = None
    nice: int | None = None
    ioprio: int | None = None
    """As the kernel takes it: class and priority in one number."""
    oom_score_adjust: int | None = None
    memory_max: int | None = None
    tasks_max: int | None = None
    cpu_quota: int | None = None
    """Per cent of one processor."""
    limits: tuple[tuple[int, int], ...] = ()
    """Resource limits: (RLIMIT_..., most)."""

    @property
    def needs_wrapper(self) -> bool:
        """It asks for something that only the process itself can do, before it becomes the job."""
        return self is not PLAIN and self != PLAIN and (self.changes_account or replace(self, account=None) != PLAIN)

    @property
    def changes_account(self) -> bool:
        return self.account is not None and not self.account.is_ours

    def order(self, group: Group | None) -> dict[str, Any]:
        """Say it in the wrapper's words; what the control group holds it to needs no limit besides."""
        controllers = frozenset() if group is None else group.controllers
        account = self.account if self.changes_account else None
        limits = list(self.limits)
        if self.tasks_max is not None and "pids" not in controllers:
            limits.append((resource.RLIMIT_NPROC, self.tasks_max))
        # Private memory, not the address space: many programs reserve far more of that than they ever use.
        memory = [] if self.memory_max is None or "memory" in controllers else [(resource.RLIMIT_DATA, self.memory_max)]
        return {
            "cgroup": "" if group is None else group.members,
            "account": None if account is None else (account.uid, account.gid, list(account.groups)),
            "is_hardened": account is not None,
            "umask": UMASK_OF_ANOTHER_USER if self.umask is None and account is not None else self.umask,
            "nice": self.nice,
            "ioprio": self.ioprio,
            "oom_score_adjust": self.oom_score_adjust,
            "limits": limits,
            "memory_limits": memory,
        }


PLAIN = Confinement()


def confinement_of(job: JobSpec) -> Confinement:
    """Return what a job asks for. NotStartedError when its user or group is none of this machine's, or not for us."""
    known = _known.get(id(job))
    if known is not None and known[0] is job:
        return known[1]
    account = find_account(job.user, job.group)
    found = _confinement(job, account)
    if account is None:  # whose account it is may change
        if len(_known) >= KNOWN_MAX:
            _known.clear()
        _known[id(job)] = job, found
    return found


def _confinement(job: JobSpec, account: Account | None) -> Confinement:
    found = Confinement(
        account=account,
        umask=None if job.umask is None else int(job.umask, 8),
        nice=job.nice,
        ioprio=_ioprio(job),
        oom_score_adjust=job.oom_score_adjust,
        memory_max=job.memory_max,
        tasks_max=job.tasks_max,
        cpu_quota=None if job.cpu_quota is None else int(job.cpu_quota.rstrip("%")),
        limits=tuple(_limits(job)),
    )
    return PLAIN if found == PLAIN else found


_known: dict[int, tuple[JobSpec, Confinement]] = {}
"""What definitions in use ask for, by their identity: they are not made anew for each run."""


def wrapped(order: dict[str, Any], complaint: int) -> tuple[list[str], dict[str, str], int]:
    """Return the argv and the environment of a wrapper that follows the order, and a descriptor it must inherit.

    Of the job's environment it has the marks alone: what else is in there may change what a program does.
    """
    fd = os.memfd_create("jobsup-exec", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(marshal.dumps(order))
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(fd), str(complaint), str(os.getpid())]
    marks = {name: order["environment"][name] for name in MARKS if name in order["environment"]}
    return argv, marks, fd


class Wrapper:
    """Our end of the pipe on which an exec wrapper speaks until it has become the job."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._heard = b""
        self._secrets: list[str] = []
        self._complaint: tuple[str, int, str] | None = None

    def secrets(self) -> list[str]:
        """Return the values of secrets that it has fetched since this was last asked: all, before the job prints."""
        self._listen()
        found, self._secrets = self._secrets, []
        return found

    def complaint(self, of_exec: Callable[[OSError], NotStartedError], cwd: str) -> NotStartedError | None:
        """Return, once it has ended, why it did not become the job; None: it did.

        `of_exec` explains what went wrong with the program or its folder, as for a job that needs no wrapper.
        """
        self._listen()
        if self._complaint is None:
            return None
        step, code, text = self._complaint
        if step in ("program", "its folder"):
            return of_exec(OSError(code, text, cwd if step == "its folder" else None))
        if step.startswith("secret "):
            return NotStartedError(f"{step}: {text}", Reason.SPAWN)  # whatever has it may be away for a moment
        return NotStartedError(f"cannot set {step}: {text}", Reason.INTERNAL if code == 0 else Reason.NOT_RUNNABLE)

    def close(self) -> None:
        os.close(self._fd)

    def _listen(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._fd, READ_BYTES_MAX):
                self._heard += data
        while len(self._heard) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._heard[:LENGTH_BYTES])
            if len(self._heard) < end:
                return
            kind, said = marshal.loads(self._heard[LENGTH_BYTES:end])  # noqa: S302  (no job ever holds this pipe)
            self._heard = self._heard[end:]
            if kind == "secret":
                self._secrets.append(said)
            else:
                self._complaint = said


def _ioprio(job: JobSpec) -> int | None:
    if job.io_scheduling_class is None:
        return None
    priority = _IO_PRIORITY_DEFAULT if job.io_scheduling_priority is None else job.io_scheduling_priority
    if job.io_scheduling_class is IoClass.IDLE:
        priority = 0
    return _IO_CLASSES[job.io_scheduling_class] << _IO_CLASS_SHIFT | priority


def _limits(job: JobSpec) -> list[tuple[int, int]]:
    values: tuple[tuple[int, int | timedelta | None], ...] = (
        (resource.RLIMIT_NOFILE, job.limit_nofile),
        (resource.RLIMIT_CPU, job.limit_cpu),
        (resource.RLIMIT_FSIZE, job.limit_fsize),
        (resource.RLIMIT_CORE, job.limit_core),
    )
    return [(which, _number(value)) for which, value in values if value is not None]


def _number(value: int | timedelta) -> int:
    return max(1, round(value.total_seconds())) if isinstance(value, timedelta) else value
