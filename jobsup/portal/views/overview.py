"""Is anything wrong? What fails, what is late, what runs, and what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobsup.actions import serving
from jobsup.actions.health import LAG_MAX, leads
from jobsup.model import Status
from jobsup.portal.views.tallies import Tallies
from jobsup.store import history, job_lines, overview, standing
from jobsup.store.engine import Database
from jobsup.store.history import Wanted
from jobsup.store.job_lines import JobLine, Overdue
from jobsup.store.overview import Summary
from jobsup.store.run_rows import RunLine
from jobsup.store.standing import Streak

LISTED_MAX = 25
"""Rows of each list; the number above it tells how many there are."""
NEXT_MAX = 12
NEXT_HOURS = timedelta(hours=2)
TOGETHER_MIN = 3
"""So many jobs due in one minute are told as together."""
HOURS = 24
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HOUR_WIDTH = 10.0
CHART_HEIGHT, CHART_BOTTOM = 40.0, 46.0
UNSERVED_MAX = timedelta(seconds=5)
"""A run may wait so long for a worker there is none of: one that is being replaced is back by then."""
LONG_RUN = 1.25
"""A run is long when it has taken so many times what 95 of 100 take."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A job whose last run failed."""

    job: str
    streak: Streak
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A run that goes on, against what its job's runs usually take."""

    run: RunLine
    usual: timedelta | None
    share: float
    """Of what it usually takes, 1 at most; 0 while that is not known."""
    is_long: bool


@dataclass(frozen=True, slots=True)
class Coming:
    """A job's next tick."""

    line: JobLine
    at: datetime
    together: int
    """Jobs that are due in the same minute."""


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the last day, in the units of the drawing."""

    start: datetime
    x: float
    good: int
    bad: int
    other: int
    bars: tuple[tuple[str, float, float], ...]
    """(status, top, height), the lowest first."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page."""

    summary: Summary
    problems: tuple[str, ...]
    """Sentences about the whole; none when it works."""
    failing: tuple[Failing, ...]
    failing_count: int
    late: tuple[Overdue, ...]
    late_count: int
    running: tuple[Running, ...]
    waiting_count: int
    coming: tuple[Coming, ...]
    coming_count: int
    """Jobs that are due within two hours."""
    hours: tuple[Hour, ...]
    job_count: int

    @property
    def is_well(self) -> bool:
        return not (self.problems or self.failing_count or self.late_count)


def overview_of(database: Database, tallies: Tallies | None = None) -> Overview:
    """Read all of it."""
    summary = overview.summary(database)
    failing, failing_count = _failing(database, summary.at)
    late, late_count = job_lines.overdue(database, summary.at, rows=LISTED_MAX)
    coming, coming_count = _coming(database, summary.at)
    return Overview(
        summary=summary,
        problems=_problems(database, summary),
        failing=failing,
        failing_count=failing_count,
        late=tuple(late),
        late_count=late_count,
        running=_running(database, summary.at),
        waiting_count=summary.counts[Status.PENDING],
        coming=coming,
        coming_count=coming_count,
        hours=_hours(database, tallies or Tallies(), summary.at),
        job_count=job_lines.count(database),
    )


def _failing(database: Database, now: datetime) -> tuple[tuple[Failing, ...], int]:
    ids = standing.failing(database)
    jobs = job_lines.lines(database, ids[:LISTED_MAX])
    streaks = standing.streaks(database, [job_id for job_id in ids[:LISTED_MAX] if job_id in jobs])
    rows = (Failing(jobs[each.job_id].name, each, jobs[each.job_id].is_paused(now)) for each in streaks)
    return tuple(rows), len(ids)


def _running(database: Database, now: datetime) -> tuple[Running, ...]:
    found = history.page(database, Wanted(statuses=frozenset({Status.IN_PROGRESS})), rows=LISTED_MAX).runs
    strips = standing.strips(database, {run.job_id for run in found})
    rows = []
    for run in found:
        marks = strips.get(run.job_id, ())
        most = standing.usual(marks, 0.95)
        usual = standing.usual(marks)
        taken = now - run.started_at if run.started_at is not None else timedelta(0)
        share = min(1.0, taken / usual) if usual else 0.0
        rows.append(Running(run, usual, share, most is not None and taken > most * LONG_RUN))
    return tuple(rows)


def _coming(database: Database, now: datetime) -> tuple[tuple[Coming, ...], int]:
    first = [(line.next_run, line) for line in job_lines.coming(database, now, rows=NEXT_MAX) if line.next_run]
    until = max([now + NEXT_HOURS, *(at + MINUTE for at, _ in first)])
    due = job_lines.next_runs(database, now, until)
    minutes = Counter(map(_minute, due))
    rows = (Coming(line, at, minutes[_minute(at)]) for at, line in first)
    return tuple(rows), sum(at <= now + NEXT_HOURS for at in due)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _hours(database: Database, tallies: Tallies, now: datetime) -> tuple[Hour, ...]:
    first = now.replace(minute=0, second=0, microsecond=0) - HOUR * (HOURS - 1)
    bounds = [(first + HOUR * number, first + HOUR * (number + 1)) for number in range(HOURS)]
    counts = []
    for tally in tallies.ended(database, bounds):
        good, bad = tally.get(Status.COMPLETED, 0), tally.get(Status.FAILED, 0) + tally.get(Status.TIMEOUT, 0)
        counts.append((good, bad, sum(tally.values()) - good - bad))
    most = max((sum(each) for each in counts), default=0)
    return tuple(
        Hour(start, number * HOUR_WIDTH, *each, tuple(_bars(*each, most)))
        for number, ((start, _), each) in enumerate(zip(bounds, counts, strict=True))
    )


def _bars(good: int, bad: int, other: int, most: int) -> Iterator[tuple[str, float, float]]:
    """Stack what ended in an hour; one run that failed among thousands still shows."""
    top = CHART_BOTTOM
    for status, count in (("completed", good), ("skipped", other), ("failed", bad)):
        if count:
            height = max(1.5, CHART_HEIGHT * count / most)
            top -= height
            yield status, round(top, 1), round(height, 1)


def _problems(database: Database, summary: Summary) -> tuple[str, ...]:
    problems = []
    if not leads(summary):
        problems.append("No scheduler leads: no tick is dispatched. Start one with `jobsup start`.")
    elif summary.lag > LAG_MAX:
        problems.append(f"A tick has waited for {summary.lag.total_seconds():.0f} s to be dispatched.")
    present = serving.living(database)
    if not present:
        problems.append("No worker runs: nothing that waits is started.")
    for each in serving.unserved(database, present) if present else ():
        if summary.at - each.runs.since > UNSERVED_MAX:
            text = serving.unserved_words(each)
            problems.append(f"{text[0].upper()}{text[1:]}.")
    return tuple(problems)
