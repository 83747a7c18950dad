"""The one thread that owns the database connection: takes a round, answers it, and is patient when it cannot."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from jobsup.errors import DatabaseUnavailableError, JobsupError
from jobsup.events import emit
from jobsup.store import rounds, upkeep, workers
from jobsup.store.engine import Database
from jobsup.store.rounds import Answer, Round, Worker

RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 3.0
"""Short enough to be back well within ten seconds of the database, an attempt to connect included."""
FAULTS_MAX = 3
"""Errors in a row that are not mere absence, after which the worker gives up instead of trying for ever."""
JOIN_SECONDS = 2.0


class _Order(Enum):
    LEAVE = "leave"
    """Mark the worker OFFLINE, then end."""
    END = "end"
    """Close the connection and end the thread; the registration stays for whoever closes what we left."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one round."""

    request: Round
    answer: Answer | None = None
    error: Exception | None = None
    """It was given up: a fault that waiting does not mend, or the worker leaves."""
    is_starved: bool = False
    """Nothing was claimed, because the disk is too full to start more work."""


class DatabaseThread:
    """A mailbox with room for one round; the next is put together while this one is under way."""

    def __init__(self, database: Database, worker: Worker, *, wake: Callable[[], None], free_space_min: int) -> None:
        self._database = database
        self._worker = worker
        self._wake = wake
        self._free_space_min = free_space_min
        self._orders: queue.SimpleQueue[Round | _Order] = queue.SimpleQueue()
        self._replies: deque[Reply] = deque()
        self._is_leaving = threading.Event()
        self._is_starved = False
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self.is_idle = True
        """No round is under way; only the main thread reads and writes this."""
        self.is_closed = False

    @property
    def is_away(self) -> bool:
        """The database did not answer the last try."""
        return self._is_away

    @property
    def statements(self) -> int:
        """How many statements it has sent so far."""
        return self._database.statements

    def start(self) -> None:
        self._thread.start()

    def send(self, request: Round) -> None:
        """Hand over a round; only while idle."""
        self.is_idle = False
        self._orders.put(request)

    def receive(self) -> Reply | None:
        """Take the answer, once it is there; the thread is idle again then."""
        if not self._replies:
            return None
        self.is_idle = True
        return self._replies.popleft()

    def leave(self) -> None:
        """Have the worker marked OFFLINE and the connection closed, after what is under way."""
        self.is_idle = False
        self._orders.put(_Order.LEAVE)

    def give_up(self) -> None:
        """Try no longer: what is under way and cannot be done at once is answered with its error."""
        self._is_leaving.set()

    def close(self) -> None:
        """End the thread; a database that hangs is left behind with it."""
        self.give_up()
        self._orders.put(_Order.END)
        self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            order = self._orders.get()
            if isinstance(order, _Order):
                break
            self._replies.append(self._do(order))
            self._wake()
        if order is _Order.LEAVE:
            self._sign_off()
        self._database.close()
        self.is_closed = True
        if not self._is_leaving.is_set():
            self._wake()

    def _do(self, request: Round) -> Reply:
        """Do a round, however often it takes: a result must not be lost to a database that is away for a while."""
        request = rounds.ready(request)
        wait = RETRY_SECONDS_MIN
        faults = 0
        while True:
            try:
                reply = self._try(request)
            except Exception as error:  # noqa: BLE001  (the edge of the thread: told once, then tried again)
                faults += not isinstance(error, DatabaseUnavailableError)
                self._say_away(error)
                if faults >= FAULTS_MAX or self._is_leaving.wait(random.uniform(wait / 2, wait)):  # noqa: S311
                    return Reply(request, error=error)
                request = replace(request, is_repeated=True)
                wait = min(wait * 2, RETRY_SECONDS_MAX)
            else:
                self._say_back()
                return reply

    def _try(self, request: Round) -> Reply:
        is_starved = request.claim > 0 and self._is_disk_full()
        if is_starved:
            request = replace(request, claim=0)
        return Reply(request, rounds.exchange(self._database, self._worker, request), is_starved=is_starved)

    def _is_disk_full(self) -> bool:
        free = upkeep.free_space(self._database)
        is_full = free is not None and free < self._free_space_min
        if is_full and not self._is_starved:
            emit(
                "worker.starved",
                f"{self._worker.worker_id}: only {free} bytes are free beside the database, less than "
                f"free_space_min = {self._free_space_min}: nothing is claimed until there is more",
                level=logging.ERROR,
                free=free,
            )
        elif self._is_starved and not is_full:
            emit("worker.fed", f"{self._worker.worker_id}: there is free space again, claiming goes on")
        self._is_starved = is_full
        return is_full

    def _say_away(self, error: Exception) -> None:
        if not self._is_away:
            text = str(error) if isinstance(error, JobsupError) else repr(error)
            emit(
                "database.away",
                f"{self._worker.worker_id}: {text}; trying again, what runs goes on",
                level=logging.WARNING,
                error=text,
            )
            self._is_away = True
            self._wake()  # what waits to be written is kept on disk from now on

    def _say_back(self) -> None:
        if self._is_away:
            emit("database.back", f"{self._worker.worker_id}: the database answers again")
        self._is_away = False

    def _sign_off(self) -> None:
        try:
            workers.stop(self._database, self._worker.worker_id)
        except Exception as error:  # noqa: BLE001  (it leaves all the same; the scheduler finds it gone)
            self._say_away(error)
