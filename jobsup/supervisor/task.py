"""Short work that the supervisor must not do itself: a forked child does it and hands back a value or an error."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jobsup.errors import JobsupError
from jobsup.events import emit
from jobsup.runtime import logs, procs
from jobsup.runtime.service import Loop
from jobsup.supervisor.exits import look
from jobsup.supervisor.spawn import close_other_fds, fork

TASK_SECONDS_MAX = 600.0
RESULT_BYTES_MAX = 64 << 20
READ_BYTES_MAX = 1 << 20


class TaskError(JobsupError):
    """The child died, took too long, or met an error that is no sentence for people."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: `error` is None exactly when `value` counts."""

    value: Any = None
    error: JobsupError | None = None


class Task:
    """One piece of work under way; calls back once, from the loop."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Any],
        on_done: Callable[[Outcome], None],
        loop: Loop,
        release: Callable[[], None],
    ) -> None:
        self.name = name
        self.expires_at = loop.monotonic() + TASK_SECONDS_MAX
        self._on_done = on_done
        self._loop = loop
        self._data = bytearray()
        self._killed_for = ""
        self._pipe, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(theirs, True)
        parent = os.getpid()

        def main() -> int:
            procs.set_pdeathsig(signal.SIGKILL)
            if os.getppid() != parent:
                return 1
            release()
            procs.set_name(name)
            close_other_fds((theirs, logs.stream().fileno()))
            logs.set_child(name)
            _send(theirs, _work(name, work))
            return 0

        try:
            self._process = fork(main, name)
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)
        assert self._process.pid is not None  # noqa: S101  # it has been started
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        loop.watch(self._pidfd, self._ended)
        loop.watch(self._pipe, self._readable)

    def check(self, now: float) -> float:
        """Kill it when it took too long; returns the seconds it has left."""
        if now >= self.expires_at:
            self.kill(f"took longer than {TASK_SECONDS_MAX:g} s")
        return max(0.0, self.expires_at - now)

    def kill(self, why: str) -> None:
        """End it; the callback still comes, with an error that says why."""
        self._killed_for = self._killed_for or why
        self.expires_at = float("inf")
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _readable(self) -> None:
        try:
            data = os.read(self._pipe, READ_BYTES_MAX)
        except BlockingIOError:
            return
        self._data += data
        if not data:
            self._loop.unwatch(self._pipe)
        elif len(self._data) > RESULT_BYTES_MAX:
            self.kill(f"handed back more than {RESULT_BYTES_MAX} bytes")
            self._data.clear()

    def _ended(self) -> None:
        end = look(self._process)
        if end is None:
            return
        self._read_rest()
        self._loop.unwatch(self._pipe)
        self._loop.unwatch(self._pidfd)
        os.close(self._pipe)
        os.close(self._pidfd)
        self._process.join()
        self._process.close()
        self._on_done(self._outcome(str(end)))

    def _read_rest(self) -> None:
        with suppress(BlockingIOError):
            while len(self._data) <= RESULT_BYTES_MAX and (data := os.read(self._pipe, READ_BYTES_MAX)):
                self._data += data

    def _outcome(self, end: str) -> Outcome:
        if self._killed_for:
            return Outcome(error=TaskError(f"{self.name}: {self._killed_for}"))
        try:
            value, error = pickle.loads(self._data)  # noqa: S301  # from our own forked child, over our own pipe
        except Exception:  # noqa: BLE001  # whatever is wrong with the bytes: there is no result
            return Outcome(error=TaskError(f"{self.name}: ended without a result ({end}); the log may say why"))
        return Outcome(value, error)


def _work(name: str, work: Callable[[], Any]) -> tuple[Any, JobsupError | None]:
    try:
        return work(), None
    except JobsupError as error:
        return None, error
    except Exception as error:  # noqa: BLE001  # the edge of the process: said in full here, in one line there
        text = "".join(traceback.format_exception(error)).rstrip()
        emit("task.crashed", f"{name}: {text}", level=logging.ERROR)
        return None, TaskError(f"{name}: unexpected {type(error).__name__}: {error}")


def _send(fd: int, outcome: tuple[Any, JobsupError | None]) -> None:
    value, error = outcome
    try:
        data = pickle.dumps((value, error))
        if error is not None:
            pickle.loads(data)  # noqa: S301  # an error class that cannot be rebuilt must not surprise the supervisor
    except Exception as problem:  # noqa: BLE001  # a result that does not travel is an error that does
        data = pickle.dumps((None, TaskError(str(error) if error else f"a result that cannot be sent: {problem}")))
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
