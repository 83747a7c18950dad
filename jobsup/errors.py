"""Every error a person can meet, with the exit code it ends a command with.

One table serves the command line and the API's problem types:

====  =====================================================
code  meaning
====  =====================================================
0     ok
1     the answer is no: unhealthy, failed
2     usage
3     not running, or not reachable
4     not found
5     denied
6     conflict: already running, overlap, paused
7     the configuration is invalid
====  =====================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a `jobsup` command ends with; `run --wait` ends with the job's own code instead."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    DENIED = 5
    CONFLICT = 6
    CONFIG = 7
    TIMEOUT = 124
    CANCELLED = 130


class JobsupError(Exception):
    """Base of all errors that are a sentence for a person: what, which, and what to do."""

    exit_code = ExitCode.FAILED
    is_told = False
    """Whether its lines have been shown already, as they came."""


class UsageError(JobsupError):
    """The words of a command or a call are off."""

    exit_code = ExitCode.USAGE


class UnreachableError(JobsupError):
    """Nothing is running there, or it does not answer."""

    exit_code = ExitCode.UNREACHABLE


class NotFoundError(JobsupError):
    """No job, run or worker of that name."""

    exit_code = ExitCode.NOT_FOUND


class DeniedError(JobsupError):
    """The caller may not do this."""

    exit_code = ExitCode.DENIED


class ConflictError(JobsupError):
    """Somebody else holds it, or its state forbids it."""

    exit_code = ExitCode.CONFLICT


class ScheduleError(JobsupError):
    """A schedule that cannot be read, or that never fires."""

    exit_code = ExitCode.CONFIG


class DatabaseError(JobsupError):
    """The database cannot be used as it is: folder missing, corrupt, newer schema. Waiting does not help."""

    exit_code = ExitCode.CONFIG


class DatabaseUnavailableError(DatabaseError):
    """The database does not answer now: locked, full, unreachable. It may answer later."""

    exit_code = ExitCode.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration, with its place."""

    message: str
    file: str = ""
    table: str = ""
    key: str = ""
    line: int | None = None
    warning: bool = False

    def __str__(self) -> str:
        where = " ".join(part for part in (self.table, self.key) if part)
        return ": ".join(part for part in (self.place, where, self.message) if part)

    @property
    def place(self) -> str:
        """The file, and the line where it is known."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


class ConfigError(JobsupError):
    """The configuration is invalid; it holds every problem, and its text shows one a line."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        """Carry the problems, not the text, over a process border."""
        return (ConfigError, (self.problems,))


_BY_CODE: dict[int, type[JobsupError]] = {
    error.exit_code: error
    for error in (JobsupError, UsageError, UnreachableError, NotFoundError, DeniedError, ConflictError)
}


def error_of(exit_code: int, text: str) -> JobsupError:
    """Return the error that an exit code stands for: for an answer from another process, or another machine."""
    if exit_code == ExitCode.CONFIG:
        return ConfigError(tuple(Problem(line) for line in text.splitlines()))
    return _BY_CODE.get(exit_code, JobsupError)(text)
