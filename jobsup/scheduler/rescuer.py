"""Runs whose owner is gone: closed at once when the supervisor reports a death, else as soon as somebody looks.

Every standing scheduler closes what its supervisor reports and what its own process table shows, leader or not:
closing is fenced by the worker's id, so doing it twice changes nothing. Only the leader judges by time, and not by
the silence of a time in which nobody could be heard: after the database was away, workers get a moment to come back.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from jobsup.clock import Clock, rfc3339
from jobsup.events import emit
from jobsup.runtime import procs
from jobsup.runtime.procs import HostIdentity
from jobsup.runtime.vigil import Vigil
from jobsup.store import rescue, spool
from jobsup.store.attempts import Ended
from jobsup.store.engine import Database
from jobsup.store.rescue import Lost

LOOK_SECONDS = 15.0
"""Between two reads of the registered workers, unless one of another host would be silent for too long before."""
SILENCE_MARGIN_SECONDS = 0.05
"""So much after that moment is looked, so that it is surely past."""
BACKSTOP_SECONDS = 60.0
"""Between two looks for runs that are past their deadline: no way of losing them is known."""
LOOKS_PER_THRESHOLD = 4
"""What is given up when it has had no owner or host for a threshold is looked for so often in that time,"""
DESERTED_SECONDS_MAX = 300.0
"""but at least at this distance, and not more often than for the former."""
OVERDUE_MARGIN = timedelta(seconds=30)
"""How far past deadline and kill grace a run of a living worker may be before it is ended over its head."""


class Rescuer:
    """`attend` each turn; `child_gone` when the supervisor says so."""

    def __init__(
        self, database: Database, clock: Clock, *, here: HostIdentity, threshold: timedelta, state_dir: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._here = here
        self._state_dir = state_dir
        self._threshold = threshold
        self._local = Vigil()
        self._deserted_seconds = max(
            BACKSTOP_SECONDS, min(DESERTED_SECONDS_MAX, threshold.total_seconds() / LOOKS_PER_THRESHOLD)
        )
        self._look_at = self._backstop_at = self._deserted_at = -math.inf
        self._reported: list[str] = []
        self._was_leading = False
        self._is_away = False
        self._back_since: datetime | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until `attend` has something to do."""
        return max(0.0, min(self._look_at, self._backstop_at) - self._clock.monotonic())

    def child_gone(self, message: dict[str, Any]) -> None:
        """Note a worker whose process has ended; the next `attend` closes its runs. Other children have none."""
        worker_id = message.get("facts", {}).get("worker_id")
        if message.get("kind") == "worker" and worker_id:
            self._reported.append(str(worker_id))

    def look_now(self) -> None:
        """Read the registered workers in the next turn: one may have come, and is watched from then on."""
        self._look_at = -math.inf

    def database_away(self) -> None:
        """Note that the database did not answer: until it does, nobody can be heard of."""
        self._is_away = True

    def attend(self, *, is_leading: bool) -> None:
        """Close what is lost; raises DatabaseError with nothing forgotten when the database does not answer."""
        if self._reported:
            self._write_left()
            self._close_lost(self._reported)
            self._reported = []
        has_begun = is_leading and not self._was_leading
        if has_begun or self._clock.monotonic() >= self._look_at or self._local.has_ended:  # asks the kernel
            self._look(is_leading=is_leading)
        self._was_leading = is_leading
        now = self._clock.monotonic()
        if now >= self._backstop_at:
            if is_leading:
                _tell(rescue.close_overdue(self._database, OVERDUE_MARGIN), "passed its deadline and was not ended")
                if now >= self._deserted_at:
                    self._give_up_deserted()
                    self._deserted_at = now + self._deserted_seconds
            self._backstop_at = now + BACKSTOP_SECONDS

    def close(self) -> None:
        """Let go of the processes that are watched."""
        self._local.close()

    def _give_up_deserted(self) -> None:
        _tell(rescue.close_ownerless(self._database, self._threshold), "had no owner")
        _tell_hostless(rescue.cancel_hostless(self._database, self._threshold))

    def _look(self, *, is_leading: bool) -> None:
        if self._is_away:
            self._back_since = self._database.now()
        lost = self._find_lost()
        self._is_away = False
        self._write_left()
        self._close_lost(lost.dead)
        seconds = LOOK_SECONDS
        if is_leading:
            self._close_lost(lost.silent, are_silent=True)
            if lost.next_silent_at is not None:
                left = (lost.next_silent_at - self._database.now()).total_seconds()
                seconds = min(seconds, left + SILENCE_MARGIN_SECONDS)
        self._look_at = self._clock.monotonic() + seconds

    def _write_left(self) -> None:
        """Write what workers of this host had on disk when they went: what has ended is not lost."""
        here = (self._here.boot_id, self._here.pid_ns)
        spool.write_left(self._database, self._state_dir, here=here, is_alive=procs.is_alive)

    def _find_lost(self) -> Lost:
        alive: set[tuple[int, int]] = set()

        def is_alive(pid: int, started: int) -> bool:
            if not procs.is_alive(pid, started):
                return False
            alive.add((pid, started))
            return True

        lost = rescue.find_lost(
            self._database,
            node=self._here.node,
            boot_id=self._here.boot_id,
            pid_namespace=self._here.pid_ns,
            is_alive=is_alive,
            back_since=self._back_since,
        )
        self._local.watch(alive)
        return lost

    def _close_lost(self, worker_ids: Sequence[str], *, are_silent: bool = False) -> None:
        for worker_id in dict.fromkeys(worker_ids):
            ended = rescue.close_lost(self._database, [worker_id], are_silent=are_silent)
            how = "was not heard of for a whole lease and is given up" if are_silent else "is gone"
            emit("worker.lost", f"Worker {worker_id} {how}", worker_id=worker_id, runs=len(ended))
            _tell(ended, f"was lost with {worker_id}", worker_id=worker_id)


def _tell(ended: Sequence[Ended], what: str, **fields: Any) -> None:
    for run in ended:
        following = f"run {run.retry_id} follows at {rfc3339(run.retry_at)}" if run.retry_id else "no retry is left"
        emit(
            "dispatch.rescued",
            f'Dispatch {run.dispatch_id} (job "{run.job_name}") {what}: TIMEOUT, {following}',
            level=logging.WARNING,
            dispatch_id=run.dispatch_id,
            job=run.job_name,
            retry_id=run.retry_id,
            **fields,
        )


def _tell_hostless(dispatch_ids: Sequence[int]) -> None:
    for dispatch_id in dispatch_ids:
        emit(
            "dispatch.host_gone",
            f"Dispatch {dispatch_id} is CANCELLED: the host it had to run on was not back in time",
            level=logging.WARNING,
            dispatch_id=dispatch_id,
        )
