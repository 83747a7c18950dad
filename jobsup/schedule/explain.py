"""A schedule told to a person: in words, with its next instants, and with what is odd about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobsup.model import ScheduleSpec
from jobsup.schedule.compiler import compile, upcoming  # noqa: A004 - schedules are compiled
from jobsup.schedule.words import describe


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `jobsup explain` shows; `next` and `notes` run side by side, an empty note meaning nothing to say."""

    words: str
    next: tuple[datetime, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def explain(spec: ScheduleSpec, after: datetime, n: int, *, name: str = "") -> Explanation:
    """Explain a schedule; ScheduleError when it cannot be read."""
    schedule = compile(spec, name=name)
    ticks = tuple(upcoming(spec, after, n, name=name))
    if schedule is None:
        return Explanation(describe(spec), (), (), ())
    notes = tuple(schedule.note(tick) or "" for tick in ticks)
    return Explanation(describe(spec, name=name), ticks, notes, schedule.warnings)
