"""The installed command, run to its end: as it is, or in a forked copy of the test process that has it loaded."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NoReturn

import jobsup as package

JOBSUP = Path(sys.executable).parent / "jobsup"

COMMAND_SECONDS_MAX = 60


def load() -> None:
    """Load all of jobsup, for the processes that are forked from this one: else each verb loads its part anew."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def jobsup(
    *arguments: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a verb with no variable of jobsup's own set, in UTC, and return what it said."""
    return subprocess.run(
        [JOBSUP, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS_MAX,
        cwd=cwd,
        env=_environment(env),
        input=stdin,
    )


def forked(
    *arguments: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Do the same without the start of an interpreter, for tests that run many verbs."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        pid = os.fork()
        if pid == 0:
            _become(arguments, cwd, _environment(env), (given, out, err))
        code = _wait(pid)
        return subprocess.CompletedProcess([*arguments], code, _text(out), _text(err))


def at_once(works: Sequence[Callable[[], object]]) -> list[int]:
    """Do each in a forked copy of this process, all at the same time; returns their exit codes, 1 for an error."""
    begin, wait = os.pipe()[::-1]
    pids = []
    for work in works:
        pids.append(os.fork())
        if pids[-1] == 0:
            _do(work, wait, begin)
    os.close(wait)
    os.close(begin)
    return [_wait(pid) for pid in pids]


def _do(work: Callable[[], object], wait: int, begin: int) -> NoReturn:
    code = 1
    try:
        os.close(begin)
        os.read(wait, 1)  # its end: all are there
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _environment(more: dict[str, str] | None) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("JOBSUP_", "_JOBSUP"))}
    return {**clean, "TZ": "UTC", **(more or {})}


def _become(
    arguments: tuple[str, ...], cwd: Path | None, environment: dict[str, str], streams: tuple[IO[bytes], ...]
) -> None:
    code = 99
    try:
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        if cwd is not None:
            os.chdir(cwd)
        for fd, stream in enumerate(streams):
            os.dup2(stream.fileno(), fd)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(fd, mode, closefd=False), encoding="utf-8", write_through=fd == 2)
            for fd, mode in ((0, "rb"), (1, "wb"), (2, "wb"))
        )
        sys.argv = [str(JOBSUP), *arguments]
        from jobsup.cli.main import run

        code = run(arguments)
        sys.stdout.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], COMMAND_SECONDS_MAX)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")
