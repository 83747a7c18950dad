"""When a worker asks for work: at once when woken, when waiting work comes due, and else at a slowing poll."""

from __future__ import annotations

import random
from datetime import datetime

from jobsup.clock import Clock

SLOWDOWN = 1.5
JITTER = 0.1
"""Polls are spread by this much, so that workers started together do not ask together for ever."""
EARLY = 0.5
"""A poll comes this part of its interval earlier where that spares a round of its own."""


class Appetite:
    """The next claim of one worker; monotonic seconds, but for the instant at which waiting work becomes available."""

    def __init__(self, clock: Clock, *, poll_seconds: float, poll_seconds_max: float) -> None:
        self._clock = clock
        self._shortest = poll_seconds
        self._longest = max(poll_seconds, poll_seconds_max)
        self._interval = poll_seconds
        self._poll_at = clock.monotonic()
        self._available_at: datetime | None = None
        self._is_whetted = True

    def whet(self) -> None:
        """Ask at once: there may be work."""
        self._poll_at = self._clock.monotonic()
        self._interval = self._shortest
        self._is_whetted = True

    @property
    def expects_work(self) -> bool:
        """Somebody has told of work, or some that waited is due: the next claim is no mere poll."""
        return self._is_whetted or (self._available_at is not None and self._available_at <= self._clock.now())

    def seconds(self) -> float:
        """Return how long until it is time to ask; 0 or less: now."""
        seconds = self._poll_at - self._clock.monotonic()
        if self._available_at is not None:
            seconds = min(seconds, (self._available_at - self._clock.now()).total_seconds())
        return seconds

    @property
    def is_near(self) -> bool:
        """The next poll is not so far that it could not come now, together with what is said anyway."""
        return self.seconds() <= self._interval * EARLY

    def asked(self) -> None:
        """A claim is on its way: wait for a whole interval, or for a wake-up."""
        self._available_at = None
        self._is_whetted = False
        self._poll_at = self._clock.monotonic() + self._interval * random.uniform(1 - JITTER, 1)  # noqa: S311

    def fed(self, count: int, wanted: int, available_at: datetime | None) -> None:
        """A claim of `wanted` brought `count`; less means that there is no more until `available_at`."""
        self._available_at = available_at
        if count:
            self._interval = self._shortest
        elif wanted:
            self._interval = min(self._interval * SLOWDOWN, self._longest)

    def starved(self) -> None:
        """A claim was not made for want of disk space: keep asking without slowing down."""
        self._interval = self._shortest
