"""Since when this scheduler has been watching the clock without a gap: what separates a late tick from a missed one."""

from __future__ import annotations

from datetime import datetime, timedelta

LAPSE_MAX = timedelta(seconds=10)
"""A longer time without a look at the clock (a frozen process, a suspended machine, a clock set ahead) is down-time."""

HANDOVER_MAX = timedelta(seconds=2)
"""A leader that is gone is replaced within this, beyond the length of its lease: no down-time."""


class Watch:
    """Ticks since `since` are on time however late the loop gets to them; those before it were missed by all."""

    def __init__(self, up_since: datetime | None = None) -> None:
        """Take `up_since`, when the start of this process began, as watched, if it begins to lead soon after."""
        self._up_since = up_since
        self.since: datetime | None = None
        """None while this process does not lead."""
        self.down_since: datetime | None = None
        """Until when somebody watched before that, as far as is known."""
        self._seen: datetime | None = None

    def begin(self, now: datetime, predecessor_seen: datetime | None, allowed: timedelta) -> None:
        """Begin a term; it goes on from the last one's end if that was seen no longer ago than `allowed`."""
        before, self.since, self._seen = self.since, now, now
        self.down_since = predecessor_seen if predecessor_seen is not None and predecessor_seen < now else None
        if predecessor_seen is not None and timedelta(0) <= now - predecessor_seen <= allowed:
            self.since = min(before or predecessor_seen, predecessor_seen)
        if self._up_since is not None and timedelta(0) <= now - self._up_since <= LAPSE_MAX:
            self.since = min(self.since, self._up_since)

    def look(self, now: datetime) -> None:
        """Note the time; a lapse since the last look, or a clock set back, begins the watch anew."""
        if self.since is not None and self._seen is not None and not timedelta(0) <= now - self._seen <= LAPSE_MAX:
            self.since, self.down_since = now, min(self._seen, now)
        self._seen = now

    def end(self) -> None:
        """Lead no more."""
        self.since = None
