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


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker says of itself each interval."""

    status: WorkerStatus
    jobs_processed: int
    current_job_id: int | None
