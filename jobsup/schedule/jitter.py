"""Jitter: a tick's own small delay, the same in every process, so that jobs of one instant do not start as one.

`H` in a cron expression is the other spread: it moves a job's ticks themselves, evenly over the whole period, and
once and for all. Jitter leaves the tick where it is (`scheduled_for` is the nominal instant) and delays its start,
by another span each time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from jobsup.schedule.base import MOMENT, since_epoch

_HASH_BYTES = 8


def jitter_of(name: str, tick: datetime, jitter: timedelta) -> timedelta:
    """Return how long after its tick a job starts: within [0, jitter], whole microseconds, evenly spread."""
    from hashlib import blake2b

    span = jitter // MOMENT
    if span <= 0:
        return timedelta(0)
    seed = f"{name}\0{since_epoch(tick) // MOMENT}"
    number = int.from_bytes(blake2b(seed.encode(errors="replace"), digest_size=_HASH_BYTES).digest())
    return timedelta(microseconds=number * (span + 1) >> (8 * _HASH_BYTES))
