"""Starting a run: its pipes, its process, and the handles the kernel gives for it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from jobsup.clock import Clock
from jobsup.model import STDERR, STDOUT, Claim, JobSpec
from jobsup.worker import command
from jobsup.worker.account import find_account
from jobsup.worker.command import Spawned
from jobsup.worker.failure import explain
from jobsup.worker.mask import Mask
from jobsup.worker.output import Capture
from jobsup.worker.plans import Plans
from jobsup.worker.process import Process
from jobsup.worker.run import Run
from jobsup.worker.secrets import secret_variables


@dataclass(slots=True)
class Handles:
    """What we hold of a run's process; `pidfd` is -1 once it is let go of."""

    spawned: Spawned
    pidfd: int

    @property
    def process(self) -> Process:
        return self.spawned.process


def launch(claim: Claim, *, clock: Clock, plans: Plans) -> tuple[Run, Handles]:
    """Start a claimed dispatch; NotStartedError or OSError when it does not come to that, with nothing left open."""
    streams = (STDOUT,) if claim.job.stderr == "merge" else (STDOUT, STDERR)
    secrets = _secrets_of(claim.job)
    reading, writing = _pipes(len(streams))
    try:
        handles = _spawn(claim, (writing[0], writing[-1]), plans, secrets)
    except BaseException:
        _close(reading)
        raise
    finally:
        _close(writing)
    now = clock.monotonic()
    timeout = claim.job.timeout
    run = Run(
        claim=claim,
        capture=Capture(claim.dispatch_id, claim.job.output_limit),
        pid=handles.process.pid,
        mask=_mask(secrets, handles.spawned),
        group=handles.spawned.group,
        process_started=None,
        started_at=clock.now(),
        started=now,
        deadline=None if timeout is None else now + timeout.total_seconds(),
        pipes=dict(zip(reading, streams, strict=True)),
    )
    return run, handles


def waiting_call(claim: Claim, clock: Clock) -> Run:
    """Make the run of a callable: its process, its pipes and the begin of its time are its runner's business.

    NotStartedError when its secrets cannot be read.
    """
    job, secrets = claim.job, _secrets_of(claim.job)
    return Run(
        claim=claim,
        capture=Capture(claim.dispatch_id, job.output_limit),
        pid=0,
        mask=Mask(secrets.values()) if secrets else None,
        secrets=secrets,
        process_started=None,
        started_at=clock.now(),
        started=clock.monotonic(),
        deadline=None,
    )


def _secrets_of(job: JobSpec) -> dict[str, str]:
    if job.env_file is None and not job.secrets:
        return {}
    return secret_variables(job, find_account(job.user, job.group))


def _spawn(claim: Claim, streams: tuple[int, int], plans: Plans, secrets: dict[str, str]) -> Handles:
    spawned = plans.spawn(claim, streams)
    if spawned is None:
        start = command.prepare(claim, plans.instance, plans.grouping, secrets)
        spawned = command.spawn(start, *streams)
        plans.grouping.tell_what_holds_nothing(claim.job.name, start.confinement, spawned.group)
    return Handles(spawned, command.open_handle(spawned.process))


def _mask(secrets: dict[str, str], spawned: Spawned) -> Mask | None:
    learn = spawned.wrapper.secrets if spawned.wrapper is not None and spawned.start.secret_commands else None
    return Mask(secrets.values(), learn) if secrets or learn else None


def _pipes(count: int) -> tuple[list[int], list[int]]:
    """Open pipes: the ends we read never wait, the ends the run writes do, as every program expects."""
    reading: list[int] = []
    writing: list[int] = []
    try:
        for _ in range(count):
            read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
            reading.append(read_fd)
            writing.append(write_fd)
            os.set_blocking(read_fd, False)
    except OSError as error:
        _close(reading + writing)
        raise explain(error, "its output pipes") from None
    return reading, writing


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
