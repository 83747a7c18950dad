"""The worker's end of its runners: processes that import Python callables once and call them one at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jobsup.model import Claim, JobSpec, Reason
from jobsup.runtime import procs, trees
from jobsup.runtime.service import Loop
from jobsup.worker import command
from jobsup.worker.command import Spawned
from jobsup.worker.confinement import Confinement, confinement_of
from jobsup.worker.environment import base_environment, job_environment, job_params
from jobsup.worker.failure import NotStartedError
from jobsup.worker.grouping import Grouping
from jobsup.worker.process import Process

REPLY_BYTES_MAX = 1 << 20
DISCARD_SECONDS_MAX = 0.2
"""How long ending a runner may hold up the loop."""
DELIVERIES_MAX = 2
"""A runner may have died while it was idle; the second try has a fresh one."""

Key = tuple[Confinement, str | None]
"""User, limits and folder: what a process cannot change, and what decides which module a name means."""


@dataclass(slots=True, eq=False)
class Runner:
    """One runner process."""

    key: Key
    spawned: Spawned
    process_started: int | None
    pidfd: int
    socket: socket.socket
    calls: int = 0
    """How many it has been given."""
    is_unread: bool = False
    """It died without having taken its call: the call never began."""

    @property
    def process(self) -> Process:
        return self.spawned.process

    @property
    def pid(self) -> int:
        return self.process.pid

    def reply(self) -> dict[str, Any] | None:
        """Read the answer to the call; None when the runner has died instead."""
        try:
            data = self.socket.recv(REPLY_BYTES_MAX)
        except ConnectionResetError:  # the kernel says so when a socket is closed with something unread in it
            self.is_unread = True
            return None
        except OSError:
            return None
        return json.loads(data) if data else None


class Runners:
    """All runners of a worker: the idle ones wait here, the busy ones are with their runs."""

    def __init__(
        self,
        loop: Loop,
        *,
        instance: str,
        python_path: tuple[str, ...],
        idle_max: int,
        grouping: Grouping | None = None,
    ) -> None:
        self._loop = loop
        self._instance = instance
        self._python_path = python_path
        self._idle_max = idle_max
        self._grouping = grouping or Grouping()
        self._idle: list[Runner] = []

    @property
    def pids(self) -> set[int]:
        """Return the processes that wait for a call."""
        return {runner.pid for runner in self._idle}

    def call(self, claim: Claim, stdout: int, stderr: int, secrets: dict[str, str]) -> Runner:
        """Begin a call and return the runner that does it; NotStartedError says why there is none."""
        job = claim.job
        confinement = confinement_of(job)
        call = self._call_file(claim, confinement, secrets)
        try:
            for _ in range(DELIVERIES_MAX):
                runner = self._take((confinement, job.cwd)) or self._start(job, confinement)
                try:
                    socket.send_fds(runner.socket, [b"c"], [call, stdout, stderr])
                except OSError:
                    self.discard(runner)
                else:
                    runner.calls += 1
                    return runner
        finally:
            os.close(call)
        raise NotStartedError("its Python runner ended as soon as it was started", Reason.INTERNAL)

    def give_back(self, runner: Runner) -> None:
        """Keep a runner whose call has returned for the next one; the longest idle leaves when there are too many."""
        self._idle.append(runner)
        self._loop.watch(runner.pidfd, lambda: self._died(runner))
        if len(self._idle) > self._idle_max:
            self.discard(self._idle.pop(0))

    def discard(self, runner: Runner) -> None:
        """End a runner for good, with everything below it."""
        self._loop.unwatch(runner.pidfd)
        trees.kill_tree([runner.pid], deadline_seconds=DISCARD_SECONDS_MAX)
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: swept away once it lets go
            runner.process.wait(DISCARD_SECONDS_MAX)
        self.forget(runner)

    def forget(self, runner: Runner) -> None:
        """Let go of a runner that has been reaped."""
        self._loop.unwatch(runner.pidfd)
        os.close(runner.pidfd)
        runner.socket.close()
        runner.spawned.close()

    def close(self) -> None:
        """End the idle runners."""
        while self._idle:
            self.discard(self._idle.pop())

    def _take(self, key: Key) -> Runner | None:
        for runner in reversed(self._idle):  # the last used is the warmest
            if runner.key == key:
                self._idle.remove(runner)
                self._loop.unwatch(runner.pidfd)
                return runner
        return None

    def _died(self, runner: Runner) -> None:
        self._idle.remove(runner)
        self.discard(runner)

    def _start(self, job: JobSpec, confinement: Confinement) -> Runner:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        start = command.Start(
            argv=(
                *(sys.executable, "-P", "-X", "utf8", "-m", "jobsup.worker.runner_main"),
                *(str(theirs.fileno()), str(os.getpid())),
            ),
            cwd=command.working_folder(job, confinement.account),
            environment=base_environment(self._instance, confinement.account),
            confinement=confinement,
            grouping=self._grouping,
        )
        try:
            spawned = command.spawn(start, subprocess.DEVNULL, subprocess.DEVNULL, keep=(theirs.fileno(),))
        except NotStartedError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._grouping.tell_what_holds_nothing(job.name, confinement, spawned.group)
        pidfd = command.open_handle(spawned.process)
        return Runner((confinement, job.cwd), spawned, procs.start_time(spawned.process.pid), pidfd, ours)

    def _call_file(self, claim: Claim, confinement: Confinement, secrets: dict[str, str]) -> int:
        """Write the call to a memory file: of any size, and without waiting for the runner to read it."""
        job = claim.job
        call = {
            "python": job.python,
            "kwargs": job.kwargs,
            "params": job_params(claim),
            "environment": job_environment(claim, self._instance, confinement.account, secrets),
            "path": [*self._python_path, command.working_folder(job, confinement.account)],
        }
        fd = os.memfd_create("jobsup-call", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(json.dumps(call).encode())
        return fd
