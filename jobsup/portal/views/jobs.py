"""The list of jobs: filtered by what stands in the address, a page at a time, each with its last runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from jobsup.config.document import jobspec_from_dict
from jobsup.errors import ScheduleError
from jobsup.model import JobSpec, Status
from jobsup.portal.views.overview import LATE_START, LATE_TICK
from jobsup.portal.views.strip import outlines, words
from jobsup.schedule import describe
from jobsup.store import job_lines, standing
from jobsup.store.engine import Database
from jobsup.store.job_lines import JobLine, LiveLine
from jobsup.store.standing import LastEnd, Mark

PAGE_JOBS = 50
FILTER_CHARS_MAX = 200
STATES = ("failing", "late", "running", "waiting", "paused", "well", "never ran", "disabled")


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

    def query(self) -> dict[str, str]:
        """Return the words of the address, without the place in the list."""
        named = {"q": self.text, "state": self.state, "tag": self.tag, "queue": self.queue, "origin": self.origin}
        return {key: value for key, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in the list."""

    line: JobLine
    state: str
    schedule: str
    last: Mark | None
    """Its newest run that has ended and was not skipped."""
    outlines: tuple[tuple[str, str], ...]
    words: str
    usual: timedelta | None


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
    counts: Mapping[str, int]
    """Jobs of each state, whatever the filter."""
    tags: tuple[str, ...]
    queues: tuple[str, ...]


def jobs_of(database: Database, wanted: Filter) -> Jobs:
    """Read a page of jobs by name."""
    now = database.now()
    lines = job_lines.job_lines(database)
    states = _states(lines, standing.last_ends(database), job_lines.live_lines(database), now)
    found = [line for line in lines if _passes(line, states[line.id], wanted)]
    behind = [line for line in found if line.name > wanted.after] if wanted.after else found
    shown = list(islice(behind, PAGE_JOBS))
    return Jobs(
        at=now,
        rows=_rows(database, shown, states),
        found=len(found),
        total=len(lines),
        more_after=shown[-1].name if len(behind) > len(shown) else "",
        counts=Counter(states.values()),
        tags=tuple(sorted({tag for line in lines for tag in line.tags})),
        queues=tuple(sorted({line.queue for line in lines})),
    )


def schedule_words(spec: JobSpec) -> str:
    """Say when a job runs; a schedule that can no longer be read is told as such."""
    try:
        return describe(spec.schedule, name=spec.name)
    except ScheduleError as error:
        return f"unreadable: {error}"


def _rows(database: Database, lines: Sequence[JobLine], states: Mapping[int, str]) -> tuple[JobRow, ...]:
    ids = [line.id for line in lines]
    specs = {job_id: jobspec_from_dict(payload) for job_id, payload in job_lines.definitions(database, ids).items()}
    strips = standing.strips(database, ids)
    return tuple(
        JobRow(
            line,
            states[line.id],
            schedule_words(specs[line.id]) if line.id in specs else "",
            last_end(strips.get(line.id, ())),
            outlines(strips.get(line.id, ())),
            words(strips.get(line.id, ())),
            standing.usual(strips.get(line.id, ())),
        )
        for line in lines
    )


def last_end(marks: Sequence[Mark]) -> Mark | None:
    """Return the newest mark of a run that has ended and was not skipped."""
    ended = (mark for mark in reversed(marks) if mark.status.is_terminal and mark.status is not Status.SKIPPED)
    return next(ended, None)


def _states(
    lines: Sequence[JobLine], ends: Mapping[int, LastEnd], live: Sequence[LiveLine], now: datetime
) -> dict[int, str]:
    running = {run.job_id for run in live if run.status is Status.IN_PROGRESS}
    waiting = {run.job_id for run in live if run.status is Status.PENDING}
    late = {run.job_id for run in live if run.status is Status.PENDING and run.available_at < now - LATE_START}
    states = {}
    for line in lines:
        end = ends.get(line.id)
        if not line.is_active:
            state = "disabled"
        elif line.is_paused(now):
            state = "paused"
        elif line.id in late or (line.next_run is not None and line.next_run < now - LATE_TICK):
            state = "late"
        elif end is not None and end.is_failure:
            state = "failing"
        elif line.id in running:
            state = "running"
        elif line.id in waiting:
            state = "waiting"
        else:
            state = "never ran" if end is None else "well"
        states[line.id] = state
    return states


def _passes(line: JobLine, state: str, wanted: Filter) -> bool:
    text = wanted.text.lower()
    return (
        (not wanted.state or state == wanted.state)
        and (not wanted.tag or wanted.tag in line.tags)
        and (not wanted.queue or line.queue == wanted.queue)
        and (not wanted.origin or line.origin == wanted.origin)
        and (not text or text in line.name.lower() or text in line.description.lower())
    )
