"""Is anything wrong? What fails, what is late, what runs, and what comes next."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobsup.actions import serving
from jobsup.actions.health import LAG_MAX, leads
from jobsup.model import Status
from jobsup.store import history, job_lines, overview, standing
from jobsup.store.engine import Database
from jobsup.store.history import RunLine, Wanted
from jobsup.store.job_lines import JobLine
from jobsup.store.overview import Summary
from jobsup.store.standing import Streak

LISTED_MAX = 25
"""Rows of each list; the number above it tells how many there are."""
NEXT_MAX = 12
LATE_TICK = timedelta(seconds=30)
LATE_START = timedelta(minutes=1)
"""A run that could have started this long ago and has not is late."""
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
class Late:
    """A tick nobody dispatched, or a run that waits."""

    job: str
    due: datetime
    run_id: int | None


@dataclass(frozen=True, slots=True)
class Running:
    """A run that goes on, against what its job's runs usually take."""

    run: RunLine
    usual: timedelta | None
    is_long: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page."""

    summary: Summary
    problems: tuple[str, ...]
    """Sentences about the whole; none when it works."""
    failing: tuple[Failing, ...]
    failing_count: int
    late: tuple[Late, ...]
    late_count: int
    running: tuple[Running, ...]
    waiting_count: int
    coming: tuple[JobLine, ...]
    job_count: int

    @property
    def is_well(self) -> bool:
        return not (self.problems or self.failing_count or self.late_count)


def overview_of(database: Database) -> Overview:
    """Read all of it."""
    summary = overview.summary(database)
    jobs = {line.id: line for line in job_lines.job_lines(database)}
    live = job_lines.live_lines(database)
    failing = _failing(database, jobs, summary.at)
    late = _late(jobs, live, summary.at)
    due = (line for line in jobs.values() if line.next_run is not None and line.next_run > summary.at)
    return Overview(
        summary=summary,
        problems=_problems(database, summary),
        failing=failing[0],
        failing_count=failing[1],
        late=tuple(late[:LISTED_MAX]),
        late_count=len(late),
        running=_running(database, summary.at),
        waiting_count=sum(line.status is Status.PENDING for line in live),
        coming=tuple(heapq.nsmallest(NEXT_MAX, due, key=lambda line: (line.next_run or summary.at, line.name))),
        job_count=len(jobs),
    )


def _failing(database: Database, jobs: dict[int, JobLine], now: datetime) -> tuple[tuple[Failing, ...], int]:
    ends = [end for end in standing.last_ends(database).values() if end.is_failure and end.job_id in jobs]
    ends.sort(key=lambda end: end.ended_at, reverse=True)
    streaks = standing.streaks(database, [end.job_id for end in ends[:LISTED_MAX]])
    rows = (Failing(jobs[each.job_id].name, each, jobs[each.job_id].is_paused(now)) for each in streaks)
    return tuple(rows), len(ends)


def _late(jobs: dict[int, JobLine], live: list[job_lines.LiveLine], now: datetime) -> list[Late]:
    ticks = [
        Late(line.name, line.next_run, None)
        for line in jobs.values()
        if line.is_active and line.next_run is not None and line.next_run < now - LATE_TICK
    ]
    starts = [
        Late(jobs[line.job_id].name, line.available_at, line.id)
        for line in live
        if line.status is Status.PENDING and line.available_at < now - LATE_START and line.job_id in jobs
    ]
    return sorted([*ticks, *starts], key=lambda late: late.due)


def _running(database: Database, now: datetime) -> tuple[Running, ...]:
    found = history.page(database, Wanted(statuses=frozenset({Status.IN_PROGRESS})), rows=LISTED_MAX).runs
    strips = standing.strips(database, {run.job_id for run in found})
    rows = []
    for run in found:
        marks = strips.get(run.job_id, ())
        most = standing.usual(marks, 0.95)
        is_long = most is not None and run.started_at is not None and now - run.started_at > most * LONG_RUN
        rows.append(Running(run, standing.usual(marks), is_long))
    return tuple(rows)


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
