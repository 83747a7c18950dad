"""What became of each job on each day, kept after its runs are deleted: how many ended how, how long, at what cost.

The leader counts ended runs in the order of their ends, a stretch at a time, up to `counted_until`. That mark moves in
the transaction that writes what was counted, so a run is counted once whoever dies in between. It stays
SETTLE behind the clock: a run that is written as ended longer ago than that (its worker could not reach the database)
is counted by the transaction that writes it, if the mark has passed its end. Retention deletes only what is counted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from jobsup.model import RunResult, Status
from jobsup.runtime import failpoints
from jobsup.store import tables
from jobsup.store.column_types import UtcDateTime
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.made import fetch
from jobsup.store.rows import JobDay, JobDayMark, JobDispatch, JobExecutionLog
from jobsup.store.statements import Statement

SETTLE = timedelta(minutes=5)
"""Ends so young are not counted yet: their transactions may still be under way."""
LATE = timedelta(minutes=1)
"""An end that is written so long after it came about may lie behind the mark; no transaction takes SETTLE - LATE."""
STRETCH_ROWS_MAX = 2000
"""Runs that are counted in one transaction."""
DAYS_KEPT = 731
"""Days of a job that are kept."""
GROWTH = 1.1
"""Durations are counted in classes, each so much wider than the one before: a quantile is right to 5 per cent."""
SHORTEST_SECONDS = 0.001
"""What the first class holds at most."""

_MARK_ID = 1
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)


@dataclass(slots=True)
class Day:
    """What became of a job's runs that ended on one day, in UTC."""

    job_id: int
    day: date
    completed: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    skipped: int = 0
    """Ticks that did not run."""
    durations: dict[int, int] = field(default_factory=dict)
    """Class of duration -> how many completed runs took so long."""
    cpu_seconds: float = 0.0
    max_rss: int | None = None
    """Bytes."""
    io_read: int = 0
    io_write: int = 0

    @property
    def judged(self) -> int:
        """How many runs went their way to an end."""
        return self.completed + self.failed + self.timed_out

    def quantile(self, share: float) -> timedelta | None:
        """Return what that share of the completed runs took at most; None when there was none."""
        return quantile(self.durations, share)


def class_of(seconds: float) -> int:
    """Return the class that a duration is counted in."""
    if seconds <= SHORTEST_SECONDS:
        return 0
    return math.ceil(math.log(seconds / SHORTEST_SECONDS, GROWTH))


def quantile(durations: Mapping[int, int], share: float) -> timedelta | None:
    """Return the duration below which that share of the counted ones lie, right to 5 per cent; None without any."""
    total = sum(durations.values())
    wanted = max(1, math.ceil(total * share))
    for number in sorted(durations):
        wanted -= durations[number]
        if wanted <= 0:
            return timedelta(seconds=SHORTEST_SECONDS * GROWTH ** (number - 0.5))
    return None


def count(database: Database, *, limit: int = STRETCH_ROWS_MAX) -> int:
    """Count the next stretch of ended runs, about `limit` of them; return how many there were."""

    until = database.now() - SETTLE
    with database.look() as direct:  # the usual case: nothing has ended, and nothing is written
        if not direct.fetch(_UNCOUNTED, {"until": until}):
            return 0
    with database.write() as connection:
        since = _mark(connection)
        until = _stretch_end(connection, since, until, limit)
        rows = _ended(connection, since, until)
        if rows:
            _add(connection, [_of_row(row) for row in rows])
            _set_mark(connection, since, until)
        failpoints.reach("job_days.before_commit")
        return len(rows)


def count_late(direct: Direct, job_ids: Mapping[int, int], results: Sequence[RunResult], now: datetime) -> None:
    """Count those of the results, just written, whose end lies behind the mark. `job_ids`: what was written -> job."""
    late = [each for each in results if each.finished_at < now - LATE and each.dispatch_id in job_ids]
    if not late:
        return
    connection = direct.core
    mark = _mark(connection)
    if mark is not None:
        _add(connection, [_of_result(job_ids[each.dispatch_id], each) for each in late if each.finished_at < mark])


def read(database: Database, job_id: int, *, since: date) -> list[Day]:
    """Read the days of a job from that one on, the oldest first; days without an end are left out."""
    with database.read() as connection:
        rows = connection.execute(_DAYS.where(JobDay.job_id == job_id, JobDay.day >= since).order_by(JobDay.day))
        return [_day(row) for row in rows]


def durations(database: Database, job_ids: Sequence[int], *, since: date) -> dict[int, dict[int, int]]:
    """Read how long the completed runs of jobs took from that day on, in classes; jobs without any are left out."""
    found: dict[int, dict[int, int]] = {}
    with database.read() as connection:
        for start in range(0, len(job_ids), _LIST_MAX):
            some = JobDay.job_id.in_(job_ids[start : start + _LIST_MAX])
            statement = select(JobDay.job_id, JobDay.durations).where(some, JobDay.day >= since, JobDay.completed > 0)
            for job_id, counted in connection.execute(statement):
                _add_all(found.setdefault(job_id, {}), _classes(counted))
    return found


def total(days: Sequence[Day]) -> Day | None:
    """Put the days of a job together, under the date of the first; None: there is none."""
    return functools.reduce(_sum, days) if days else None


def counted_until(database: Database) -> datetime | None:
    """Return up to which instant ends are counted; None: none is yet."""
    with database.read() as connection:
        return fetch(connection, _MARK_LOOK, {}).scalar_one_or_none()


def delete_old(database: Database, before: date, limit: int) -> int:
    """Delete up to `limit` days that lie before that one; return how many."""
    with database.directly() as direct:
        old = direct.fetch(_OLD, {"before": before, "wanted": limit})
        for job_id, day in old:
            direct.core.execute(delete(JobDay).where(JobDay.job_id == job_id, JobDay.day == day))
    return len(old)


_MARK_LOOK = select(JobDayMark.counted_until)
_UNCOUNTED = Statement(
    lambda given: (
        select(JobDispatch.id)
        .where(
            JobDispatch.completed_at.is_not(None),
            JobDispatch.completed_at < given.one("until", UtcDateTime()),
            JobDispatch.completed_at >= func.coalesce(_MARK_LOOK.scalar_subquery(), _BEGINNING),
        )
        .limit(literal_column("1"))
    )
)
_OLD = Statement(
    lambda given: (
        select(JobDay.job_id, JobDay.day)
        .where(JobDay.day < given.one("before", Date()))
        .limit(given.one("wanted", BigInteger()))
    )
)
_MARK_LOCK = _MARK_LOOK.with_for_update()


def _mark(connection: Connection) -> datetime | None:
    """Read the mark and keep it from moving before the transaction ends."""
    return fetch(connection, _MARK_LOCK, {}).scalar_one_or_none()


def _set_mark(connection: Connection, before: datetime | None, now: datetime) -> None:
    if before is None:  # two who are the first meet at the primary key: the second one's count is rolled back
        connection.execute(insert(JobDayMark).values(id=_MARK_ID, counted_until=now))
    else:
        connection.execute(update(JobDayMark).values(counted_until=now))


def _stretch_end(connection: Connection, since: datetime | None, until: datetime, limit: int) -> datetime:
    """Return where a stretch of about `limit` ends: before `until`, and never between two ends of one instant."""
    ordered = (
        select(JobDispatch.completed_at).where(*_between(since, until)).order_by(JobDispatch.completed_at).limit(1)
    )
    first = connection.execute(ordered).scalar_one_or_none()
    past = connection.execute(ordered.offset(limit)).scalar_one_or_none()
    if first is None or past is None:
        return until
    return past if past > first else past + _INSTANT


def _between(since: datetime | None, until: datetime) -> list[Any]:
    known = [JobDispatch.completed_at.is_not(None), JobDispatch.completed_at < until]
    return known if since is None else [*known, JobDispatch.completed_at >= since]


def _ended(connection: Connection, since: datetime | None, until: datetime) -> Sequence[Row[Any]]:
    statement = (
        select(
            JobDispatch.job_id,
            JobDispatch.status,
            JobDispatch.started_at,
            JobDispatch.completed_at,
            JobDispatch.skipped_count,
            JobExecutionLog.cpu_user,
            JobExecutionLog.cpu_system,
            JobExecutionLog.max_rss,
            JobExecutionLog.io_read,
            JobExecutionLog.io_write,
        )
        .outerjoin(JobExecutionLog, JobExecutionLog.dispatch_id == JobDispatch.id)
        .where(*_between(since, until))
    )
    return connection.execute(statement).all()


def _of_row(row: Row[Any]) -> Day:
    day = _blank(row.job_id, row.completed_at, Status(row.status), row.skipped_count or 1)
    _time(day, row.started_at, row.completed_at)
    _charge(day, row)
    return day


def _of_result(job_id: int, result: RunResult) -> Day:
    day = _blank(job_id, result.finished_at, result.status, 1)
    _time(day, result.started_at, result.finished_at)
    _charge(day, result)
    return day


def _blank(job_id: int, ended_at: datetime, status: Status, ticks: int) -> Day:
    day = Day(job_id, ended_at.astimezone(UTC).date())
    name = _COUNTERS[status]
    setattr(day, name, ticks if status is Status.SKIPPED else 1)
    return day


_COUNTERS = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.TIMEOUT: "timed_out",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "skipped",
}


def _time(day: Day, started_at: datetime | None, ended_at: datetime) -> None:
    if day.completed and started_at is not None:
        day.durations = {class_of((ended_at - started_at).total_seconds()): 1}


def _charge(day: Day, costs: Any) -> None:
    day.cpu_seconds = (costs.cpu_user or 0.0) + (costs.cpu_system or 0.0)
    day.max_rss = costs.max_rss
    day.io_read, day.io_write = costs.io_read or 0, costs.io_write or 0


def _add(connection: Connection, counted: Sequence[Day]) -> None:
    """Add to what the days hold already."""
    fresh: dict[tuple[int, date], Day] = {}
    for one in counted:
        key = (one.job_id, one.day)
        fresh[key] = _sum(fresh[key], one) if key in fresh else one
    held = _held(connection, fresh)
    known = [_values(_sum(held[key], day)) for key, day in sorted(fresh.items()) if key in held]
    new = [_values(day) for key, day in sorted(fresh.items()) if key not in held]
    if known:
        connection.execute(_UPDATE, [{f"new_{name}": value for name, value in values.items()} for values in known])
    if new:
        connection.execute(insert(JobDay), new)


def _held(connection: Connection, keys: Collection[tuple[int, date]]) -> dict[tuple[int, date], Day]:
    days = sorted({day for _, day in keys})
    jobs = sorted({job_id for job_id, _ in keys})
    if not keys:
        return {}
    found: dict[tuple[int, date], Day] = {}
    for start in range(0, len(jobs), _LIST_MAX):
        rows = connection.execute(
            _DAYS.where(JobDay.job_id.in_(jobs[start : start + _LIST_MAX]), JobDay.day.in_(days)).with_for_update()
        )
        found.update({(row.job_id, row.day): _day(row) for row in rows})
    return found


_LIST_MAX = 500
_COLUMNS = tuple(tables.job_day.c.keys())
_DAYS = select(*tables.job_day.c)
_UPDATE = (
    update(JobDay)
    .where(JobDay.job_id == bindparam("new_job_id"), JobDay.day == bindparam("new_day"))
    .values({name: bindparam(f"new_{name}") for name in _COLUMNS if name not in ("job_id", "day")})
)


def _sum(one: Day, other: Day) -> Day:
    together = dict(one.durations)
    _add_all(together, other.durations)
    peaks = [peak for peak in (one.max_rss, other.max_rss) if peak is not None]
    return Day(
        one.job_id,
        one.day,
        completed=one.completed + other.completed,
        failed=one.failed + other.failed,
        timed_out=one.timed_out + other.timed_out,
        cancelled=one.cancelled + other.cancelled,
        skipped=one.skipped + other.skipped,
        durations=together,
        cpu_seconds=one.cpu_seconds + other.cpu_seconds,
        max_rss=max(peaks, default=None),
        io_read=one.io_read + other.io_read,
        io_write=one.io_write + other.io_write,
    )


def _add_all(to: dict[int, int], more: Mapping[int, int]) -> None:
    for number, times in more.items():
        to[number] = to.get(number, 0) + times


def _values(day: Day) -> dict[str, Any]:
    median, most = day.quantile(0.5), day.quantile(0.95)
    return {
        **{name: getattr(day, name) for name in _COLUMNS if name not in ("durations", "p50_seconds", "p95_seconds")},
        "durations": {str(number): times for number, times in sorted(day.durations.items())},
        "p50_seconds": None if median is None else median.total_seconds(),
        "p95_seconds": None if most is None else most.total_seconds(),
    }


def _day(row: Row[Any]) -> Day:
    values = {name: value for name, value in row._asdict().items() if name not in ("p50_seconds", "p95_seconds")}
    return Day(**{**values, "durations": _classes(values["durations"])})


def _classes(counted: Mapping[str, int]) -> dict[int, int]:
    return {int(number): times for number, times in counted.items()}
