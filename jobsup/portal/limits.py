"""How often: a bucket of requests for each address, and a growing wait after wrong passwords."""

from __future__ import annotations

from collections import OrderedDict

from jobsup.clock import Clock
from jobsup.errors import UnreachableError

HOOKS_PER_SECOND, HOOKS_BURST = 1.0, 30.0
"""How often one hook may start its job."""

DENIALS_PER_SECOND, DENIALS_BURST = 1 / 60, 30.0
"""How often the audit tells that the same visitor wanted what they may not."""

REQUESTS_PER_SECOND = 50.0
BURST = 300.0
"""Requests that an address may make at once; after that so many a second."""
KEYS_MAX = 10_000
"""Addresses remembered; beyond it the one not seen for longest is forgotten."""

FREE_TRIES = 5
"""Wrong passwords before there is a wait."""
WAIT_SECONDS_MAX = 300.0
FORGET_SECONDS = 900.0


class NotNowError(UnreachableError):
    """Not now, whoever asks: `seconds` later it may be asked again."""

    def __init__(self, what: str, seconds: float) -> None:
        self.seconds = int(seconds) + 1
        super().__init__(f"{what}: try again in {self.seconds} s")


class TooOftenError(NotNowError):
    """Not now: who asks has asked too often."""


class Buckets:
    """A token bucket for each key."""

    def __init__(self, clock: Clock, *, rate: float = REQUESTS_PER_SECOND, burst: float = BURST) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one; returns 0, or the seconds until there is one."""
        now = self._clock.monotonic()
        left, seen = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        is_allowed = left >= 1
        self._left[key] = (left - is_allowed, now)
        if len(self._left) > KEYS_MAX:
            self._left.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) / self._rate


def pace(tokens: Buckets, name: str) -> None:
    """Raise TooOftenError for a token that asks too often, from however many addresses; no name: it was none."""
    wait = tokens.take(name) if name else 0.0
    if wait:
        raise TooOftenError(f"token {name!r} asks too often", wait)


class Tries:
    """Wrong passwords by key (an address, or a user's name)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, *keys: str) -> float:
        """Return the seconds until one of these may try again; 0: now."""
        now = self._clock.monotonic()
        return max(0.0, *(self._wait(key, now) for key in keys))

    def failed(self, *keys: str) -> None:
        now = self._clock.monotonic()
        for key in keys:
            count, at = self._wrong.pop(key, (0, now))
            self._wrong[key] = (1 if now - at > FORGET_SECONDS else count + 1, now)
            if len(self._wrong) > KEYS_MAX:
                self._wrong.popitem(last=False)

    def passed(self, *keys: str) -> None:
        for key in keys:
            self._wrong.pop(key, None)

    def _wait(self, key: str, now: float) -> float:
        count, at = self._wrong.get(key, (0, now))
        if count < FREE_TRIES:
            return 0.0
        return at + min(WAIT_SECONDS_MAX, 2.0 ** min(count - FREE_TRIES, 16)) - now
