"""What a time to come will be like: how many runs go on in each minute, where they start together, which pools run out.

Each run is taken to start at its tick and to last as long as its job's runs usually do. Up to a bound every tick is
looked at; a schedule with more of them is a steady load, hour by hour or day by day, of as many ticks as it has.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest
from itertools import accumulate, groupby, islice

from jobsup.schedule.base import MOMENT, Schedule, floor_second, to_datetime

DAYS_MAX = 366
TICKS_TOTAL_MAX = 400_000
"""Ticks looked at in one forecast, shared out among its schedules."""
TICKS_EACH_MIN = 50
"""Ticks looked at of one schedule, however many schedules there are."""
COUNTS_TOTAL_MAX = 200_000
"""Counts made of steady loads in one forecast."""
COLLISIONS_MAX = 20
NOTES_MAX = 500
_ROUNDING = 1e-6
_MINUTE = 60
_HOUR_MINUTES = 60
_DAY_MINUTES = 1440

Item = tuple[str, Schedule, timedelta, str | None]
"""A job's name, its schedule, how long its runs usually last, and its pool."""


@dataclass(frozen=True, slots=True)
class Collision:
    """A minute in which several runs start."""

    at: datetime
    starts: int


@dataclass(frozen=True, slots=True)
class Overload:
    """A time in which a pool is asked for more places than it has: [start, end), whole minutes."""

    pool: str
    places: int
    start: datetime
    end: datetime
    peak: float


@dataclass(frozen=True, slots=True)
class ClockNote:
    """A tick that a clock change or a calendar moved, merged or repeated."""

    at: datetime
    job: str
    note: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected minute by minute from `start` on."""

    start: datetime
    running: array[float]
    """The mean number of runs that go on in each minute."""
    starts: array[float]
    """How many runs begin in each minute; a steady load's are spread evenly, and so are fractions."""
    collisions: tuple[Collision, ...] = ()
    """The minutes in which most runs start together, the most first; steady loads are not in them."""
    overloads: tuple[Overload, ...] = ()
    notes: tuple[ClockNote, ...] = ()

    @property
    def minutes(self) -> int:
        return len(self.running)

    @property
    def peak(self) -> float:
        return max(self.running, default=0.0)

    def at(self, minute: int) -> datetime:
        """Return the instant at which a minute begins."""
        return self.start + timedelta(minutes=minute)


def forecast(items: Iterable[Item], start: datetime, days: int, *, pools: Mapping[str, int] | None = None) -> Forecast:
    """Look `days` ahead from the minute of `start`; `pools` are the places of each.

    Jobs that share a schedule and a duration cost as much as one: pass the schedules as `compile` returns them.
    """
    groups = _grouped(items)
    span = _Span.of(start, days, groups)
    total, by_pool = _Load(span.minutes), {pool: _Load(span.minutes) for pool in pools or {}}
    together = array("L", [0]) * span.minutes
    notes: list[ClockNote] = []
    for schedule, group in groups.items():
        loads = [(load, usual, jobs) for load, usual, jobs in _loads(group, total, by_pool)]
        if schedule.count_between(span.begin - MOMENT, span.end - MOMENT) > span.ticks_max:
            _add_steady(schedule, span, loads)
            continue
        ticks = _ticks(schedule, span, group.longest)
        _add_ticks(ticks, span, loads)
        for tick in ticks:
            minute = span.minute(tick)
            if minute >= 0:
                together[minute] += len(group.names)
        notes += _notes(schedule, ticks, span, group, NOTES_MAX - len(notes))
    return Forecast(
        start=span.begin,
        running=total.running(),
        starts=total.starts(),
        collisions=_collisions(together, span),
        overloads=tuple(each for pool, load in by_pool.items() for each in _overloads(pool, pools or {}, load, span)),
        notes=tuple(sorted(notes, key=lambda note: (note.at, note.job))),
    )


@dataclass(slots=True)
class _Group:
    """The jobs of one schedule: how many there are of each pool and usual duration."""

    names: list[str] = field(default_factory=list)
    demand: Counter[tuple[str | None, timedelta]] = field(default_factory=Counter)

    @property
    def longest(self) -> timedelta:
        return max(usual for _, usual in self.demand)


@dataclass(frozen=True, slots=True)
class _Span:
    """The time looked at, and how closely."""

    begin: datetime
    minutes: int
    ticks_max: int
    """Ticks of a schedule that are looked at one by one."""
    chunk: int
    """Minutes over which a steady load is levelled."""

    @classmethod
    def of(cls, start: datetime, days: int, groups: Mapping[Schedule, _Group]) -> _Span:
        second = floor_second(start)
        minutes = min(max(days, 0), DAYS_MAX) * _DAY_MINUTES
        each = max(1, sum(len(group.demand) for group in groups.values()))
        is_fine = each * (minutes // _HOUR_MINUTES) <= COUNTS_TOTAL_MAX
        return cls(
            begin=to_datetime(second - second % _MINUTE),
            minutes=minutes,
            ticks_max=max(TICKS_EACH_MIN, TICKS_TOTAL_MAX // each),
            chunk=_HOUR_MINUTES if is_fine else _DAY_MINUTES,
        )

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(minutes=self.minutes)

    def minute(self, tick: datetime) -> int:
        return (tick - self.begin) // timedelta(minutes=1)


class _Load:
    """Runs laid on minutes. Whole minutes are kept as differences, so that a run costs the same however long it is."""

    def __init__(self, minutes: int) -> None:
        self._minutes = minutes
        self._part, self._rise, self._starts, self._starts_rise = (array("d", [0.0]) * (minutes + 1) for _ in range(4))

    def add(self, at: float, seconds: float, jobs: int) -> None:
        """Add runs that start `at` seconds from the beginning, which may lie before it."""
        if at >= 0:
            self._starts[int(at // _MINUTE)] += jobs
        limit = self._minutes * _MINUTE
        start, end = max(at, 0.0), min(at + seconds, limit)
        if start >= end:
            return
        first, last = int(start // _MINUTE), int(end // _MINUTE)
        if first == last:
            self._part[first] += (end - start) / _MINUTE * jobs
            return
        self._part[first] += ((first + 1) * _MINUTE - start) / _MINUTE * jobs
        self._part[last] += (end - last * _MINUTE) / _MINUTE * jobs
        self._rise[first + 1] += jobs
        self._rise[last] -= jobs

    def add_steady(self, minute: int, length: int, starts: float, seconds: float) -> None:
        """Add so many runs, spread evenly over `length` minutes."""
        for rise, each in ((self._starts_rise, starts / length), (self._rise, starts * seconds / (length * _MINUTE))):
            rise[minute] += each
            rise[minute + length] -= each

    def running(self) -> array[float]:
        return _summed(self._part, self._rise, self._minutes)

    def starts(self) -> array[float]:
        return _summed(self._starts, self._starts_rise, self._minutes)


def _grouped(items: Iterable[Item]) -> dict[Schedule, _Group]:
    groups: dict[Schedule, _Group] = {}
    for name, schedule, usual, pool in items:
        group = groups.setdefault(schedule, _Group())
        group.names.append(name)
        group.demand[pool, max(usual, timedelta(0))] += 1
    return groups


def _loads(group: _Group, total: _Load, by_pool: Mapping[str, _Load]) -> Iterator[tuple[_Load, float, int]]:
    """Yield where a group's runs are added: the load, their seconds, and how many run at each tick."""
    for (pool, usual), jobs in group.demand.items():
        yield total, usual.total_seconds(), jobs
        if pool is not None and pool in by_pool:
            yield by_pool[pool], usual.total_seconds(), jobs


def _ticks(schedule: Schedule, span: _Span, longest: timedelta) -> list[datetime]:
    """Return the ticks of the span, and before it the last few whose runs may still go on."""
    ticks: list[datetime] = []
    tick = schedule.last_before(span.begin - MOMENT)
    while tick is not None and tick + longest > span.begin and len(ticks) < TICKS_EACH_MIN:
        ticks.append(tick)
        tick = schedule.last_before(tick - MOMENT)
    ticks.reverse()
    tick = schedule.next_after(span.begin - MOMENT)
    while tick is not None and tick < span.end:
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return ticks


def _add_ticks(ticks: Sequence[datetime], span: _Span, loads: Sequence[tuple[_Load, float, int]]) -> None:
    for tick in ticks:
        at = (tick - span.begin).total_seconds()
        for load, seconds, jobs in loads:
            load.add(at, seconds, jobs)


def _add_steady(schedule: Schedule, span: _Span, loads: Sequence[tuple[_Load, float, int]]) -> None:
    for minute in range(0, span.minutes, span.chunk):
        begin = span.begin + timedelta(minutes=minute)
        count = schedule.count_between(begin - MOMENT, begin + timedelta(minutes=span.chunk) - MOMENT)
        for load, seconds, jobs in loads if count else ():
            load.add_steady(minute, span.chunk, count * jobs, seconds)


def _notes(schedule: Schedule, ticks: Sequence[datetime], span: _Span, group: _Group, room: int) -> Iterator[ClockNote]:
    """Yield at most `room` notes; only where the schedule may have any in this time."""
    if not schedule.may_have_notes(span.begin, span.end):
        return
    told = ((tick, note) for tick in ticks if tick >= span.begin and (note := schedule.note(tick)))
    yield from islice((ClockNote(tick, name, note) for tick, note in told for name in group.names), max(room, 0))


def _collisions(together: Sequence[int], span: _Span) -> tuple[Collision, ...]:
    most = nlargest(COLLISIONS_MAX, range(len(together)), key=lambda minute: (together[minute], -minute))
    return tuple(
        Collision(span.begin + timedelta(minutes=minute), together[minute]) for minute in most if together[minute] > 1
    )


def _overloads(pool: str, pools: Mapping[str, int], load: _Load, span: _Span) -> Iterator[Overload]:
    """Yield the times in which a pool's places are passed."""
    places = pools[pool]
    asked = load.running()
    for is_over, minutes in groupby(range(span.minutes), key=lambda minute: asked[minute] > places + _ROUNDING):
        over = list(minutes)
        if is_over:
            start, end = (span.begin + timedelta(minutes=minute) for minute in (over[0], over[-1] + 1))
            yield Overload(pool, places, start, end, max(asked[over[0] : over[-1] + 1]))


def _summed(part: array[float], rise: array[float], minutes: int) -> array[float]:
    return array("d", (one + whole for one, whole in zip(part[:minutes], accumulate(rise), strict=False)))
