"""One attempt on its way: what its worker is handed, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobsup.model.jobs import JobSpec
from jobsup.model.states import Reason, Source, Status

STDOUT, STDERR = 1, 2
"""How a stream is named in output chunks and marks."""


@dataclass(slots=True)  # nobody changes it; frozen, it would take four times as long to make, for each run
class Claim:
    """What a worker is handed when it claims a dispatch: enough to run it without asking again."""

    dispatch_id: int
    job_id: int
    job: JobSpec
    config_hash: str
    source: Source
    retry_count: int
    scheduled_for: datetime | None
    params: dict[str, Any]
    parent_id: int | None = None
    """The run whose end started this one."""


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of a live run's output, as read."""

    dispatch_id: int
    offset: int
    """Bytes the run had printed before it, both streams together."""
    stream: int
    at: datetime
    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run says it is."""

    fraction: float | None = None
    """From 0 to 1; None: it told only a text."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class CapturedOutput:
    """What is kept of a run's output, and how much is not."""

    data: bytes = b""
    total: int = 0
    dropped: int = 0
    gap_at: int | None = None
    """Where in `data` the dropped bytes stood; None when none were dropped."""
    marks: tuple[tuple[int, int], ...] = ()
    """Runs of one stream in `data`, in order: (length, STDOUT | STDERR)."""


@dataclass(slots=True)  # as above
class RunResult:
    """How an attempt ended, as its worker saw it."""

    dispatch_id: int
    status: Status
    reason: Reason
    finished_at: datetime
    started_at: datetime | None = None
    """None: no process was started, so there is no log row."""
    error_message: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    output: CapturedOutput = field(default_factory=CapturedOutput)
    result: str | None = None
    """A callable's return value, as JSON."""
    cpu_user: float | None = None
    cpu_system: float | None = None
    max_rss: int | None = None
    io_read: int | None = None
    """Bytes it read from storage, not from the kernel's cache."""
    io_write: int | None = None
    progress: Progress | None = None
    """What it last said of how far it is, if the database has not heard of that."""
    is_live: bool = True
    """Some of its output may have gone out while it ran, and is to be taken away at its end."""
