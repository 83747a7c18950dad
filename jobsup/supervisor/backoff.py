"""When a child that ended may be started again: at once the first time, then ever later, and not all at once."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

BASE_SECONDS = 0.1
CAP_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A child that has been ready for this long owes nothing for its past."""
DEGRADED_FAILURES = 8
"""So many failures in a row are a state of its own."""
PROBE_SECONDS = 60.0
"""How often at most a child that cannot be kept up is tried again."""
BUCKET_TOKENS = 5.0
BUCKET_REFILL_SECONDS = 3.0
"""One more restart of a kind every so often, once the burst is used up."""


class Rest(StrEnum):
    """Why a slot has no process now."""

    WAITING = "waiting"
    """Its child ended; the next one starts soon."""
    DEGRADED = "degraded"
    """Its child ends again and again; it is only probed from time to time."""
    CONFIG_FAULT = "config_fault"
    """Its child refuses its configuration; only a change of that helps, so it is probed slowly."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a slot whose child ended."""

    rest: Rest
    delay: float
    """Seconds until the next start."""


class Bucket:
    """The restarts all slots of one kind share: a crash loop of many is still only so many starts."""

    def __init__(
        self, now: float, tokens: float = BUCKET_TOKENS, refill_seconds: float = BUCKET_REFILL_SECONDS
    ) -> None:
        self._tokens_max = tokens
        self._refill_seconds = refill_seconds
        self._tokens = tokens
        self._at = now

    def take(self, now: float) -> float:
        """Take one token, on credit if need be; returns the seconds until it is really there."""
        self._tokens = min(self._tokens_max, self._tokens + (now - self._at) / self._refill_seconds)
        self._at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens * self._refill_seconds)

    def give_back(self) -> None:
        """Return a token that is not going to be used."""
        self._tokens += 1.0


class Backoff:
    """One slot's record of failures."""

    def __init__(self, bucket: Bucket, rng: random.Random | None = None) -> None:
        self.failures = 0
        self._bucket = bucket
        self._rng = rng or random.Random()  # noqa: S311  # spreads restarts, guards nothing

    def ended(self, now: float, ready_since: float | None, *, is_config_fault: bool = False) -> Verdict:
        """Judge the end of a child that was ready since then (None: never was)."""
        if ready_since is not None and now - ready_since >= HEALTHY_SECONDS:
            self.failures = 0
        self.failures += 1
        if is_config_fault:
            return Verdict(Rest.CONFIG_FAULT, PROBE_SECONDS)
        if self.failures == 1:
            return Verdict(Rest.WAITING, 0.0)
        if self.failures > DEGRADED_FAILURES:
            return Verdict(Rest.DEGRADED, self._rng.uniform(PROBE_SECONDS / 2, PROBE_SECONDS))
        delay = self._rng.uniform(0.0, min(CAP_SECONDS, BASE_SECONDS * 2.0 ** (self.failures - 2)))
        queue = self._bucket.take(now)
        if queue > 0.0:
            # Credit is bounded: with many slots in a crash loop the queue would grow without end.
            if queue > PROBE_SECONDS:
                self._bucket.give_back()
                queue = self._rng.uniform(PROBE_SECONDS / 2, PROBE_SECONDS)
            return Verdict(Rest.DEGRADED, max(queue, delay))
        return Verdict(Rest.WAITING, delay)
