"""One job: where it stands, when it runs next, what its settings are."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from jobsup.actions import jobs as actions
from jobsup.actions import why
from jobsup.actions.jobs import Tick
from jobsup.actions.why import Story
from jobsup.config.urls import MASK
from jobsup.config.words import schedule_words as written
from jobsup.config.words import words as value_words
from jobsup.errors import ScheduleError
from jobsup.model import JobSpec, ScheduleSpec, Source, Status
from jobsup.portal.views.jobs import last_end, schedule_words
from jobsup.portal.views.strip import Bar, bars, words
from jobsup.portal.views.took import Took, took_of
from jobsup.store import history, job_days, jobs, standing
from jobsup.store.engine import Database
from jobsup.store.history import Page, Wanted
from jobsup.store.job_days import Day
from jobsup.store.jobs import JobFacts
from jobsup.store.standing import Mark, Streak

NEXT_TICKS = 10
LATEST_RUNS = 10
MONTH = timedelta(days=30)
JUDGED_RUNS = 100
"""The share of good ends, and how long runs take, is told of so many last ones."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above each part of a job's page."""

    facts: JobFacts
    at: datetime
    schedule: str
    written: str
    depends: str
    """Which ends of other jobs start it; empty: none."""

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def is_paused(self) -> bool:
        return self.facts.is_paused(self.at)

    @property
    def may_run(self) -> bool:
        return self.facts.retired_at is None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """The first part of a job's page."""

    head: Head
    story: Story
    """What last happened to it, in sentences."""
    ticks: tuple[Tick, ...]
    trouble: str
    """Why its next ticks cannot be told; empty: they can."""
    bars: tuple[Bar, ...]
    bar_words: str
    last: Mark | None
    streak: Streak | None
    usual: timedelta | None
    most: timedelta | None
    """What 95 of 100 of its good runs take at most."""
    took: Took | None
    good: int
    judged: int
    month: Day | None
    """Its last days together, runs that are deleted already included; None: none is counted yet."""
    page: Page


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a job's definition."""

    key: str
    value: str
    origin: str
    """`the job`, `[defaults]` or `default`: who says it."""


def head_of(database: Database, name: str) -> Head:
    """Read a job. Raises NotFoundError that names the nearest."""
    facts = jobs.get_job(database, name)
    spec = facts.spec
    depends = actions.depends_words(spec) if spec.depends_on else ""
    return Head(facts, database.now(), schedule_words(spec), written(spec.schedule), depends)


def summary_of(database: Database, name: str) -> JobSummary:
    """Read the first part of a job's page. Raises NotFoundError."""
    head = head_of(database, name)
    job_id = head.facts.job_id
    marks = standing.strips(database, [job_id], runs=JUDGED_RUNS).get(job_id, ())
    shown = marks[-standing.STRIP_RUNS :]
    judged = [mark for mark in marks if mark.status in (Status.COMPLETED, Status.FAILED, Status.TIMEOUT)]
    ticks, trouble = _ticks(database, name, head.at)
    streaks = standing.streaks(database, [job_id])
    return JobSummary(
        head=head,
        story=why.about_job(database, name),
        ticks=ticks,
        trouble=trouble,
        bars=bars(shown),
        bar_words=words(shown),
        last=last_end(marks),
        streak=streaks[0] if streaks else None,
        usual=standing.usual(marks),
        most=standing.usual(marks, 0.95),
        took=took_of(marks),
        good=sum(mark.status is Status.COMPLETED for mark in judged),
        judged=len(judged),
        month=job_days.total(job_days.read(database, job_id, since=(head.at - MONTH).date())),
        page=history.page(database, Wanted(job_id=job_id), rows=LATEST_RUNS),
    )


def slots_of(database: Database, name: str, *, before: int | None, after: int | None) -> tuple[Head, Page]:
    """Read a page of the ticks of a job: those that ran, and those that did not. Raises NotFoundError."""
    head = head_of(database, name)
    wanted = Wanted(job_id=head.facts.job_id, source=Source.SCHEDULE)
    return head, history.page(database, wanted, before=before, after=after)


def settings_of(spec: JobSpec, defaults: JobSpec) -> tuple[Setting, ...]:
    """Return every setting of a definition, those that it says itself first; values of `env` are not shown."""
    rows = []
    for each in fields(spec):
        value = getattr(spec, each.name)
        rows.append(Setting(each.name, _words(each.name, value), _origin(each, value, getattr(defaults, each.name))))
    return tuple(sorted(rows, key=lambda row: _ORIGINS.index(row.origin)))


def _words(key: str, value: Any) -> str:
    if isinstance(value, ScheduleSpec):
        return f"{written(value)} ({value.timezone})"
    if key == "env":
        return value_words(dict.fromkeys(value, MASK))
    if value is None:
        return "none"
    return str(value_words(value))


_ORIGINS = ("the job", "[defaults]", "default")


def _origin(each: Any, value: Any, by_defaults: Any) -> str:
    if each.name in ("name", "kind"):
        return _ORIGINS[0]
    return _ORIGINS[2] if _is_default(each, value) else _ORIGINS[1] if value == by_defaults else _ORIGINS[0]


def _is_default(each: Any, value: Any) -> bool:
    if each.default is not MISSING:
        return bool(value == each.default)
    return each.default_factory is not MISSING and bool(value == each.default_factory())


def _ticks(database: Database, name: str, after: datetime) -> tuple[tuple[Tick, ...], str]:
    try:
        return tuple(actions.next_ticks(database, [name], after=after, count=NEXT_TICKS)), ""
    except ScheduleError as error:
        return (), str(error)
