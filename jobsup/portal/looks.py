"""Looks at the database that serve several visitors: what all who may see it see alike is read once for a crowd.

Who asks, and whether they may, is asked of the database for each of them before; only what is shown is shared, and each
gets a page of their own of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from jobsup.clock import Clock

T = TypeVar("T")

SHARED_SECONDS = 0.5
"""A look serves all who come within so long; an answer's age is reckoned from the look."""
KEPT_MAX = 16


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, or is being looked for."""

    at: float
    """When it was begun, by the monotonic clock."""
    found: asyncio.Task[Any]

    @property
    def has_failed(self) -> bool:
        return self.found.done() and (self.found.cancelled() or self.found.exception() is not None)


class Looks:
    """The looks of the last moment; used by the portal's loop alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of: dict[tuple[str, bytes], Look] = {}

    async def share(self, address: tuple[str, bytes], ask: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, float]:
        """Return what is seen at an address (its path and query), and when the look at it was begun."""
        now = self._clock.monotonic()
        known = self._of.get(address)
        if known is None or now - known.at >= SHARED_SECONDS or known.has_failed:
            self._of.pop(address, None)
            known = self._of[address] = Look(now, asyncio.create_task(ask()))
            if len(self._of) > KEPT_MAX:
                del self._of[next(iter(self._of))]
        return await asyncio.shield(known.found), known.at

    def forget(self) -> None:
        """Something was changed: who comes now looks anew."""
        self._of.clear()
