"""Waiting in tests: for a condition, with a hard deadline, and with words when it passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

LOOK_SECONDS = 0.01
"""How often a condition is looked at, unless looking at it is work."""
PATIENCE = 60.0
"""How long to wait for what has no promised time: only something broken takes longer, on any machine."""

T = TypeVar("T")


def until(
    condition: Callable[[], T],
    seconds: float,
    what: str,
    told: Callable[[], str] | None = None,
    *,
    every: float = LOOK_SECONDS,
) -> T:
    """Wait until `condition()` is true, looking every so many seconds, and return its value; fail after `seconds`.

    `what` completes "waited 2 s for ..."; `told()` gives what the failure should show besides, e.g. a child's log.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}" + (f"\n{told()}" if told else ""))
        time.sleep(every)
    return value
