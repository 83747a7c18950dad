"""The worker as a service: what it does on each turn of its loop."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
from datetime import timedelta
from typing import Any

from jobsup.clock import Clock, SystemClock
from jobsup.config.settings import Config
from jobsup.errors import DatabaseUnavailableError, JobsupError
from jobsup.events import emit
from jobsup.model import Reason, Status, WorkerFacts
from jobsup.runtime import failpoints, procs
from jobsup.runtime.cgroups import Groups
from jobsup.runtime.link import Link
from jobsup.runtime.service import Loop, serve
from jobsup.store import rescue, spool, workers
from jobsup.store.engine import Database
from jobsup.store.notifier import Listener
from jobsup.store.rounds import Answer, Worker
from jobsup.store.spool import Owner, Spool
from jobsup.version import VERSION
from jobsup.worker import report
from jobsup.worker.ahead import Ahead
from jobsup.worker.appetite import Appetite
from jobsup.worker.database import DatabaseThread
from jobsup.worker.grouping import Grouping
from jobsup.worker.heartbeat import Pulse
from jobsup.worker.outbox import Outbox
from jobsup.worker.run import Cause
from jobsup.worker.slots import Slots

CANCEL_GRACE_MAX = timedelta(seconds=5)
"""The longest grace of a job when the worker itself must leave."""
LEAVE_SECONDS_MAX = 10.0
"""How long a cancelled worker tries to write its results to a database that does not answer any more."""
AWAY_SECONDS = 1.0
"""A database that takes so long for a round may be away: results are kept on disk as well, and outlive this worker."""
REGISTER_RETRY_SECONDS_MAX = 2.0
IDLE_SECONDS_MAX = 3600.0
SWITCH_SECONDS = 0.0005
"""How soon the database thread lets the main one go on; with Python's own 5 ms a start would often wait as long."""

_SHUTDOWN = Cause(Status.TIMEOUT, Reason.SHUTDOWN, "ended because its worker was stopped")
_CUT_OFF = Cause(Status.TIMEOUT, Reason.WORKER_LOST, "ended because its worker could not renew its registration")


class ExpelledError(JobsupError):
    """The worker was given up: its registration is gone, and others may have its work already."""


def run(config: Config, link: Link, *, instance: str, groups: Groups | None = None) -> int:
    """Serve as a worker until told to stop; returns the exit code of the process."""
    return serve(WorkerService(config, instance=instance, groups=groups, is_supervised=link.is_supervised), link)


class WorkerService:
    """Claims, runs and finishes dispatches; see the package for the whole picture."""

    def __init__(
        self,
        config: Config,
        *,
        instance: str,
        groups: Groups | None = None,
        is_supervised: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.finished = False
        self._config = config
        self._settings = config.worker
        self._instance = instance
        self._grouping = Grouping(groups)
        self._is_supervised = is_supervised
        self._clock = clock or SystemClock()
        self._sent_at = 0.0
        self._is_leaving = False
        self._leave_at: float | None = None
        self._error: Exception | None = None
        self._listener: Listener | None = None
        self._thread: DatabaseThread | None = None

    # The service protocol

    @property
    def statements(self) -> int:
        return self._thread.statements if self._thread is not None else 0

    def start(self, loop: Loop) -> dict[str, Any]:
        procs.set_subreaper()
        self._grouping.enter()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._loop = loop
        settings = self._settings
        database = Database.of(self._config.database, kind="worker", clock=self._clock)
        self._clock = database.clock  # what is written down has the database's time, whatever this host's clock says
        self._slots = Slots(loop, self._clock, self._instance, settings, self._grouping)
        try:
            facts = self._facts()
            worker_id = self._register(database, facts)
            self._listener = Listener(database, "worker", worker_id, is_choosy=bool(settings.queues))
        except BaseException:
            database.close()
            raise
        self._is_fenced = not database.is_sqlite  # on one host the process table tells that we live
        self._worker_id = worker_id
        self._spool = Spool(self._config.supervisor.state_dir, Owner.of(worker_id, facts))
        self._pulse = Pulse(settings.heartbeat_interval.total_seconds(), loop.monotonic())
        self._appetite = Appetite(
            self._clock,
            poll_seconds=settings.poll_interval.total_seconds(),
            poll_seconds_max=settings.max_poll_interval.total_seconds(),
        )
        self._ahead = Ahead(self._clock)
        self._outbox = Outbox(self._slots, self._pulse, self._appetite, self._clock, settings.concurrency, self._ahead)
        self._thread = DatabaseThread(
            database,
            Worker(worker_id, self._config.supervisor.node, settings.queues, settings.tags),
            wake=loop.wake,
            free_space_min=self._config.database.free_space_min,
        )
        self._thread.start()
        loop.watch(self._listener.fileno(), self._woken)
        emit("worker.registered", f"Worker {worker_id} registered successfully", worker_id=worker_id)
        return {"worker_id": worker_id}

    def poll(self) -> float:
        self._take_reply()
        self._slots.tick()
        self._fill()
        self._outbox.collect()
        if self._outbox.unsent and self._is_silent:
            self._spool.keep(self._outbox.unsent)
        self._fence()
        self._send()
        self._see_to_leaving()
        if self._outbox.free and self._listener is not None:
            self._listener.welcome()
        if self._error is not None and self.finished:
            raise self._error
        return self._seconds()

    def handle(self, message: dict[str, Any]) -> None:
        """The supervisor has nothing to tell a worker that signals do not."""

    def drain(self) -> None:
        self._outbox.is_draining = True
        self._give_back()
        self._pulse.hurry(self._loop.monotonic())

    def cancel(self) -> None:
        self._outbox.is_draining = True
        self._give_back()
        patience = AWAY_SECONDS if self._is_silent else LEAVE_SECONDS_MAX
        self._leave_at = self._leave_at or self._loop.monotonic() + patience
        self._slots.withdraw()
        for one in self._slots.runs:
            self._slots.end(one, _SHUTDOWN, grace=min(one.claim.job.kill_grace, CANCEL_GRACE_MAX))

    def close(self) -> None:
        if self._thread is None:
            return
        self._slots.close()
        self._grouping.leave()
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
        self._thread.close()

    # Getting ready

    def _facts(self) -> WorkerFacts:
        settings = self._settings
        identity = procs.host_identity(self._config.supervisor.node)
        return WorkerFacts(
            node=identity.node,
            boot_id=identity.boot_id,
            pid_namespace=identity.pid_ns,
            process_id=os.getpid(),
            process_started=procs.start_time(os.getpid()) or 0,
            heartbeat_interval=settings.heartbeat_interval,
            concurrency=settings.concurrency,
            queues=settings.queues,
            tags=settings.tags,
        )

    def _register(self, database: Database, facts: WorkerFacts) -> str:
        """Write our registration, waiting for a database that is away for as long as `[database] wait` says."""
        give_up_at = self._loop.monotonic() + self._config.database.wait.total_seconds()
        while True:
            try:
                if not self._is_supervised:
                    _close_lost(database, facts, self._config.supervisor.state_dir)
                return workers.register(database, facts, VERSION)
            except DatabaseUnavailableError as error:
                if self._loop.monotonic() >= give_up_at:
                    raise
                emit("database.away", f"worker: {error}; waiting for it", level=logging.WARNING, error=str(error))
                threading.Event().wait(random.uniform(0.1, REGISTER_RETRY_SECONDS_MAX))  # noqa: S311

    # What comes in

    def _woken(self) -> None:
        if self._listener is None or not self._listener.drain():
            return
        if self._outbox.free or not self._listener.decline():
            self._outbox.woken()

    def _take_reply(self) -> None:
        reply = self._database.receive()
        if reply is None:
            return
        if reply.answer is None:
            self._fail(reply.error or ExpelledError(f"{self._worker_id}: the database gave no answer"))
            return
        self._outbox.written(reply.request)
        self._spool.forget(result.dispatch_id for result in reply.request.results)
        self._ahead.answered(self._loop.monotonic() - self._sent_at)
        _tell_refused(reply.answer)
        if reply.is_starved:
            self._appetite.starved()
        elif reply.request.claim:
            self._appetite.fed(len(reply.answer.claims), reply.request.claim, reply.answer.next_available_at)
        if not reply.answer.is_registered:
            self._fail(ExpelledError(f"{self._worker_id}: its registration is gone; its runs were ended"))
            return
        if reply.request.heartbeat is not None:
            self._pulse.renewed(self._sent_at)
        self._take_claims(reply.answer)
        self._cancel_runs(reply.answer)

    def _take_claims(self, answer: Answer) -> None:
        for claim in answer.claims:
            failpoints.reach("worker.claimed")
            report.claimed(claim)
        self._ahead.add(*answer.claims)

    def _fill(self) -> None:
        """Start what has been claimed, as far as there are slots; give it back when it may not be started any more."""
        self._outbox.take_returned()
        if len(self._ahead) and (self._outbox.is_draining or self._is_past_fence):
            self._give_back()
        free = self._outbox.free
        started: list[int] = []
        while len(self._ahead):
            claim = self._ahead.first
            if len(started) < free:
                self._slots.start(claim)
            elif not self._slots.start_behind(claim):
                break
            started.append(self._ahead.take().dispatch_id)
        self._outbox.started(*started)
        self._slots.hand_over()

    def _give_back(self) -> None:
        """Let others have what was not started."""
        for claim in self._ahead.clear():
            self._outbox.give_back(claim.dispatch_id)

    def _cancel_runs(self, answer: Answer) -> None:
        for dispatch_id, reason in answer.cancels.items():
            text = "replaced by a newer run" if reason is Reason.REPLACED else "cancelled"
            cause = Cause(Status.CANCELLED, reason, text)
            one, waiting = self._slots.get(dispatch_id), self._ahead.withdraw(dispatch_id)
            if one is not None:
                self._slots.end(one, cause)
            elif waiting is not None:
                self._slots.refuse(waiting, cause)

    def _fail(self, error: Exception) -> None:
        """Leave with an error: what runs is killed, for it is no longer ours to finish."""
        self._error = self._error or error
        self._outbox.is_draining = True
        self._ahead.clear()
        self._leave_at = self._loop.monotonic()
        for one in self._slots.runs:
            self._slots.end(one, _CUT_OFF, grace=timedelta())

    @property
    def _is_silent(self) -> bool:
        """The database did not answer, or keeps a round waiting."""
        waits = not self._database.is_idle and self._loop.monotonic() >= self._sent_at + AWAY_SECONDS
        return self._database.is_away or waits

    @property
    def _is_past_fence(self) -> bool:
        """What we have may be others' by now: this host stood still, or is cut off."""
        return self._is_fenced and self._loop.monotonic() >= self._pulse.fence_at

    def _fence(self) -> None:
        if self._slots.runs and self._is_past_fence:
            for one in self._slots.runs:
                self._slots.end(one, _CUT_OFF, grace=timedelta())

    # What goes out

    def _send(self) -> None:
        """Put a round together as soon as the last one is answered and there is something to say."""
        if not self._database.is_idle or self._is_leaving or self._error is not None:
            return
        now = self._loop.monotonic()
        if self._outbox.next_at(now) > now:
            return
        if self._outbox.unsent:
            failpoints.reach("worker.before_finish")
        self._database.send(self._outbox.compose(now))
        self._sent_at = now

    # Leaving

    def _see_to_leaving(self) -> None:
        if not self._outbox.is_draining or len(self._slots):
            return
        if self._error is not None:
            self.finished = True
            if not isinstance(self._error, ExpelledError):
                self._spool.keep(self._outbox.unsent)
        elif self._is_leaving:
            self.finished = self._database.is_closed
        elif self._database.is_idle and self._outbox.is_empty:
            self._database.leave()
            self._is_leaving = True
        if self._leave_at is not None and not self.finished and self._loop.monotonic() >= self._leave_at:
            self._error = DatabaseUnavailableError(
                f"{self._worker_id}: left while the database did not answer{self._fate()}"
            )
            self.finished = True

    def _fate(self) -> str:
        """Say what becomes of the results that are not written; as far as the disk takes them, they are kept there."""
        unsent = self._outbox.unsent
        self._spool.keep(unsent)
        if not unsent:
            return ""
        if self._spool.has_all(unsent):
            return f"; {len(unsent)} results wait in {self._spool.folder} and are written at the next start here"
        return f"; {len(unsent)} results are not written and count as lost"

    def _seconds(self) -> float:
        now = self._loop.monotonic()
        moments = [now + IDLE_SECONDS_MAX, self._slots.next_at()]
        if self._database.is_idle and not self._is_leaving:
            moments.append(self._outbox.next_at(now))
        if self._outbox.unsent and now < self._sent_at + AWAY_SECONDS:
            moments.append(self._sent_at + AWAY_SECONDS)
        if self._is_fenced and self._slots.runs:
            moments.append(self._pulse.fence_at)
        if self._leave_at is not None and not len(self._slots):
            moments.append(self._leave_at)
        return max(0.0, min(moments) - now)

    @property
    def _database(self) -> DatabaseThread:
        if self._thread is None:
            raise JobsupError("the worker was not started")
        return self._thread


def _tell_refused(answer: Answer) -> None:
    for dispatch_id in answer.refused:
        emit(
            "dispatch.refused",
            f"Dispatch {dispatch_id}: its end came too late, it had been closed before",
            level=logging.WARNING,
            dispatch_id=dispatch_id,
        )


def _close_lost(database: Database, facts: WorkerFacts, state_dir: str) -> None:
    """A worker without a supervisor closes what dead workers left itself: nobody else may be here to do it."""
    here = (facts.boot_id, facts.pid_namespace)
    spool.write_left(database, state_dir, here=here, is_alive=procs.is_alive)
    lost = rescue.find_lost(
        database,
        node=facts.node,
        boot_id=facts.boot_id,
        pid_namespace=facts.pid_namespace,
        is_alive=procs.is_alive,
    )
    rescue.close_lost(database, lost.dead)
    rescue.close_lost(database, lost.silent, are_silent=True)
