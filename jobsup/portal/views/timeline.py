"""Runs gone by and runs to come as bars on a line for each job, laid out for a drawing of fixed width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from jobsup.actions.marks import blackouts_of
from jobsup.errors import ScheduleError
from jobsup.model import BlackoutSpec, JobSpec
from jobsup.portal.views.specs import specs_of
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import EPOCH
from jobsup.schedule.blackouts import Window, covers, windows_between
from jobsup.store import history, job_lines, standing
from jobsup.store.engine import Database
from jobsup.store.history import Stretch
from jobsup.store.job_lines import JobLine

WIDTH, LABEL_WIDTH, ROW_HEIGHT, HEAD_HEIGHT = 1000, 180, 20, 22
BAR_HEIGHT = 12
BAR_WIDTH_MIN = 2.0
ROWS_MAX = 60
BARS_MAX = 800
"""Bars of runs gone by; the rest of the drawing's weight is what is due."""
COMING_EACH_MAX = 60
"""Ticks to come that are drawn of one job."""
COMING_MAX = 400
LABEL_CHARS = 26
SPANS: Mapping[str, tuple[timedelta, timedelta]] = {
    "1h": (timedelta(minutes=45), timedelta(minutes=15)),
    "6h": (timedelta(hours=4), timedelta(hours=2)),
    "24h": (timedelta(hours=18), timedelta(hours=6)),
    "7d": (timedelta(days=5), timedelta(days=2)),
}
"""Word of the address -> how much before now and after now."""
SPAN_DEFAULT = "6h"
GRID_STEPS = tuple(timedelta(minutes=minutes) for minutes in (5, 10, 30, 60, 180, 360, 720, 1440))
GRID_LINES_MAX = 10
BLACKOUTS_MAX = 100
"""Windows of one blackout that are drawn."""
BLACKOUT_BEGAN_MAX = timedelta(days=3660)
"""How long ago a blackout between two instants may have begun that still goes on."""
USUAL_OF_RUNS = 10
"""How long the next run takes is told from so many last ones."""
GUESS = timedelta(seconds=30)
"""What a job that has not run yet is taken to take."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One run, in the units of the drawing."""

    x: float
    y: float
    width: float
    status: str
    """`future`: a tick to come."""
    title: str
    run_id: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One job's line."""

    name: str
    label: str
    y: float
    bars: tuple[Bar, ...]
    shades: tuple[Shade, ...]


@dataclass(frozen=True, slots=True)
class Shade:
    """A blackout on a job's line."""

    x: float
    y: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole drawing."""

    start: datetime
    end: datetime
    now_x: float
    grid: tuple[tuple[float, datetime], ...]
    rows: tuple[Row, ...]
    hidden: int
    """Jobs with something to show that have no room."""
    is_cut: bool
    """There were more runs than are drawn: the oldest are missing."""

    @property
    def height(self) -> int:
        return HEAD_HEIGHT + ROW_HEIGHT * max(1, len(self.rows))


def timeline_of(database: Database, span: str, text: str = "") -> Timeline:
    """Read the runs around now, and foresee those to come; `text` narrows the jobs by name."""
    now = database.now()
    before, after = SPANS.get(span, SPANS[SPAN_DEFAULT])
    scale = _Scale(now - before, now + after, now)
    ids = list(job_lines.names(database, text=text)) if text else None
    runs, is_cut = history.window(database, scale.start, scale.end, job_ids=ids, rows=BARS_MAX)
    by_job: dict[int, list[Stretch]] = {}
    for run in runs:
        by_job.setdefault(run.job_id, []).append(run)
    names = job_lines.names(database, by_job, due_before=scale.end, text=text)
    chosen = sorted(names, key=lambda job_id: (job_id not in by_job, names[job_id]))[:ROWS_MAX]
    lines = job_lines.lines(database, chosen)
    shown = [lines[job_id] for job_id in chosen if job_id in lines]
    specs = specs_of(database, [line.id for line in shown])
    coming = _coming(database, shown, specs, now, scale.end)
    windows = _windows(database, scale)
    places = {line.id: HEAD_HEIGHT + number * ROW_HEIGHT for number, line in enumerate(shown)}
    return Timeline(
        start=scale.start,
        end=scale.end,
        now_x=scale.x(now),
        grid=tuple((scale.x(at), at) for at in scale.grid()),
        rows=tuple(
            Row(
                line.name,
                line.name if len(line.name) <= LABEL_CHARS else f"{line.name[: LABEL_CHARS - 1]}…",
                places[line.id] + ROW_HEIGHT * 0.7,
                _bars(line, places[line.id], by_job.get(line.id, []), coming.get(line.id, []), scale),
                tuple(_shades(specs[line.id], windows.get(line.set_name, ()), places[line.id], scale)),
            )
            for line in shown
        ),
        hidden=len(names) - len(shown),
        is_cut=is_cut,
    )


@dataclass(frozen=True, slots=True)
class _Due:
    """A tick to come, or all that come after those that are drawn one by one."""

    at: datetime
    length: timedelta
    words: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Instants to places."""

    start: datetime
    end: datetime
    now: datetime

    def x(self, at: datetime) -> float:
        share = (min(max(at, self.start), self.end) - self.start) / (self.end - self.start)
        return round(LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH), 1)

    def width(self, start: datetime, end: datetime) -> float:
        return round(max(BAR_WIDTH_MIN, self.x(end) - self.x(start)), 1)

    def grid(self) -> list[datetime]:
        """Return round instants, as many as have room."""
        length = self.end - self.start
        step = next((each for each in GRID_STEPS if length / each <= GRID_LINES_MAX), GRID_STEPS[-1])
        first = self.start + (EPOCH - self.start) % step
        return [first + step * number for number in range(length // step + 1) if first + step * number < self.end]


def _is_near(line: JobLine, end: datetime) -> bool:
    return line.is_active and line.next_run is not None and line.next_run < end


def _windows(database: Database, scale: _Scale) -> dict[str, list[tuple[BlackoutSpec, Window]]]:
    """Find the blackouts of each set that lie in the drawing, those that began before it too."""
    found: dict[str, list[tuple[BlackoutSpec, Window]]] = {}
    for set_name, blackouts in blackouts_of(database).items():
        for blackout in blackouts:
            before = scale.start - (blackout.duration or BLACKOUT_BEGAN_MAX)
            for window in islice(windows_between(blackout, before, scale.end), BLACKOUTS_MAX):
                if window.end > scale.start:
                    found.setdefault(set_name, []).append((blackout, window))
    return found


def _shades(spec: JobSpec, windows: Sequence[tuple[BlackoutSpec, Window]], y: float, scale: _Scale) -> Iterator[Shade]:
    for blackout, window in windows:
        if covers(blackout, spec):
            title = f'blackout "{window.name}" until {window.end:%Y-%m-%d %H:%M} UTC: {window.policy}'
            yield Shade(scale.x(window.start), y, scale.width(window.start, window.end), title)


def _coming(
    database: Database, lines: Sequence[JobLine], specs: Mapping[int, JobSpec], now: datetime, end: datetime
) -> dict[int, list[_Due]]:
    """Foresee the ticks of the jobs shown, each as long as the job's runs usually are."""
    near = [line for line in lines if _is_near(line, end) and not line.is_paused(end)]
    ids = [line.id for line in near]
    strips = standing.strips(database, ids, runs=USUAL_OF_RUNS)
    found: dict[int, list[_Due]] = {}
    left = COMING_MAX
    for line in near:
        length = standing.usual(strips.get(line.id, ())) or GUESS
        spec = specs[line.id]
        try:
            schedule = compile_schedule(spec.schedule, name=spec.name)
        except ScheduleError:
            continue
        ticks: list[_Due] = []
        at = schedule.next_after(now) if schedule is not None else None
        while schedule is not None and at is not None and at < end and len(ticks) < min(COMING_EACH_MAX, left):
            ticks.append(_Due(at, length, f"due {at:%Y-%m-%d %H:%M:%S} UTC"))
            at = schedule.next_after(at)
        left -= len(ticks)
        if at is not None and at < end:  # one bar for the rest: a line that just ended would say that nothing comes
            ticks.append(_Due(at, end - at, f"due again and again from {at:%Y-%m-%d %H:%M:%S} UTC on"))
        found[line.id] = ticks
    return found


def _bars(line: JobLine, y: float, runs: Sequence[Stretch], coming: Sequence[_Due], scale: _Scale) -> tuple[Bar, ...]:
    top = y + (ROW_HEIGHT - BAR_HEIGHT) / 2
    past = (_past(run, line.name, top, scale) for run in runs)
    future = (_future(line.name, due, top, scale) for due in coming)
    return (*past, *future)


def _past(run: Stretch, name: str, y: float, scale: _Scale) -> Bar:
    start, end = run.started_at, run.completed_at or scale.now
    title = f"run {run.id} of {name}: {run.status.lower().replace('_', ' ')}, {(end - start).total_seconds():.1f} s"
    return Bar(scale.x(start), y, scale.width(start, end), run.status.lower(), title, run.id)


def _future(name: str, due: _Due, y: float, scale: _Scale) -> Bar:
    return Bar(scale.x(due.at), y, scale.width(due.at, due.at + due.length), "future", f"{name}: {due.words}", None)
