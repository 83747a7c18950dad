"""Leadership: of all schedulers on a database, the one that holds the lease dispatches; the others stand by.

The lease is renewed at a third of its length and trusted for less than its length, on the monotonic clock from before
the statement was sent. Whoever is in doubt stands down; the database refuses what an ended term still tries.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from jobsup.clock import Clock
from jobsup.errors import DatabaseError
from jobsup.events import emit
from jobsup.model import Lease
from jobsup.runtime import failpoints
from jobsup.store import leases
from jobsup.store.engine import Database
from jobsup.store.leases import LeaderFacts

RENEWALS_PER_LEASE = 3
TRUSTED_SHARE = 0.75
"""How much of its length a lease is trusted for: the rest covers clocks and statements that take their time."""
STANDBY_LEASES = 2
"""A standby is shown for so many leases after it was last heard of; it looks at the lease once in each."""
STANDBY_MARGIN_SECONDS = 0.02
"""A standby looks this long after the end of the lease it saw, so that it does not come a hair too early."""


class Leader:
    """This process's part in the election; `attend` each turn, at the latest in `seconds_left`, then ask `lease`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        holder: str,
        node: str,
        duration: timedelta,
        is_dead: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._holder = holder
        self._node = node
        self._duration = duration
        self._is_dead = is_dead
        self._term: Lease | None = None
        self._trusted_until = -math.inf
        self._attend_at = -math.inf
        self._seen_lease: tuple[str, int, datetime] | None = None
        self._seen_since = -math.inf
        self.predecessor_seen: datetime | None = None
        """At the begin of a term: when the leader before gave its last sign of life."""

    @property
    def renewal(self) -> timedelta:
        """The time between two renewals."""
        return self._duration / RENEWALS_PER_LEASE

    @property
    def lease(self) -> Lease | None:
        """The term we hold and may act in now; None: we stand by, or can no longer be sure."""
        return self._term if self._clock.monotonic() < self._trusted_until else None

    @property
    def seconds_left(self) -> float:
        """Seconds until `attend` has a statement to send."""
        return max(0.0, self._attend_at - self._clock.monotonic())

    def look_now(self) -> None:
        """Look at the lease at the next turn when standing by: the leader may have resigned."""
        if self._term is None:
            self._attend_at = -math.inf

    def attend(self) -> None:
        """Renew, or try to begin a term, if it is time; raises DatabaseError when the database does not answer."""
        if self.seconds_left > 0 and not self._has_leader_died():
            return
        if self._term is not None and self.lease is None:
            self.step_down("it could not be renewed in time")
        if self._term is None:
            self._elect()
        else:
            self._renew(self._term)

    def step_down(self, why: str) -> None:
        """Stop acting as leader at once, without the database; the next `attend` looks who leads."""
        if self._term is not None:
            text = f"Leadership of term {self._term.epoch} ended: {why}"
            emit("leader.lost", text, epoch=self._term.epoch)
        self._term = None
        self._trusted_until = self._attend_at = -math.inf

    def resign(self) -> None:
        """Give the lease back, so that a standby begins at once; a database that fails is only noted."""
        term, self._term = self._term, None
        trusted_until, self._trusted_until = self._trusted_until, -math.inf
        self._attend_at = math.inf
        self._seen_lease = None
        if term is None:
            return
        if self._clock.monotonic() >= trusted_until:
            text = f"Leadership of term {term.epoch} could not be renewed and passes by itself"
            emit("leader.resigned", text, level=logging.WARNING, epoch=term.epoch)
            return
        try:
            leases.resign(self._database, term)
            emit("leader.resigned", f"Resigned leadership of term {term.epoch}", epoch=term.epoch)
        except DatabaseError as error:
            text = f"Leadership of term {term.epoch} could not be given back, it passes by itself: {error}"
            emit("leader.resigned", text, level=logging.WARNING, epoch=term.epoch)

    def _elect(self) -> None:
        facts = leases.current(self._database)
        now = self._database.now()
        asked_at = self._clock.monotonic()
        is_stale = facts is not None and self._is_stale(facts, asked_at)
        if facts is not None and not is_stale and not self._may_be_free(facts, now):
            self._wait_for(facts, now)
            if not self._database.is_sqlite:  # where there may be other hosts
                leases.stand_by(self._database, self._node, self._duration * STANDBY_LEASES)
            return

        def is_dead(holder: str) -> bool:
            return self._is_dead(holder) or (is_stale and facts is not None and holder == facts.holder)

        term = leases.acquire(self._database, self._holder, self._node, self._duration, is_dead=is_dead)
        if term is None:
            self._attend_at = self._clock.monotonic() + self.renewal.total_seconds()  # somebody was faster
            return
        self.predecessor_seen = None if facts is None else _last_sign(facts, self._duration)
        self._hold(term, asked_at)
        emit("leader.elected", f"Leading in term {term.epoch}", epoch=term.epoch)

    def _renew(self, term: Lease) -> None:
        failpoints.reach("lease.renew")
        asked_at = self._clock.monotonic()
        renewed = leases.renew(self._database, term, self._duration)
        if renewed is None:
            self.step_down("another scheduler has begun a new one")
        else:
            self._hold(renewed, asked_at)

    def _hold(self, term: Lease, asked_at: float) -> None:
        self._term = term
        self._seen_lease = None
        self._trusted_until = asked_at + self._duration.total_seconds() * TRUSTED_SHARE
        self._attend_at = asked_at + self.renewal.total_seconds()

    def _may_be_free(self, facts: LeaderFacts, now: datetime) -> bool:
        if facts.holder in (leases.NOBODY, self._holder) or facts.until <= now:
            return True
        return self._is_dead(facts.holder)

    def _has_leader_died(self) -> bool:
        """Ask the kernel, not the database, whether the leader we stand by for was of this host and is gone."""
        return self._term is None and self._seen_lease is not None and self._is_dead(self._seen_lease[0])

    def _is_stale(self, facts: LeaderFacts, monotonic: float) -> bool:
        """Say whether a lease stood unrenewed for its whole length while we watched: its end may be a wrong clock's."""
        seen = (facts.holder, facts.epoch, facts.until)
        if seen != self._seen_lease:
            self._seen_lease, self._seen_since = seen, monotonic
        return monotonic - self._seen_since > self._duration.total_seconds()

    def _wait_for(self, facts: LeaderFacts, now: datetime) -> None:
        """Sleep until the lease we saw passes; capped, because a clock set back makes it look endless."""
        seconds = min((facts.until - now).total_seconds(), self._duration.total_seconds())
        self._attend_at = self._clock.monotonic() + seconds + STANDBY_MARGIN_SECONDS


def _last_sign(facts: LeaderFacts, duration: timedelta) -> datetime:
    """Tell when a leader was last heard of: at its resignation, else when it last prolonged its lease."""
    return facts.until if facts.holder == leases.NOBODY else max(facts.acquired_at, facts.until - duration)
