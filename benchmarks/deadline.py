"""A bound on how long something may take, so that a benchmark nobody watches comes to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from benchmarks.figures import MeasureError


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """End what is done in here with a MeasureError after so long; only in the main thread, and not one in another."""

    def ring(_: int, __: FrameType | None) -> None:
        raise MeasureError(f"{what} took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
