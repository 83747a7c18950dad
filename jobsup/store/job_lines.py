"""Jobs as a list shows them: however many there are, the database filters and counts them, and a page is read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from sqlalchemy import ColumnElement, Text, cast, func, or_, select, true

from jobsup.store.engine import Database
from jobsup.store.job_states import JobState, is_late_start, is_late_tick, state
from jobsup.store.rows import Job, JobDispatch

PAGE_JOBS_MAX = 500


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job, without its definition."""

    id: int
    name: str
    set_name: str
    origin: str
    kind: str
    description: str
    queue: str
    pool_key: str | None
    tags: list[str]
    timezone: str
    next_run: datetime | None
    is_active: bool
    retired_at: datetime | None
    paused_at: datetime | None
    paused_until: datetime | None
    paused_by: str | None
    paused_reason: str | None

    def is_paused(self, at: datetime) -> bool:
        return self.paused_at is not None and (self.paused_until is None or at < self.paused_until)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs a list is of: those that meet all that is said; empty words narrow nothing."""

    text: str = ""
    """Part of the name or of the description, in whatever case of A to Z."""
    state: JobState | None = None
    tag: str = ""
    queue: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the jobs that are not retired are marked with."""

    queues: tuple[str, ...]
    tag_texts: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Each list of tags there is, as it is stored and as it is meant."""

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(sorted({tag for tags in self.tag_texts.values() for tag in tags}))

    def texts_with(self, tag: str) -> list[str]:
        """Return the stored lists that have this tag."""
        return [text for text, tags in self.tag_texts.items() if tag in tags]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are."""

    by_state: Mapping[JobState, int]
    """Of each state, whatever is wanted."""
    wanted: int

    @property
    def total(self) -> int:
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class Overdue:
    """A tick that nobody has dispatched, or a run that waits for longer than it should."""

    job: str
    due: datetime
    run_id: int | None


def labels(database: Database) -> Labels:
    """Read which queues and tags there are."""
    statement = select(Job.queue, _TAGS_TEXT).where(_THERE).distinct()
    with database.read() as connection:
        rows = connection.execute(statement).all()
    return Labels(
        tuple(sorted({queue for queue, _ in rows})),
        {text: tuple(json.loads(text)) for _, text in rows},
    )


def counts(database: Database, wanted: Wanted, known: Labels, now: datetime) -> Counts:
    """Count the jobs by state, and those that are wanted."""
    rows = select(state(now).label("state"), _is_wanted(wanted, known).label("is_wanted")).where(_THERE).subquery()
    statement = select(rows.c.state, func.count(), func.count().filter(rows.c.is_wanted)).group_by(rows.c.state)
    with database.read() as connection:
        found = [(JobState(word), count, fit) for word, count, fit in connection.execute(statement)]
    return Counts(
        {word: count for word, count, _ in found},
        sum(fit for word, _, fit in found if wanted.state in (None, word)),
    )


def page(
    database: Database, wanted: Wanted, known: Labels, now: datetime, *, after: str = "", rows: int
) -> list[tuple[JobLine, JobState]]:
    """Read the wanted jobs by name, the first `rows` of those behind a name."""
    word = state(now)
    statement = select(*_COLUMNS, word.label("state")).where(_THERE, _is_wanted(wanted, known), Job.name > after)
    if wanted.state is not None:
        statement = statement.where(word == wanted.state)
    with database.read() as connection:
        found = connection.execute(statement.order_by(Job.name).limit(min(rows, PAGE_JOBS_MAX)))
        return [(JobLine(*columns), JobState(own)) for *columns, own in found]


def lines(database: Database, job_ids: Collection[int]) -> dict[int, JobLine]:
    """Read some jobs, retired ones too, by id."""
    with database.read() as connection:
        rows = connection.execute(select(*_COLUMNS).where(Job.id.in_(list(job_ids))))
        return {row[0]: JobLine(*row) for row in rows}


def names(
    database: Database,
    job_ids: Collection[int] | None = None,
    *,
    due_before: datetime | None = None,
    text: str = "",
) -> dict[int, str]:
    """Read the names of jobs that are not retired, by id.

    With `job_ids` or `due_before` of these jobs, and of those whose next tick is before that instant; with `text` only
    names that hold it.
    """
    chosen: list[ColumnElement[bool]] = []
    if job_ids is not None:
        chosen.append(Job.id.in_(list(job_ids)))
    if due_before is not None:
        chosen.append(Job.is_active & (Job.next_run < due_before))
    statement = select(Job.id, Job.name).where(_THERE, or_(*chosen) if chosen else true())
    if text:
        statement = statement.where(Job.name.icontains(text, autoescape=True))
    with database.read() as connection:
        return dict(connection.execute(statement).tuples().all())


def count(database: Database) -> int:
    """Count the jobs that are not retired."""
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(Job).where(_THERE)).scalar_one()


def definition_texts(database: Database, job_ids: Collection[int]) -> dict[int, str]:
    """Read the definitions of some jobs by id: the JSON of what `jobsup.config.document` writes."""
    statement = select(Job.id, cast(Job.payload, Text)).where(Job.id.in_(list(job_ids)))
    with database.read() as connection:
        return dict(connection.execute(statement).tuples().all())


def overdue(database: Database, now: datetime, *, rows: int) -> tuple[list[Overdue], int]:
    """Read what is late, the longest overdue first, at most `rows`; and count it all."""
    ticks = select(Job.name, Job.next_run).where(is_late_tick(now))
    starts = (
        select(Job.name, JobDispatch.available_at, JobDispatch.id)
        .join(Job, Job.id == JobDispatch.job_id)
        .where(is_late_start(now), _THERE)
    )
    with database.read() as connection:
        found = [Overdue(name, due, None) for name, due in connection.execute(ticks.order_by(Job.next_run).limit(rows))]
        found += [Overdue(*row) for row in connection.execute(starts.order_by(JobDispatch.available_at).limit(rows))]
        count = len(found)
        if count >= rows:
            each = [select(func.count()).select_from(kind.subquery()) for kind in (ticks, starts)]
            count = sum(connection.execute(statement).scalar_one() for statement in each)
    return sorted(found, key=lambda late: late.due)[:rows], count


def coming(database: Database, after: datetime, *, rows: int) -> list[JobLine]:
    """Read the jobs whose next tick is behind an instant, the nearest first."""
    statement = select(*_COLUMNS).where(Job.is_active, Job.next_run > after).order_by(Job.next_run, Job.name)
    with database.read() as connection:
        return [JobLine(*row) for row in connection.execute(statement.limit(rows))]


def next_runs(database: Database, after: datetime, until: datetime) -> list[datetime]:
    """Read the next ticks that lie in (after, until]."""
    statement = select(Job.next_run).where(Job.is_active, Job.next_run > after, Job.next_run <= until)
    with database.read() as connection:
        return [at for at in connection.execute(statement).scalars() if at is not None]


_THERE: ColumnElement[bool] = Job.retired_at.is_(None)
_COLUMNS = tuple(Job.__table__.c[column.name] for column in fields(JobLine))
_TAGS_TEXT = cast(Job.tags, Text)


def _is_wanted(wanted: Wanted, known: Labels) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = true()
    if wanted.text:
        condition &= or_(
            *(column.icontains(wanted.text, autoescape=True) for column in (Job.name, Job.description)),
            Job.description.contains(wanted.text, autoescape=True),
        )
    if wanted.tag:
        condition &= _TAGS_TEXT.in_(known.texts_with(wanted.tag))
    if wanted.queue:
        condition &= Job.queue == wanted.queue
    if wanted.origin:
        condition &= Job.origin == wanted.origin
    return condition
