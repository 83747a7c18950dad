"""The leader's eye on blackouts: when one begins, what waits already is held until its end."""

from __future__ import annotations

from datetime import datetime

from jobsup.events import emit
from jobsup.store import holds
from jobsup.store.engine import Database


class Holder:
    """`attend` each turn; it asks the database when a blackout begins, and after `forget`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._at: datetime | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until `attend` has something to do."""
        return 0.0 if self._at is None else max(0.0, (self._at - self._database.now()).total_seconds())

    def forget(self) -> None:
        """Look again in the next turn: blackouts, the clock or the leader have changed."""
        self._at = None

    def attend(self) -> None:
        """Hold or release what is due; raises DatabaseError when the database does not answer."""
        now = self._database.now()
        if self._at is not None and now < self._at:
            return
        moved = holds.apply(self._database, now)
        if moved:
            emit("dispatch.held", f"Blackouts: the start of {moved} waiting runs was moved", count=moved)
        self._at = holds.next_change(self._database, now)
