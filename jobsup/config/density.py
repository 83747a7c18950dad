"""Schedules that are denser than their runs are long: odd only where runs then wait, heap up or end each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from jobsup.config.durations import format_duration
from jobsup.config.report import Place
from jobsup.config.triggers import KIND_KEYS
from jobsup.errors import Problem, ScheduleError
from jobsup.model import Overlap, ScheduleSpec

_FATES = {
    Overlap.QUEUE: "they can wait for each other without end",
    Overlap.ALLOW: "up to {beside} of them can go on at a time",
    Overlap.REPLACE: "each of them can be ended by the next",
}


def faults(place: Place, spec: ScheduleSpec, values: dict[str, Any], now: datetime) -> Iterator[Problem]:
    """Warn of ticks that come sooner than `timeout` ends a run, where `overlap` makes something of it."""
    timeout, overlap = values.get("timeout"), values.get("overlap", Overlap.SKIP)
    if timeout is None or overlap not in _FATES or spec.is_manual:
        return
    interval = _interval(spec, values.get("name", ""), now)
    if interval is None or interval >= timeout:
        return
    fate = _FATES[overlap].format(beside=-(-timeout // interval))
    yield place.problem(
        f"timeout is {format_duration(timeout)}, but runs are {format_duration(interval)} apart:"
        f' with overlap = "{overlap}" {fate}; lower timeout, or run less often',
        "timeout" if place.has("timeout") else next((key for key in KIND_KEYS if place.has(key)), "schedules"),
        warning=True,
    )


def _interval(spec: ScheduleSpec, name: str, now: datetime) -> timedelta | None:
    from jobsup.schedule import compile as compile_schedule
    from jobsup.schedule.suspicions import shortest_interval

    try:
        schedule = compile_schedule(spec, name=name)
    except ScheduleError:  # told already
        return None
    return None if schedule is None else shortest_interval(schedule, now)
