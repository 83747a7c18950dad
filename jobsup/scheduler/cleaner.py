"""What has ended is counted in its day, and what is past its time goes: runs, silent workers, the write-ahead log.

All of it in small steps.
"""

from __future__ import annotations

import math
from datetime import timedelta

from jobsup.clock import Clock
from jobsup.config.settings import SchedulerSettings
from jobsup.events import emit
from jobsup.store import job_days, retention, upkeep, workers
from jobsup.store.engine import Database

DELETE_BATCH_SIZE = 500
"""Rows deleted in one transaction: a dispatch that is due waits no longer than for one of these."""
OFFLINE_CHECK_SECONDS = 60.0
"""Between two looks for workers that have been silent for too long."""
COUNT_SECONDS = 300.0
"""Between two looks for ended runs that are not counted in their days."""
WAL_CHECK_SECONDS = 10.0
"""Between two looks at the size of the write-ahead log: a look is a `stat`, no query."""
WAL_BYTES_MAX = 4 << 20
"""A longer log is copied into the database and cut."""


class Cleaner:
    """The leader's housekeeping: `attend` each turn does at most one small step of it."""

    def __init__(self, database: Database, clock: Clock, settings: SchedulerSettings, *, boot_id: str) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._boot_id = boot_id
        self._clean_at = self._offline_at = self._wal_at = self._count_at = -math.inf
        self._deleted = 0

    @property
    def seconds_left(self) -> float:
        """Seconds until `attend` has something to do."""
        return max(0.0, min(self._clean_at, self._offline_at, self._wal_at, self._count_at) - self._clock.monotonic())

    def attend(self) -> None:
        """Do the next step that is due; raises DatabaseError when the database does not answer."""
        now = self._clock.monotonic()
        if now >= self._offline_at:
            self._mark_offline()
            self._offline_at = now + OFFLINE_CHECK_SECONDS
        elif now >= self._wal_at:
            self._cut_wal()
            self._wal_at = now + WAL_CHECK_SECONDS
        elif now >= self._count_at:
            if job_days.count(self._database) < job_days.STRETCH_ROWS_MAX:
                self._count_at = now + COUNT_SECONDS
        elif now >= self._clean_at and not self._delete_batch():
            self._clean_at = now + self._settings.cleanup_interval.total_seconds()

    def _mark_offline(self) -> None:
        threshold = self._settings.worker_offline_threshold
        for worker_id in workers.mark_stale_offline(self._database, threshold, boot_id=self._boot_id):
            emit("worker.offline", f"Worker {worker_id} was silent for too long: OFFLINE", worker_id=worker_id)

    def _cut_wal(self) -> None:
        if upkeep.wal_bytes(self._database) > WAL_BYTES_MAX:
            upkeep.checkpoint(self._database)

    def _delete_batch(self) -> bool:
        """Delete one batch; False when nothing past its retention is left."""
        before = self._database.now() - timedelta(days=self._settings.cleanup_retention_days)
        count = retention.delete_ended(self._database, before, DELETE_BATCH_SIZE)
        self._deleted += count
        if count >= DELETE_BATCH_SIZE:
            return True
        retention.delete_offline_workers(self._database, before, DELETE_BATCH_SIZE)
        retention.delete_stray_chunks(self._database, DELETE_BATCH_SIZE)
        oldest = (self._database.now() - timedelta(days=job_days.DAYS_KEPT)).date()
        job_days.delete_old(self._database, oldest, DELETE_BATCH_SIZE)
        if self._deleted:
            days = self._settings.cleanup_retention_days
            emit("cleanup.done", f"Deleted {self._deleted} runs older than {days} days", count=self._deleted)
        self._deleted = 0
        return False
