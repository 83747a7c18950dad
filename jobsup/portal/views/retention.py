"""How much history there is, and how much of it is past a number of days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobsup.actions import prune
from jobsup.store import tallies, upkeep
from jobsup.store.engine import Database

DAYS_MAX = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept."""

    keep_days: int
    runs: int
    """Ended ones."""
    oldest: datetime | None
    file_bytes: int | None
    """Of a SQLite file; None on a server."""
    wanted_days: int | None
    """What is asked about."""
    past: int
    """Runs that ended longer ago than that."""


def retention_of(database: Database, keep_days: int, wanted_days: int | None) -> Retention:
    """Read it; without a wish of its own the question is about what is past its time already."""
    days = keep_days if wanted_days is None else wanted_days
    return Retention(
        keep_days=keep_days,
        runs=prune.count(database, timedelta(0)),
        oldest=tallies.first_end(database),
        file_bytes=upkeep.file_bytes(database),
        wanted_days=wanted_days,
        past=prune.count(database, timedelta(days=days)),
    )
