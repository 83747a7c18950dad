"""Counts of ended runs that are remembered: what lies behind us does not change, so it is counted once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from threading import Lock

from jobsup.store import job_days, tallies
from jobsup.store.engine import Database
from jobsup.store.tallies import Tally

DAY = timedelta(days=1)
REMEMBERED_MAX = 5000
SETTLED = timedelta(minutes=1)
"""What ended so long ago has been written: a stretch that ended before is counted for good."""
KEPT = timedelta(hours=12)
"""After this it is counted again: old runs are deleted."""


def of_job(database: Database, job_id: int, first: date, end: date) -> dict[date, Tally]:
    """Count the runs of one job by the days of their ends, by UTC, in [first, end)."""
    mark = job_days.counted_until(database)
    settled = min(end, mark.date()) if mark is not None else first
    counted = tallies.of_days(database, first, settled, job_id=job_id)
    still_open = _Open(database, max(first, settled), end, mark, job_id)
    return counted | still_open.count(lambda bounds: tallies.ended_of(database, job_id, bounds))


@dataclass(frozen=True, slots=True)
class _Open:
    """Days that are not counted for good: what is counted of them, and what ended behind the mark."""

    database: Database
    first: date
    end: date
    mark: datetime | None
    job_id: int | None = None

    def count(self, ended: Callable[[Sequence[tuple[datetime, datetime]]], list[Tally]]) -> dict[date, Tally]:
        """Return the counts by day; `ended` counts what ended in each [start, end)."""
        now = self.database.now()
        days = [day for day in each_day(self.first, self.end) if midnight(day) <= now]
        begun = tallies.first_end(self.database) if self.mark is None else self.mark
        bounds = [
            (max(midnight(day), begun), midnight(day + DAY)) for day in days if begun and midnight(day + DAY) > begun
        ]
        found = tallies.of_days(self.database, days[0], days[-1] + DAY, job_id=self.job_id) if days else {}
        for (_, until), tally in zip(bounds, ended(bounds), strict=True):
            day = (until - DAY).date()
            found[day] = Counter(found.get(day, {})) + Counter(tally)
        return found


def each_day(first: date, end: date) -> Iterator[date]:
    return (first + DAY * number for number in range((end - first).days))


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)


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

    def days(self, database: Database, first: date, end: date) -> dict[date, Tally]:
        """Count the runs of all jobs by the days of their ends, by UTC, in [first, end)."""
        mark = job_days.counted_until(database)
        settled = min(end, mark.date()) if mark is not None else first  # the days that are counted for good
        bounds = [(midnight(day), midnight(day + DAY)) for day in each_day(first, settled)]
        now = database.now()
        with self._lock:
            known = {key[0].date(): self._known[key][1] for key in bounds if key in self._known}
        missing = [day for day in each_day(first, settled) if day not in known]
        if missing:
            counted = tallies.of_days(database, missing[0], missing[-1] + DAY)
            self._keep({(midnight(day), midnight(day + DAY)): counted.get(day, {}) for day in missing}, now)
            known |= {day: counted.get(day, {}) for day in missing}
        still_open = _Open(database, max(first, settled), end, mark)
        return known | still_open.count(lambda bounds: self.ended(database, bounds))

    def _keep(self, counted: dict[tuple[datetime, datetime], Tally], now: datetime) -> None:
        with self._lock:
            for key, tally in counted.items():
                self._known[key] = (now, tally)
                self._known.move_to_end(key)
            while len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
