"""Deleting ended runs before their time: counted first, then in batches that let others write in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from jobsup.store import job_days, retention
from jobsup.store.engine import Database

BATCH_SIZE = 500
DELETED_MAX = 100_000
"""Runs that one call deletes; who asks again goes on."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a call deleted, and what of it is left."""

    deleted: int
    left: int


def count(database: Database, older_than: timedelta) -> int:
    """Count the runs that ended longer ago."""
    return retention.count_ended(database, database.now() - older_than)


def prune(database: Database, older_than: timedelta, *, most: int = DELETED_MAX) -> Pruned:
    """Delete runs that ended longer ago, with their output, up to `most` of them; the oldest go first."""
    before = database.now() - older_than
    while job_days.count(database) >= job_days.STRETCH_ROWS_MAX:
        pass  # what its day does not count yet cannot go
    deleted = 0
    while deleted < most:
        gone = retention.delete_ended(database, before, min(BATCH_SIZE, most - deleted))
        deleted += gone
        if gone < BATCH_SIZE:
            break
    retention.delete_stray_chunks(database, BATCH_SIZE)
    return Pruned(deleted, retention.count_ended(database, before))
