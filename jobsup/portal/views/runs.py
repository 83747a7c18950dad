"""The list of runs: filtered by what stands in the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from jobsup.config import durations
from jobsup.errors import NotFoundError, UsageError
from jobsup.model import Source, Status
from jobsup.store import history, jobs, overview
from jobsup.store.engine import Database
from jobsup.store.history import Page, Wanted

NAME_CHARS_MAX = 64
NOBODY = -1
"""The id of no job: a name that is not there has no runs."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to; empty words narrow nothing."""

    job: str = ""
    status: str = ""
    source: str = ""
    worker: str = ""
    age: str = ""
    """Only runs made within so long: `2h`."""
    day: str = ""
    """Only runs that ended on this day, by UTC: `2026-03-14`."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """Read it from an address; UsageError for an age that is none."""
        day = query.get("day", "").strip()
        if day:
            _midnight(day)
        status, source, age = query.get("status", ""), query.get("source", ""), query.get("age", "").strip()
        if age:
            _length(age)
        return cls(
            job=query.get("job", "").strip()[:NAME_CHARS_MAX],
            status=status if status in set(Status) else "",
            source=source if source in set(Source) else "",
            worker=query.get("worker", "").strip()[:NAME_CHARS_MAX],
            age=age,
            day=day,
        )

    def query(self) -> dict[str, str]:
        """Return the words of the address, without the place in the list."""
        named = {"job": self.job, "status": self.status, "source": self.source, "worker": self.worker, "age": self.age}
        named["day"] = self.day
        return {key: value for key, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Runs:
    """A page of runs."""

    page: Page
    counts: dict[Status, int]
    """Of all that live, and of those that ended within 24 hours."""


def runs_of(database: Database, wanted: Filter, *, before: int | None, after: int | None) -> Runs:
    """Read a page of runs, the newest first."""
    conditions = Wanted(
        job_id=_job_id(database, wanted.job) if wanted.job else None,
        statuses=frozenset({Status(wanted.status)}) if wanted.status else frozenset(),
        source=Source(wanted.source) if wanted.source else None,
        worker_id=wanted.worker or None,
        since=database.now() - _length(wanted.age) if wanted.age else None,
        ended_from=_midnight(wanted.day) if wanted.day else None,
        ended_until=_midnight(wanted.day) + timedelta(days=1) if wanted.day else None,
    )
    return Runs(history.page(database, conditions, before=before, after=after), overview.counts(database))


def _job_id(database: Database, name: str) -> int:
    try:
        return jobs.get_job(database, name).job_id
    except NotFoundError:
        return NOBODY


def _midnight(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(0), UTC)
    except ValueError:
        raise UsageError(f"day must be like 2026-03-14, not {text[:20]!r}") from None


def _length(text: str) -> timedelta:
    try:
        return durations.parse(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"age: {error}") from None
