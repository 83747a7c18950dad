"""All pools together: the children a plan asks for, and who must hear of a death."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

from jobsup.clock import Clock
from jobsup.errors import ConflictError
from jobsup.events import emit
from jobsup.supervisor.child import Child
from jobsup.supervisor.exits import Exit
from jobsup.supervisor.pool import Pool, Slot
from jobsup.supervisor.spec import ChildSpec, Plan
from jobsup.supervisor.yard import Yard

HEIR_KIND = "scheduler"
"""The kind that is told of every death, to take care of what the dead one owned."""
DEATHS_KEPT_MAX = 1024
"""So many deaths wait for an heir that is ready; the oldest are dropped first, their leases end by themselves."""
NEVER = float("inf")


class Crew:
    """The pools by kind, in the order of the plan."""

    def __init__(self, yard: Yard, clock: Clock) -> None:
        self.pools: dict[str, Pool] = {}
        self.is_stopping = False
        self._yard = yard
        self._clock = clock
        self._deaths: deque[dict[str, Any]] = deque(maxlen=DEATHS_KEPT_MAX)

    def __iter__(self) -> Iterator[Pool]:
        return iter(tuple(self.pools.values()))

    @property
    def was_ready(self) -> bool:
        """Every child that the instance needs was ready once."""
        return all(slot.was_ready for pool in self if pool.spec.is_degrading for slot in pool.wanted)

    @property
    def is_degraded(self) -> bool:
        return any(pool.is_degraded and pool.spec.is_degrading for pool in self)

    def start(self, plan: Plan) -> None:
        """Start every child of the first plan."""
        for spec in plan.specs:
            for slot in self.add_pool(spec).scale(spec.count):
                slot.start()

    def add_pool(self, spec: ChildSpec) -> Pool:
        """Make an empty pool for a kind."""
        pool = self.pools[spec.kind] = Pool(spec, self._yard, self._clock)
        return pool

    def drop_pool(self, kind: str) -> None:
        """Have all children of a kind leave, and fill their slots no more."""
        self.pools.pop(kind).vacate()

    def scalable(self, kind: str) -> Pool:
        """Find the pool of a kind, also by its plural; ConflictError when its count is not for people to change."""
        pool = self.pools.get(kind) or self.pools.get(kind.removesuffix("s"))
        if pool is None or not pool.spec.is_scalable:
            known = ", ".join(pool.kind for pool in self if pool.spec.is_scalable) or "none"
            raise ConflictError(f'"{kind}" cannot be scaled; what can: {known}')
        return pool

    def check(self, now: float) -> float:
        """Start what is due; returns the seconds until something is."""
        if self.is_stopping:
            return NEVER
        return min((pool.check(now) for pool in self), default=NEVER)

    def ready(self, child: Child) -> Slot | None:
        """Take note that a child works; returns its slot when it is a replacement."""
        if child.spec.kind == HEIR_KIND:
            self._tell_deaths(child)
        pool = self.pools.get(child.spec.kind)
        return None if pool is None else pool.ready(child)

    def ended(self, child: Child, end: Exit, text: str) -> Slot | None:
        """Pass on what is known of a dead child; returns its slot when it was a replacement that failed."""
        self._deaths.append(
            {
                "do": "child_gone",
                "kind": child.spec.kind,
                "slot": child.slot,
                "pid": child.pid,
                "facts": child.facts,
                "exit": text,
            }
        )
        for heir in self._yard:
            if heir.spec.kind == HEIR_KIND and heir.is_ready:
                self._tell_deaths(heir)
                break
        pool = self.pools.get(child.spec.kind)
        return None if pool is None else pool.ended(child, end, text, is_final=self.is_stopping)

    def stop(self) -> None:
        """Ask all to finish and leave: the scheduler hears it first, so that it resigns before others look for work."""
        self.is_stopping = True
        for child in sorted(self._yard, key=lambda child: child.spec.kind != HEIR_KIND):
            child.stop()

    def cancel(self) -> None:
        """Have all end what they run."""
        self.is_stopping = True
        for child in self._yard:
            child.cancel()

    def kill(self) -> None:
        """End all now."""
        self.is_stopping = True
        for child in self._yard:
            child.is_leaving = True
            child.kill("killed by request")

    def signal(self, signum: int) -> None:
        for child in self._yard:
            if child.ready_since is not None:  # before that most signals would end it
                child.signal(signum)

    def summary(self, *, missing: str = "not ready") -> str:
        """Say who is ready: `scheduler ready, 4/4 workers`; `missing` is what one is that should be."""
        return ", ".join(_words(pool, missing) for pool in self)

    def _tell_deaths(self, heir: Child) -> None:
        while self._deaths:
            if not self._yard.send(heir, self._deaths[0]):
                emit("death.untold", f"{heir.name} does not hear of a death; the next one will", level=logging.WARNING)
                return
            self._deaths.popleft()


def _words(pool: Pool, missing: str) -> str:
    count, ready = len(pool.wanted), pool.ready_count
    if count == 1:
        return f"{pool.kind} {'ready' if ready else missing}"
    return f"{ready}/{count} {pool.kind}s"
