"""Where time comes from: nobody else asks the machine what time it is."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
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

    def boottime(self) -> float:
        """Return seconds that never go back and also pass while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class ServerClock:
    """A database server's clock as seen from here: read now and then, in between reckoned by our own seconds.

    What somebody sets this machine's clock to does not matter to it. Any thread may ask; one thread sets it. An answer
    that took long says little: it is taken only where it says more than is known, or contradicts that.
    """

    ERROR_SECONDS_MAX = 0.02
    """A reading that may be wrong by more than this is repeated soon."""
    DRIFT = 2e-4
    """So many seconds a second two clocks may come apart."""

    def __init__(self, own: SystemClock) -> None:
        self._own = own
        self._reading: tuple[datetime, float] | None = None
        self._error = 0.0
        self._heard_at = 0.0
        self.skew: timedelta | None = None
        """How far the server was ahead of this machine at the last reading; None before the first."""

    def now(self) -> datetime:
        """Return the server's instant; before the first reading this machine's."""
        if self._reading is None:
            return self._own.now()
        instant, read_at = self._reading
        return instant + timedelta(seconds=self._own.boottime() - read_at)

    def monotonic(self) -> float:
        return self._own.monotonic()

    def boottime(self) -> float:
        return self._own.boottime()

    @property
    def age(self) -> float:
        """Seconds since the last reading; endless before the first, and tenfold after a poor one."""
        if self._reading is None:
            return math.inf
        return (self._own.boottime() - self._heard_at) * (10 if self._error > self.ERROR_SECONDS_MAX else 1)

    def read(self, instant: datetime, asked_at: float, heard_at: float) -> None:
        """Take what the server answered between two of our `boottime`s; its error is half the time between them."""
        middle, error = (asked_at + heard_at) / 2, (heard_at - asked_at) / 2
        if self._reading is not None:
            known, read_at = self._reading
            reckoned = known + timedelta(seconds=middle - read_at)
            known_error = self._error + (middle - read_at) * self.DRIFT
            if known_error < error and abs((reckoned - instant).total_seconds()) <= error:
                instant, error = reckoned, known_error
        self._reading, self._error, self._heard_at = (instant, middle), error, heard_at
        self.skew = self.now() - self._own.now()


def rfc3339(instant: datetime | None) -> str | None:
    """Write an instant as RFC 3339 in UTC, with microseconds only where it has any."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
