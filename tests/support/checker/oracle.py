"""When ticks ought to be: by arithmetic alone."""

from __future__ import annotations

import math

from tests.support.checker.history import JobLaw

CLOSE = 1e-3
"""Instants of the tables are whole microseconds; ticks are whole seconds."""


def ticks(job: JobLaw, begin: float, end: float) -> list[float]:
    """Return the instants of `begin` <= tick < `end`."""
    if job.every is None:
        return []
    first = math.ceil(begin / job.every)
    return [number * job.every for number in range(first, math.ceil(end / job.every))]


def is_tick(job: JobLaw, instant: float) -> bool:
    return job.every is not None and abs(instant - round(instant / job.every) * job.every) < CLOSE
