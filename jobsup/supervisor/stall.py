"""When not to judge children: after the machine slept, or after the supervisor itself stood still."""

from __future__ import annotations

import logging
import time

from jobsup.events import emit

STALL_SECONDS = 1.0
"""So much later than planned is not the usual unpunctuality."""
SUSPEND_SECONDS = 1.0
"""A difference between the clocks with and without suspension that small is noise."""


class StallDetector:
    """Compares when the loop wanted to turn with when it did."""

    def __init__(self, now: float) -> None:
        self._expected_at = now
        self._judged_from = now
        self._slept = _suspended_seconds()

    def expect(self, at: float) -> None:
        """Say when the next turn is due, on the monotonic clock."""
        self._expected_at = at

    def judged_from(self, now: float) -> float:
        """Return the instant before which no child owes a sign of life."""
        late = now - self._expected_at
        slept = _suspended_seconds()
        if slept - self._slept > SUSPEND_SECONDS:
            emit("supervisor.resumed", f"The machine slept for {slept - self._slept:.0f} s", level=logging.WARNING)
            self._judged_from = now
        elif late > STALL_SECONDS:
            emit("supervisor.stalled", f"The supervisor stood still for {late:.1f} s", level=logging.WARNING)
            self._judged_from = now
        self._slept = slept
        return self._judged_from


def _suspended_seconds() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
