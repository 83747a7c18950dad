"""A year as a map of days and a month as a sheet: what ended on each, and for one job what is to come."""

from __future__ import annotations

from calendar import Calendar, monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from jobsup.errors import ScheduleError, UsageError
from jobsup.model import Status
from jobsup.portal.views.specs import specs_of
from jobsup.portal.views.tallies import Tallies, each_day, midnight, of_job
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import MOMENT, Schedule
from jobsup.store import jobs
from jobsup.store.engine import Database
from jobsup.store.tallies import Tally

DAY = timedelta(days=1)
CELL, STEP, LEFT, TOP = 13, 16, 34, 20
WEEKS = 54
WIDTH, HEIGHT = LEFT + WEEKS * STEP, TOP + 7 * STEP
YEAR_MIN, YEAR_MAX = 1970, 9998
LEVELS = 4
"""Shades of a day that went well: the more ran, the fuller."""
BAD_SHARES = (0.02, 0.1)
"""From which share of failures on a day is shown as worse."""
FAILURES = (Status.FAILED, Status.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Day:
    """One day, by UTC."""

    date: date
    good: int
    bad: int
    other: int
    """Skipped or cancelled."""
    due: int
    """Ticks that are still to come; 0 also where it is not asked."""
    tone: str
    """`none`, `good-1` to `good-4`, `bad-1` to `bad-3`, `other`, `due`."""
    x: int = 0
    y: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad + self.other

    @property
    def words(self) -> str:
        """Say what the cell shows."""
        told = [(self.good, "well"), (self.bad, "failed"), (self.other, "skipped or cancelled"), (self.due, "due")]
        return f"{self.date:%a %d %b %Y}: " + (", ".join(f"{n} {word}" for n, word in told if n) or "nothing")


@dataclass(frozen=True, slots=True)
class Year:
    """The map of one year."""

    year: int
    job: str
    """Empty: all jobs."""
    days: tuple[Day, ...]
    months: tuple[tuple[int, str], ...]
    """(place, name)"""
    good: int
    bad: int
    other: int


@dataclass(frozen=True, slots=True)
class Month:
    """The sheet of one month, a week a row; days of the neighbours are None."""

    first: date
    weeks: tuple[tuple[Day | None, ...], ...]

    @property
    def before(self) -> date:
        return (self.first - DAY).replace(day=1)

    @property
    def after(self) -> date:
        return (self.first + 32 * DAY).replace(day=1)


def year_of(database: Database, known: Tallies, year: int, job: str) -> Year:
    """Read a year, of one job or of all. Raises NotFoundError for a job that is not there."""
    first = date(year, 1, 1)
    days = _days(database, known, first, date(year + 1, 1, 1), job)
    placed = tuple(_placed(day, first) for day in days)
    months = tuple((_place(date(year, month, 1), first)[0], f"{date(year, month, 1):%b}") for month in range(1, 13))
    good, bad, other = (sum(getattr(day, key) for day in days) for key in ("good", "bad", "other"))
    return Year(year, job, placed, months, good, bad, other)


def month_of(database: Database, known: Tallies, first: date, job: str) -> Month:
    """Read a month, of one job or of all."""
    length = monthrange(first.year, first.month)[1]
    days = {day.date: day for day in _days(database, known, first, first + length * DAY, job)}
    weeks = Calendar().monthdatescalendar(first.year, first.month)
    return Month(first, tuple(tuple(days.get(each) for each in week) for week in weeks))


def read_year(text: str, today: date) -> int:
    """Read the year of an address; none is the present one."""
    if not text:
        return today.year
    if not (text.isascii() and text.isdigit() and len(text) == 4 and YEAR_MIN <= int(text) <= YEAR_MAX):
        raise UsageError(f"year must be a number from {YEAR_MIN} to {YEAR_MAX}, not {text[:20]!r}")
    return int(text)


def read_month(text: str, year: int, today: date) -> date:
    """Read the month of an address, `2026-03`; none is the present one, or January of another year."""
    if not text:
        return date(year, today.month if year == today.year else 1, 1)
    try:
        found = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise UsageError(f"month must be like 2026-03, not {text[:20]!r}") from None
    if not YEAR_MIN <= found.year <= YEAR_MAX:
        raise UsageError(f"month must be in the years {YEAR_MIN} to {YEAR_MAX}")
    return found


def _days(database: Database, known: Tallies, first: date, end: date, job: str) -> list[Day]:
    now = database.now()
    bounds = [(midnight(day), midnight(day + DAY)) for day in each_day(first, end)]
    if job:
        facts = jobs.get_job(database, job)
        found = of_job(database, facts.job_id, first, end)
        due = _due(_schedule(database, facts.job_id) if facts.is_active else None, bounds, now)
    else:
        found, due = known.days(database, first, end), [0] * len(bounds)
    counts = [found.get(start.date(), {}) for start, _ in bounds]
    most = max((tally.get(Status.COMPLETED, 0) for tally in counts), default=0)
    return [
        _day(start.date(), tally, ticks, most) for (start, _), tally, ticks in zip(bounds, counts, due, strict=True)
    ]


def _schedule(database: Database, job_id: int) -> Schedule | None:
    spec = specs_of(database, [job_id])[job_id]
    try:
        return compile_schedule(spec.schedule, name=spec.name)
    except ScheduleError:
        return None


def _due(schedule: Schedule | None, bounds: Sequence[tuple[datetime, datetime]], now: datetime) -> list[int]:
    if schedule is None:
        return [0] * len(bounds)
    return list(_ticks(schedule, bounds, now))


def _ticks(schedule: Schedule, bounds: Sequence[tuple[datetime, datetime]], now: datetime) -> Iterator[int]:
    for start, end in bounds:
        yield schedule.count_between(max(start - MOMENT, now), end - MOMENT) if end > now else 0


def _day(on: date, tally: Tally, due: int, most: int) -> Day:
    good, bad = tally.get(Status.COMPLETED, 0), sum(tally.get(status, 0) for status in FAILURES)
    other = sum(tally.values()) - good - bad
    return Day(on, good, bad, other, due, _tone(good, bad, other, due, most))


def _tone(good: int, bad: int, other: int, due: int, most: int) -> str:
    if bad:
        return f"bad-{1 + sum(bad >= share * (good + bad) for share in BAD_SHARES)}"
    if good:
        return f"good-{max(1, min(LEVELS, -(-LEVELS * good // most)))}"
    return "other" if other else "due" if due else "none"


def _placed(day: Day, first: date) -> Day:
    x, y = _place(day.date, first)
    return Day(day.date, day.good, day.bad, day.other, day.due, day.tone, x, y)


def _place(on: date, first: date) -> tuple[int, int]:
    week = ((on - first).days + first.weekday()) // 7
    return LEFT + week * STEP, TOP + on.weekday() * STEP
