"""The list of jobs: filtered by what stands in the address, a page at a time, each with its last runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobsup.errors import ScheduleError
from jobsup.model import JobSpec, Status
from jobsup.portal.views.specs import specs_of
from jobsup.portal.views.strip import outlines, words
from jobsup.schedule import describe
from jobsup.store import job_lines, standing
from jobsup.store.engine import Database
from jobsup.store.job_lines import JobLine, Wanted
from jobsup.store.job_states import JobState
from jobsup.store.standing import Mark

PAGE_JOBS = 50
FILTER_CHARS_MAX = 200
STATES = (
    JobState.FAILING,
    JobState.LATE,
    JobState.RUNNING,
    JobState.WAITING,
    JobState.PAUSED,
    JobState.WELL,
    JobState.NEVER_RAN,
    JobState.DISABLED,
)
"""In the order of their interest."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to; empty words narrow nothing."""

    text: str = ""
    """Part of the name or of the description."""
    state: str = ""
    tag: str = ""
    queue: str = ""
    origin: str = ""
    after: str = ""
    """The page begins behind this name."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """Read it from an address; what it does not know narrows nothing."""
        state = query.get("state", "")
        return cls(
            text=query.get("q", "").strip()[:FILTER_CHARS_MAX],
            state=state if state in STATES else "",
            tag=query.get("tag", "")[:FILTER_CHARS_MAX],
            queue=query.get("queue", "")[:FILTER_CHARS_MAX],
            origin=query.get("origin", "")[:FILTER_CHARS_MAX],
            after=query.get("after", "")[:FILTER_CHARS_MAX],
        )

    def chosen(self) -> Wanted:
        """Return what the database is asked for."""
        state = JobState(self.state) if self.state else None
        return Wanted(self.text, state, self.tag, self.queue, self.origin)

    def query(self) -> dict[str, str]:
        """Return the words of the address, without the place in the list."""
        named = {"q": self.text, "state": self.state, "tag": self.tag, "queue": self.queue, "origin": self.origin}
        return {key: value for key, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in the list."""

    line: JobLine
    state: JobState
    schedule: str
    last: Mark | None
    """Its newest run that has ended and was not skipped."""
    outlines: tuple[tuple[str, str], ...]
    words: str


@dataclass(frozen=True, slots=True)
class Jobs:
    """A page of the list."""

    at: datetime
    rows: tuple[JobRow, ...]
    found: int
    """Jobs that the filter lets through, on all pages."""
    total: int
    more_after: str
    """The next page begins behind this name; empty: there is none."""
    counts: Mapping[JobState, int]
    """Jobs of each state, whatever the filter."""
    tags: tuple[str, ...]
    queues: tuple[str, ...]


def jobs_of(database: Database, wanted: Filter) -> Jobs:
    """Read a page of jobs by name."""
    now = database.now()
    chosen = wanted.chosen()
    labels = job_lines.labels(database)
    counts = job_lines.counts(database, chosen, labels, now)
    found = job_lines.page(database, chosen, labels, now, after=wanted.after, rows=PAGE_JOBS + 1)
    shown = found[:PAGE_JOBS]
    return Jobs(
        at=now,
        rows=_rows(database, shown),
        found=counts.wanted,
        total=counts.total,
        more_after=shown[-1][0].name if len(found) > len(shown) else "",
        counts=counts.by_state,
        tags=labels.tags,
        queues=labels.queues,
    )


def schedule_words(spec: JobSpec) -> str:
    """Say when a job runs; a schedule that can no longer be read is told as such."""
    try:
        return describe(spec.schedule, name=spec.name)
    except ScheduleError as error:
        return f"unreadable: {error}"


def _rows(database: Database, shown: Sequence[tuple[JobLine, JobState]]) -> tuple[JobRow, ...]:
    ids = [line.id for line, _ in shown]
    specs = specs_of(database, ids)
    strips = standing.strips(database, ids)
    return tuple(
        JobRow(
            line,
            state,
            schedule_words(specs[line.id]) if line.id in specs else "",
            last_end(strips.get(line.id, ())),
            outlines(strips.get(line.id, ())),
            words(strips.get(line.id, ())),
        )
        for line, state in shown
    )


def last_end(marks: Sequence[Mark]) -> Mark | None:
    """Return the newest mark of a run that has ended and was not skipped."""
    ended = (mark for mark in reversed(marks) if mark.status.is_terminal and mark.status is not Status.SKIPPED)
    return next(ended, None)
