"""What a worker says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class WorkerStatus(StrEnum):
    """What a worker last said of itself, or what was found out about it."""

    IDLE = "IDLE"
    """It has no run."""
    BUSY = "BUSY"
    """It has at least one run."""
    DRAINING = "DRAINING"
    """It finishes what it has and claims no more."""
    OFFLINE = "OFFLINE"
    """It has stopped, or was lost."""


HOST_TAG_PREFIX = "host:"
"""Every worker has the tag `host:NAME`, NAME being its `supervisor.node`."""


def host_tag(node: str) -> str:
    """Return the tag that all workers of a host have."""
    return HOST_TAG_PREFIX + node


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Who a worker is: what it registers with."""

    node: str
    boot_id: str
    pid_namespace: str
    process_id: int
    process_started: int
    heartbeat_interval: timedelta
    concurrency: int
    queues: tuple[str, ...]
    """Empty means all."""
    tags: tuple[str, ...] = ()
    """What it offers to jobs that require something, beside its host's tag."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker says of itself each interval."""

    status: WorkerStatus
    jobs_processed: int
    current_job_id: int | None
