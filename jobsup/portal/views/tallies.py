"""Counts of ended runs that are remembered: what lies behind us does not change, so it is counted once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Lock

from jobsup.store import tallies
from jobsup.store.engine import Database
from jobsup.store.tallies import Tally

REMEMBERED_MAX = 5000
SETTLED = timedelta(minutes=1)
"""What ended so long ago has been written: a stretch that ended before is counted for good."""
KEPT = timedelta(hours=12)
"""After this it is counted again: old runs are deleted."""


class Tallies:
    """Counts of all jobs together; several threads ask."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[datetime, datetime], tuple[datetime, Tally]] = OrderedDict()
        self._lock = Lock()

    def ended(self, database: Database, bounds: Sequence[tuple[datetime, datetime]]) -> list[Tally]:
        """Count the runs that ended in each [start, end); what is to come has none."""
        now = database.now()
        with self._lock:
            known = {key: self._known[key] for key in bounds if key in self._known}
        fresh = {key: tally for key, (counted_at, tally) in known.items() if now - counted_at < KEPT}
        missing = [(start, end) for start, end in bounds if (start, end) not in fresh and start <= now]
        counted = dict(zip(missing, tallies.ended(database, missing), strict=True))
        self._keep({key: tally for key, tally in counted.items() if key[1] < now - SETTLED}, now)
        return [fresh.get(key) or counted.get(key) or {} for key in bounds]

    def _keep(self, counted: dict[tuple[datetime, datetime], Tally], now: datetime) -> None:
        with self._lock:
            for key, tally in counted.items():
                self._known[key] = (now, tally)
                self._known.move_to_end(key)
            while len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
