"""Claims taken ahead of a free slot, so that a slot that frees is filled at once and not after a word to the database.

How many are taken follows the pace at which runs end: as many as will have ended by the time the next answer can be
there. So none waits long; one that does, because what runs suddenly lasts, is given back without counting an attempt.
"""

from __future__ import annotations

from collections import deque

from jobsup.clock import Clock
from jobsup.model import Claim

ROUND_SECONDS = 0.04
"""Between two rounds, while what was claimed ahead keeps the slots busy: a word costs as much as many runs."""
ROUND_SECONDS_MAX = 0.1
ROUND_SHARE = 0.2
"""Where rounds take long, as they do when many workers have theirs, they are fewer: so much of the time is for them."""
AHEAD_SECONDS_MIN = 0.05
"""How much work is taken ahead at the least, measured by the pace of the last moments."""
AHEAD_SECONDS_MAX = 0.2
"""How much at the most, where the database takes its time."""
AHEAD_MAX = 512
WAIT_SECONDS_MAX = 0.5
"""What has waited for longer is given back: some other worker may have a slot for it."""
PACE_SECONDS = 0.1
"""Over so long the pace is measured."""
PACE_KEPT = 0.5
"""The weight of what the pace was before."""


class Ahead:
    """The claims that wait for a slot, the first to be started first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Claim, float]] = deque()
        self._ended = 0
        self._since = clock.monotonic()
        self._pace = 0.0
        """Runs that end in a second."""
        self._round_seconds = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ids(self) -> list[int]:
        """Return the dispatches that wait."""
        return [claim.dispatch_id for claim, _ in self._waiting]

    @property
    def give_back_at(self) -> float | None:
        """When the one that waits longest has waited too long, on the monotonic clock."""
        return self._waiting[0][1] + WAIT_SECONDS_MAX if self._waiting else None

    @property
    def round_every(self) -> float:
        """How many seconds lie between two rounds, while there is enough to do without an answer."""
        return min(max(ROUND_SECONDS, self._round_seconds / ROUND_SHARE), ROUND_SECONDS_MAX)

    def add(self, *claims: Claim) -> None:
        now = self._clock.monotonic()
        self._waiting.extend((claim, now) for claim in claims)

    def put_back(self, claim: Claim) -> None:
        """Let one wait again, before all others."""
        since = self._waiting[0][1] if self._waiting else self._clock.monotonic()
        self._waiting.appendleft((claim, since))

    @property
    def first(self) -> Claim:
        """Return the next to be started, and leave it here."""
        return self._waiting[0][0]

    def take(self) -> Claim:
        """Return the next to be started."""
        return self._waiting.popleft()[0]

    def withdraw(self, dispatch_id: int) -> Claim | None:
        """Take one out that shall not be started; None when it does not wait here."""
        for place, (claim, _) in enumerate(self._waiting):
            if claim.dispatch_id == dispatch_id:
                del self._waiting[place]
                return claim
        return None

    def overdue(self) -> list[Claim]:
        """Take out, to be given back, all that wait when the first of them has waited too long."""
        give_back_at = self.give_back_at
        if give_back_at is None or self._clock.monotonic() < give_back_at:
            return []
        self._pace, self._ended, self._since = 0.0, 0, self._clock.monotonic()  # it misled us: begin anew
        return self.clear()

    def clear(self) -> list[Claim]:
        """Take out all that wait."""
        claims = [claim for claim, _ in self._waiting]
        self._waiting.clear()
        return claims

    def ended(self, count: int) -> None:
        """Hear of runs that have ended."""
        self._ended += count

    def answered(self, seconds: float) -> None:
        """Hear how long the database took for a round."""
        self._round_seconds = PACE_KEPT * self._round_seconds + (1 - PACE_KEPT) * seconds

    def wanted(self, behind: int = 0) -> int:
        """Return how many more should be taken ahead, when so many were started that still wait behind others."""
        took = self._clock.monotonic() - self._since
        if took >= PACE_SECONDS:
            self._pace = PACE_KEPT * self._pace + (1 - PACE_KEPT) * self._ended / took
            self._ended, self._since = 0, self._clock.monotonic()
        seconds = min(max(AHEAD_SECONDS_MIN, self.round_every + 2 * self._round_seconds), AHEAD_SECONDS_MAX)
        return max(0, min(AHEAD_MAX, int(self._pace * seconds)) - len(self._waiting) - behind)
