"""What the jobs of a set share: calendars, blackouts and pools, read from the main file."""

from __future__ import annotations

from datetime import datetime

from jobsup.config import names
from jobsup.config.blackouts import read_blackouts
from jobsup.config.calendars import read_calendars
from jobsup.config.report import Report, shown
from jobsup.config.schema import POOL_PLACES_MAX
from jobsup.config.source import Source
from jobsup.model import PoolSpec, SetSpec


def read_shared(source: Source, zone: str, now: datetime, report: Report) -> SetSpec:
    """Return `[calendars]`, `[[blackout]]` and `[pools]`; `zone` is for what says none itself."""
    calendars = read_calendars(source, zone, now, report)
    return SetSpec(
        calendars=tuple(calendars[name] for name in sorted(calendars)),
        blackouts=read_blackouts(source, zone, now, report),
        pools=_read_pools(source, report),
    )


def _read_pools(source: Source, report: Report) -> tuple[PoolSpec, ...]:
    written = source.data.get("pools", {})
    place = source.place("[pools]", "pools")
    if not isinstance(written, dict):
        report.add(place.problem(f"must be one table, [pools], not {shown(written)}"))
        return ()
    pools = []
    for name, places in written.items():
        if message := names.fault(name):
            report.add(place.problem(message, name))
        elif isinstance(places, bool) or not isinstance(places, int) or not 1 <= places <= POOL_PLACES_MAX:
            message = f"must be how many runs may use it at a time, 1 to {POOL_PLACES_MAX}, not {shown(places)}"
            report.add(place.problem(message, name))
            pools.append(PoolSpec(name, 1))  # so that a job that names it has no problem of its own
        else:
            pools.append(PoolSpec(name, places))
    return tuple(sorted(pools, key=lambda pool: pool.name))
