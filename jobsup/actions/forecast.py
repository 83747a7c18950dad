"""What the days to come will ask for: all schedules, with how long each job's runs usually take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from jobsup.actions.marks import blackouts_of
from jobsup.model import BlackoutSpec
from jobsup.schedule import Schedule
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.blackouts import Window, covers, windows_between
from jobsup.schedule.forecast import Forecast, Item, forecast
from jobsup.schedule.held import HeldSchedule
from jobsup.store import jobs, sets
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.usual import usual_durations

UNKNOWN_DURATION = timedelta(seconds=10)
"""How long a job is taken to run that has not run yet."""
BLACKOUTS_MAX = 50
"""Blackout windows that are listed."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A forecast, and what it rests on."""

    forecast: Forecast
    jobs: int
    """Jobs that have ticks."""
    unknown: tuple[str, ...]
    """Those of them without a run to judge by: each run is taken as UNKNOWN_DURATION."""
    pools: dict[str, int]
    """The places of each pool, by its set and name."""
    blackouts: tuple[Window, ...]
    """The windows that begin within the time; what they hold or leave out is held or left out in the figures."""


def outlook(database: Database, *, days: int, names: Iterable[str] = ()) -> Outlook:
    """Look ahead over the jobs named, or all; a job that is paused for good has no ticks. Raises NotFoundError."""
    now = database.now()
    chosen = list(names)
    found = [jobs.get_job(database, name) for name in chosen] if chosen else jobs.list_jobs(database)
    wanted = [facts for facts in found if facts.is_active and not (facts.paused_at and facts.paused_until is None)]
    usual = usual_durations(database, [facts.job_id for facts in wanted])
    blackouts = blackouts_of(database)
    items = list(_items(wanted, usual, blackouts))
    with database.read() as connection:
        pools = sets.places(connection)
    known = {facts.name for facts in wanted if facts.job_id in usual}
    return Outlook(
        forecast=forecast(items, now, days, pools=pools),
        jobs=len(items),
        unknown=tuple(item[0] for item in items if item[0] not in known),
        pools=pools,
        blackouts=tuple(_windows(blackouts, now, days)),
    )


def _items(
    wanted: Iterable[JobFacts], usual: dict[int, timedelta], blackouts: dict[str, tuple[BlackoutSpec, ...]]
) -> Iterator[Item]:
    held: dict[tuple[Schedule, tuple[BlackoutSpec, ...]], Schedule] = {}
    for facts in wanted:
        schedule = compile_schedule(facts.spec.schedule, name=facts.name)
        if schedule is not None:
            pool = sets.pool_key(facts.set_name, facts.spec.pool)
            ours = tuple(each for each in blackouts.get(facts.set_name, ()) if covers(each, facts.spec))
            if ours:  # one for all jobs with the same schedule and blackouts, so that they are computed together
                schedule = held.setdefault((schedule, ours), HeldSchedule(schedule, ours))
            yield facts.name, schedule, usual.get(facts.job_id, UNKNOWN_DURATION), pool


def _windows(blackouts: dict[str, tuple[BlackoutSpec, ...]], now: datetime, days: int) -> Iterator[Window]:
    every = [blackout for each in blackouts.values() for blackout in each]
    windows = (windows_between(blackout, now, now + timedelta(days=days)) for blackout in every)
    return islice(merge(*windows, key=lambda window: window.start), BLACKOUTS_MAX)
