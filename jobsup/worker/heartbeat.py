"""When a worker renews its registration, and when it may no longer believe in it."""

from __future__ import annotations

from jobsup.model import Heartbeat, WorkerStatus

LEASE_INTERVALS = 4
"""A worker elsewhere is taken for lost after so many intervals without a renewal."""
FENCE_MARGIN_INTERVALS = 0.5
"""How much earlier its worker ends its runs itself, so that they are gone before others start them again."""
EARLY = 0.5
"""A heartbeat comes this part of its interval earlier where that spares a round of its own."""


class Pulse:
    """The heartbeats of one worker, on the monotonic clock; each is asked for by the working loop itself."""

    def __init__(self, interval_seconds: float, now: float) -> None:
        self._interval = interval_seconds
        self._renewed_at = now
        self._said = Heartbeat(WorkerStatus.IDLE, 0, None)  # what a registration begins with
        self.due_at = now + interval_seconds

    def is_due(self, now: float) -> bool:
        return now >= self.due_at

    def is_near(self, now: float) -> bool:
        """The next one is not so far that it could not come now, together with what is said anyway."""
        return now >= self.due_at - self._interval * EARLY

    def is_news(self, beat: Heartbeat) -> bool:
        """It would change what the database shows of us (the count of runs alone is no news)."""
        return (self._said.status, self._said.current_job_id) != (beat.status, beat.current_job_id)

    def hurry(self, now: float) -> None:
        """Say it now: something changed that others should see."""
        self.due_at = now

    def sent(self, beat: Heartbeat, now: float) -> None:
        self._said = beat
        self.due_at = now + self._interval

    def renewed(self, sent_at: float) -> None:
        """The renewal counts from when it was sent: the database may have taken its time."""
        self._renewed_at = max(self._renewed_at, sent_at)

    @property
    def fence_at(self) -> float:
        """When a worker without a renewal must have begun to end its runs."""
        return self._renewed_at + self._interval * (LEASE_INTERVALS - FENCE_MARGIN_INTERVALS)


def beat(*, runs: int, is_draining: bool, processed: int, current_job_id: int | None) -> Heartbeat:
    """Say how the worker is."""
    busy_or_not = WorkerStatus.BUSY if runs else WorkerStatus.IDLE
    return Heartbeat(WorkerStatus.DRAINING if is_draining else busy_or_not, processed, current_job_id)
