"""The worker's end of its runners: processes that import Python callables once and call them one after another."""

from __future__ import annotations

import json
import marshal
import math
import os
import random
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from jobsup.config.settings import WorkerSettings
from jobsup.model import JobSpec
from jobsup.runtime import procs, trees
from jobsup.runtime.service import Loop
from jobsup.worker import answers, command
from jobsup.worker.answers import Answer, Notice
from jobsup.worker.board import ANSWERS_MAX, STDERR, STDOUT, Board
from jobsup.worker.command import Spawned
from jobsup.worker.confinement import Confinement
from jobsup.worker.environment import base_environment
from jobsup.worker.failure import explain
from jobsup.worker.grouping import Grouping
from jobsup.worker.process import Process
from jobsup.worker.run import Run

MESSAGE_BYTES_MAX = 128 << 10
PAYLOAD_BYTES_MAX = 48 << 10
"""A longer message goes as a memory file: of any size, and without waiting for the runner to read it."""
READ_BYTES_MAX = 64 << 10
FRAMES_MAX = 1000
"""A runner that knows the definitions of so many jobs is replaced before it learns one more."""
DISCARD_SECONDS_MAX = 0.2
"""How long ending a runner may hold up the loop."""
AGE_JITTER = 0.2
"""Each runner's limits are lower by up to this share, so that those started together are not replaced together."""

Key = tuple[Confinement, str | None]
"""User, limits and folder: what a process cannot change, and what decides which module a name means."""


@dataclass(slots=True, eq=False)
class Runner:
    """One runner process, and the calls it was handed."""

    key: Key
    spawned: Spawned
    process_started: int | None
    pidfd: int
    socket: socket.socket
    board: Board
    pipes: dict[int, int]
    """STDOUT | STDERR -> the descriptor its output is read from; empty once they were handed on."""
    born: float
    """On the monotonic clock."""
    calls_max: float
    """After so many it is replaced."""
    expires_at: float
    """From then on it is replaced."""
    queue: deque[tuple[int, Run]] = field(default_factory=deque)
    """The calls that have not been answered, by number; the first of them runs."""
    is_ready: bool = False
    """It has begun to serve."""
    is_done_for: bool = False
    """It takes no further call: it is being ended, or is to be replaced."""
    calls: int = 0
    """How many it has been handed; the number of the next."""
    answered: int = 0
    is_slow: bool = False
    """One of its calls is known to take long: none should wait behind it."""
    rss: int = 0
    cpu_user: float = 0.0
    """What its answered calls took."""
    cpu_system: float = 0.0
    head_since: float = 0.0
    """Since when the first of its calls may run."""
    excused_until: float = 0.0
    """Until then it does not count how long that one takes."""
    look_at: float = math.inf
    """When its answers are looked for, should it not say by then that there are some."""
    long: deque[bytes] = field(default_factory=deque)
    """Answers that had no room on the board."""
    frames: dict[object, str] = field(default_factory=dict)
    """What calls have in common and it knows already -> its name for it."""
    held: dict[int, bytearray] = field(default_factory=lambda: {STDOUT: bytearray(), STDERR: bytearray()})
    """Output that was read, and is not known to be whose."""
    settled: dict[int, int] = field(default_factory=lambda: {STDOUT: 0, STDERR: 0})
    """How much was ever written by the calls that were answered."""

    @property
    def process(self) -> Process:
        return self.spawned.process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def head(self) -> Run | None:
        """The call that runs, or will as soon as it is ready."""
        return self.queue[0][1] if self.queue else None

    @property
    def room(self) -> int:
        """How many more calls it can be handed before an answer of one of them would take another's place."""
        return ANSWERS_MAX - (self.calls - self.queue[0][0]) if self.queue else ANSWERS_MAX

    def send(self, frames: dict[str, dict[str, Any]], calls: list[tuple[Any, ...]]) -> bool:
        """Hand calls over, and what they have in common; False when it is dead, or has no room for so much."""
        data = marshal.dumps((frames, calls))
        try:
            if len(data) <= PAYLOAD_BYTES_MAX:
                self.socket.send(data)
            else:
                self._send_as_file(data)
        except OSError:
            return False
        return True

    def _send_as_file(self, data: bytes) -> None:
        fd = os.memfd_create("jobsup-call", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(data)
            socket.send_fds(self.socket, [b"f"], [fd])
        finally:
            os.close(fd)

    def listen(self) -> bool:
        """Hear one thing it says; False when there is nothing, also when it is dead."""
        try:
            said = self.socket.recv(MESSAGE_BYTES_MAX)
        except OSError:
            return False
        if said == answers.READY:
            self.is_ready = True
        elif said and said != answers.WAKE:
            self.long.append(said)
        return bool(said)

    def next_answer(self) -> Answer | Notice | None:
        """Return what came of the first of its calls; None: nothing yet."""
        if not self.queue or self.queue[0][0] >= self.board.answered:
            return None
        data = self.board.answer(self.queue[0][0])
        while not data:
            if self.long:
                data = self.long.popleft()
            elif not self.listen():
                return None
        return answers.read(data)

    def wake_us(self) -> bool:
        """Have it wake us when it has answered half of its calls, and so has others to do; True: it has already."""
        return self.board.wake_at((self.queue[0][0] + self.queue[-1][0] + 2) // 2)

    def read(self, stream: int) -> int:
        """Read once from a pipe into `held`; returns how much, 0 when there is nothing for now, -1 at its end."""
        try:
            data = self.board.read(stream, self.pipes[stream], READ_BYTES_MAX)
        except BlockingIOError:
            return 0
        if not data:
            return -1
        self.held[stream] += data
        return len(data)

    def owed(self, stream: int, written: int) -> bytes:
        """Return, of what was ever written into a pipe, all up to that byte that nobody was given yet."""
        held = self.held[stream]
        missing = written - self.board.amount_read(stream)
        while missing > 0 and (got := self.read(stream)) > 0:
            missing -= got
        length = len(held) - max(0, self.board.amount_read(stream) - written)
        data = bytes(memoryview(held)[:length])
        del held[:length]
        return data

    def rest(self, stream: int) -> bytes:
        """Return all that was read and nobody was given yet."""
        data = bytes(self.held[stream])
        self.held[stream].clear()
        return data


class Runners:
    """Starts runners and lets go of them; what they are handed, and what becomes of it, is `calls`' business."""

    def __init__(self, loop: Loop, settings: WorkerSettings, *, instance: str, grouping: Grouping) -> None:
        self._loop = loop
        self._settings = settings
        self._instance = instance
        self._grouping = grouping
        self._all: dict[int, Runner] = {}

    @property
    def all(self) -> list[Runner]:
        """Every runner that has not been let go of, the oldest first."""
        return list(self._all.values())

    @property
    def pids(self) -> set[int]:
        return set(self._all)

    def start(self, job: JobSpec, confinement: Confinement, heard: Callable[[Runner, int], None]) -> Runner:
        """Start one for a job and its like; NotStartedError says why it could not be.

        `heard(runner, fd)` is called whenever one of its descriptors has something to say.
        """
        try:
            runner = self._spawn(job, confinement)
        except OSError as error:
            raise explain(error, "its Python runner") from None
        self._all[runner.pid] = runner
        for fd in (runner.pidfd, runner.socket.fileno(), *runner.pipes.values()):
            self._loop.watch(fd, lambda fd=fd: heard(runner, fd))  # type: ignore[misc]  # the default binds it
        return runner

    def is_worn(self, runner: Runner, now: float) -> bool:
        """Say whether it has served its time, by calls, age or memory."""
        return (
            runner.answered >= runner.calls_max
            or now >= runner.expires_at
            or runner.rss >= self._settings.runner_max_memory
            or len(runner.frames) >= FRAMES_MAX
        )

    def discard(self, runner: Runner) -> None:
        """End a runner for good, with everything below it."""
        self.unwatch(runner)
        trees.kill_tree([runner.pid], deadline_seconds=DISCARD_SECONDS_MAX)
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: swept away once it lets go
            runner.process.wait(DISCARD_SECONDS_MAX)
        self.forget(runner)

    def forget(self, runner: Runner) -> None:
        """Let go of a runner that has been reaped."""
        if self._all.pop(runner.pid, None) is None:
            return
        self.unwatch(runner)
        for fd in (runner.pidfd, *runner.pipes.values()):
            os.close(fd)
        runner.pipes.clear()
        runner.socket.close()
        runner.board.close()
        runner.spawned.close()

    def unwatch(self, runner: Runner) -> None:
        """Hear nothing more of it."""
        for fd in (runner.pidfd, runner.socket.fileno(), *runner.pipes.values()):
            if fd >= 0:
                self._loop.unwatch(fd)

    def _spawn(self, job: JobSpec, confinement: Confinement) -> Runner:
        opened: list[int] = []
        try:
            reading, writing = {}, []
            for stream in (STDOUT, STDERR):
                reading[stream], end = os.pipe2(os.O_CLOEXEC)
                opened += (reading[stream], end)
                os.set_blocking(reading[stream], False)
                writing.append(end)
            page = Board.open_file()
            opened.append(page)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            try:
                start = self._start_of(job, confinement, theirs.fileno(), page)
                spawned = command.spawn(start, writing[0], writing[1], keep=(theirs.fileno(), page))
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            self._grouping.tell_what_holds_nothing(job.name, confinement, spawned.group)
            pidfd = command.open_handle(spawned.process)
            board = Board(page)
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise
        for fd in (*writing, page):
            os.close(fd)
        born, settings = self._loop.monotonic(), self._settings
        share = random.uniform(1 - AGE_JITTER, 1)  # noqa: S311
        return Runner(
            key=(confinement, job.cwd),
            spawned=spawned,
            process_started=procs.start_time(spawned.process.pid),
            pidfd=pidfd,
            socket=ours,
            board=board,
            pipes=reading,
            born=born,
            calls_max=settings.runner_max_calls * share,
            expires_at=born + settings.runner_max_age.total_seconds() * share,
        )

    def _start_of(self, job: JobSpec, confinement: Confinement, fd: int, page: int) -> command.Start:
        folder = command.working_folder(job, confinement.account)
        preload = {"path": [*self._settings.python_path, folder], "modules": self._settings.preload}
        return command.Start(
            argv=(
                *(sys.executable, "-P", "-X", "utf8", "-m", "jobsup.worker.runner_main"),
                *(str(fd), str(page), str(os.getpid()), json.dumps(preload)),
            ),
            cwd=folder,
            environment=base_environment(self._instance, confinement.account),
            confinement=confinement,
            grouping=self._grouping,
        )
