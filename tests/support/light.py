"""Workers that run nothing: registered, on a connection of their own, and as prompt as real ones."""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from jobsup.model import Heartbeat, Reason, RunResult, Status, WorkerFacts, WorkerStatus
from jobsup.store import workers
from jobsup.store.engine import Database
from jobsup.store.notifier import Listener
from jobsup.store.rounds import Round, Worker, exchange

HEARTBEAT_SECONDS = 5.0


class LightWorker:
    """One of them; `turn` does what its loop would at this moment."""

    def __init__(
        self,
        database: Database,
        number: int,
        *,
        queues: tuple[str, ...] = (),
        batch: int = 10,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._database = database
        self._batch = batch
        self._heartbeat = heartbeat
        facts = WorkerFacts(
            node=f"light-{number % 10}",
            process_id=number + 1,
            heartbeat_interval=timedelta(seconds=heartbeat),
            boot_id="light",
            pid_namespace="light",
            process_started=1,
            concurrency=1,
            queues=queues,
        )
        self.worker_id = workers.register(database, facts, "light")
        self._worker = Worker(self.worker_id, facts.node, queues)
        self._listener = Listener(database, "worker", self.worker_id)
        self._held: list[tuple[int, datetime]] = []
        self._wants = True
        self._beat_at = time.monotonic()
        self.claimed: list[int] = []
        self.rounds = 0
        """Exchanges with the database that were not for a heartbeat alone."""
        self.is_expelled = False
        self.refused = 0

    def fileno(self) -> int:
        return self._listener.fileno()

    @property
    def beat_at(self) -> float:
        return self._beat_at

    @property
    def is_eager(self) -> bool:
        """It has something to say or to ask now."""
        return self._wants or self._beat_at <= time.monotonic()

    def ask(self) -> None:
        """Ask for work at the next turn, as a poll would."""
        self._wants = True

    def woken(self) -> None:
        """Take what was heard; an offer or news makes it ask."""
        self._wants = self._listener.drain() or self._wants

    def turn(self) -> bool:
        """Send a round if there is something to say; say whether there is more to do at once."""
        now = time.monotonic()
        is_due = now >= self._beat_at
        if not (self._wants or self._held or is_due):
            return False
        at = self._database.now()
        results = [RunResult(run, Status.COMPLETED, Reason.NONE, at, started_at=start) for run, start in self._held]
        claim = self._batch if self._wants or results else 0
        beat = self._heartbeat_now() if is_due else None
        answer = exchange(self._database, self._worker, Round(results=results, claim=claim, heartbeat=beat))
        self.rounds += bool(claim or results)
        self.refused += len(answer.refused)
        self.is_expelled |= not answer.is_registered
        self._held = [(each.dispatch_id, at) for each in answer.claims]
        self.claimed += [run for run, _ in self._held]
        self._wants = len(self._held) == self._batch
        return bool(self._held)

    def beat(self) -> None:
        """Send a heartbeat and nothing else."""
        answer = exchange(self._database, self._worker, Round(heartbeat=self._heartbeat_now()))
        self.is_expelled |= not answer.is_registered

    def _heartbeat_now(self) -> Heartbeat:
        self._beat_at = time.monotonic() + self._heartbeat
        return Heartbeat(WorkerStatus.IDLE, len(self.claimed), None)

    def close(self) -> None:
        self._listener.close()
        with suppress(Exception):
            workers.stop(self._database, self.worker_id)
        self._database.close()


def serve(crowd: Sequence[LightWorker], is_done: Callable[[], bool], seconds: float) -> None:
    """Let the workers work until `is_done`, each when it is woken, has something in hand, or its heartbeat is due.

    Heartbeats go first: a worker in a process of its own does not wait with its own for what a hundred others do.
    """
    poll = select.epoll()
    by_fd = {worker.fileno(): worker for worker in crowd}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    eager = list(crowd)
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline, f"not done after {seconds:g} s"
        eager = [worker for worker in eager if _in_time(crowd) and worker.turn()]
        wait = 0 if eager else max(0.0, min(0.2, min(worker.beat_at for worker in crowd) - time.monotonic()))
        for fd, _ in poll.poll(wait, len(by_fd)):
            by_fd[fd].woken()
            eager.append(by_fd[fd])
        known = set(map(id, eager))
        eager += [worker for worker in crowd if worker.is_eager and id(worker) not in known]
    poll.close()


def _in_time(crowd: Sequence[LightWorker]) -> bool:
    """Send the heartbeats that are due."""
    now = time.monotonic()
    for worker in crowd:
        if worker.beat_at <= now:
            worker.beat()
    return True


def twice(crowd: Sequence[LightWorker]) -> list[int]:
    """Return the runs that more than one of them was given, or one more than once."""
    counted = Counter(run for worker in crowd for run in worker.claimed)
    return [run for run, count in counted.items() if count > 1]
