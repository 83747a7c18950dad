"""Where time comes from: nobody else asks the machine what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The two clocks a process needs; tests put their own in."""

    def now(self) -> datetime:
        """Return the instant, aware, in UTC. It may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back: for ages, leases and time-outs."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def rfc3339(instant: datetime | None) -> str | None:
    """Write an instant as RFC 3339 in UTC, with microseconds only where it has any."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
