"""What is special about a tick to come: when it really starts, and what stands in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobsup.clock import rfc3339
from jobsup.model import BlackoutPolicy, BlackoutSpec
from jobsup.schedule import Schedule
from jobsup.schedule.blackouts import blackout_at
from jobsup.schedule.jitter import jitter_of
from jobsup.store import sets
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts


@dataclass(frozen=True, slots=True)
class Mark:
    """What will become of a tick, as far as can be known."""

    starts: datetime | None
    """When it can start: at the tick, or later by jitter or a blackout; None when it will be skipped."""
    words: tuple[str, ...] = ()
    """What is special about it, each a few words."""

    @property
    def text(self) -> str:
        return "; ".join(self.words)


def blackouts_of(database: Database) -> dict[str, tuple[BlackoutSpec, ...]]:
    """Read the blackouts of each definition set that has any."""
    with database.read() as connection:
        return {name: shared.blackouts for name, shared in sets.shared(connection).items()}


def mark(facts: JobFacts, schedule: Schedule, blackouts: Sequence[BlackoutSpec], tick: datetime) -> Mark:
    """Say what will become of a job's tick by what is known today."""
    note = schedule.note(tick)
    words = [note] if note else []
    if facts.is_paused(tick):
        return Mark(None, (pause_words(facts), *words))
    starts = tick + jitter_of(facts.name, tick, facts.spec.jitter)
    window = blackout_at(blackouts, facts.spec, starts) if blackouts else None
    if window is not None and window.policy is BlackoutPolicy.SKIP:
        return Mark(None, (f"skipped by {window.words}", *words))
    if window is not None:
        words.append(f"held by {window.words}")
        starts = window.end
    elif starts > tick:
        words.append(f"jitter {(starts - tick).total_seconds():.1f} s")
    return Mark(starts, tuple(words))


def pause_words(facts: JobFacts) -> str:
    """Say who paused a job, why and until when: `paused by ann@db1 until ... (disk full)`."""
    by = f" by {facts.paused_by}" if facts.paused_by else ""
    until = f" until {rfc3339(facts.paused_until)}" if facts.paused_until else ""
    why = f" ({facts.paused_reason})" if facts.paused_reason else ""
    return f"paused{by}{until}{why}"
