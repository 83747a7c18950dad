"""The stretches of a run's life: held back, waiting for a worker, starting, running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from jobsup.model import Status

WIDTH = 1000.0
SHARE_MIN = 0.004
"""A stretch that lasted at all is at least so wide."""
NOTHING = timedelta(0)


class Lived(Protocol):
    """What is known of when a run came how far."""

    @property
    def status(self) -> Status: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def available_at(self) -> datetime: ...
    @property
    def claimed_at(self) -> datetime | None: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def completed_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch, in the units of the drawing."""

    kind: str
    """`held`, `queued`, `starting`, and `ran`, `good` or `bad` for the run itself."""
    words: str
    length: timedelta
    x: float
    width: float


def phases(run: Lived, now: datetime) -> tuple[Phase, ...]:
    """Return what a run has gone through so far, in order; nothing for one that was skipped."""
    if run.status is Status.SKIPPED:
        return ()
    end = run.completed_at or now
    marks = [
        ("held", "held back", run.created_at, run.available_at),
        ("queued", "waited for a worker", max(run.created_at, run.available_at), run.claimed_at or end),
        ("starting", "started", run.claimed_at, run.started_at or end),
        (_ran(run.status), "ran", run.started_at, end),
    ]
    lengths = [
        (kind, words, min(until, end) - since)
        for kind, words, since, until in marks
        if since is not None and since <= end and until > since
    ]
    whole = sum((length for _, _, length in lengths), NOTHING) or timedelta(microseconds=1)
    shares = [max(SHARE_MIN, length / whole) for _, _, length in lengths]
    found, x = [], 0.0
    for (kind, words, length), share in zip(lengths, shares, strict=True):
        width = WIDTH * share / sum(shares)
        found.append(Phase(kind, words, length, round(x, 1), round(width, 1)))
        x += width
    return tuple(found)


def _ran(status: Status) -> str:
    if not status.is_terminal:
        return "ran"
    return "good" if status is Status.COMPLETED else "bad"
