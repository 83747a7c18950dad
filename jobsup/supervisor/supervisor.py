"""The supervisor: keeps the children of a plan alive, from the first lock to the last process.

One thread, one loop. It knows how to keep children, not what they do: `prepare`, `compose` and `apply` come from
its owner. Nothing it does can block for long; what could is done in short-lived children.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from jobsup.clock import Clock, SystemClock
from jobsup.control.server import Request, Server
from jobsup.errors import ConflictError, ExitCode, JobsupError
from jobsup.events import emit
from jobsup.runtime import heap, procs
from jobsup.runtime.cgroups import Groups
from jobsup.runtime.sdnotify import Notifier
from jobsup.runtime.service import Loop
from jobsup.runtime.signals import SignalQueue
from jobsup.supervisor import status as pictures
from jobsup.supervisor.boot import Boot
from jobsup.supervisor.child import CANCEL_SECONDS, Child
from jobsup.supervisor.crew import Crew
from jobsup.supervisor.exits import Exit
from jobsup.supervisor.faults import Faults
from jobsup.supervisor.premises import Premises
from jobsup.supervisor.reloads import Reloads
from jobsup.supervisor.signals import signal_table
from jobsup.supervisor.spawn import freeze_memory
from jobsup.supervisor.spec import COUNT_MAX, Plan
from jobsup.supervisor.stall import StallDetector
from jobsup.supervisor.task import Outcome
from jobsup.supervisor.verbs import verb_table
from jobsup.supervisor.yard import Yard

CHECK_SECONDS_MAX = 2.0
"""The loop turns at least this often, to look at the children's signs of life."""
CHECK_SECONDS_MIN = 0.05
CHECKS_PER_WATCHDOG = 4
END_SECONDS = 5.0
"""How long the last children may take to die."""
EXTEND_SECONDS = 5.0
MEND_SECONDS = 5.0
"""How often the runtime folder is looked at."""


class Phase(StrEnum):
    """Where the supervisor stands."""

    STARTING = "starting"
    """Preparing, or waiting until every child was ready once."""
    RUNNING = "running"
    """Every child was ready once."""
    STOPPING = "stopping"
    """The children are leaving."""


class Supervisor:
    """Run it once: `run` returns the exit code of the process, or becomes the next image of it."""

    def __init__(
        self,
        *,
        prepare: Callable[[Any | None], Any],
        compose: Callable[[Any], Plan],
        apply: Callable[[Any], Any],
        runtime_dir: str | Path,
        lock_paths: Sequence[str | Path],
        instance: str,
        reexec_argv: Sequence[str],
        groups: Groups | None = None,
        on_ready: Callable[[dict[str, Any]], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.prepare = prepare
        self.compose = compose
        self.apply = apply
        self.generation = 0
        self._premises = Premises(Path(runtime_dir), lock_paths, instance, groups)
        self._groups = groups
        self._instance = instance
        self._reexec_argv = list(reexec_argv)
        self._on_ready = on_ready
        self._clock = clock or SystemClock()
        self._phase = Phase.STARTING
        self._is_over = False
        self._exit_code = 0
        self._is_restarting = False
        self._prepared: Any = None
        self._plan = Plan(())
        self._waiting: list[Request] = []
        self._stops = 0
        self._faults = Faults()
        self._mend_at = 0.0
        self._server: Server | None = None
        self._boot: Boot | None = None

    def run(self) -> int:
        """Supervise until told to stop. Errors of the start are written to standard error, a line each."""
        self._started_at = self._clock.now()
        self._notifier = Notifier()
        self._loop = Loop()
        self._stall = StallDetector(self._clock.monotonic())
        self._yard = Yard(self._loop, self._clock, self._instance, self._close_in_child, self._groups)
        self.crew = Crew(self._yard, self._clock)
        self._reloads = Reloads(self, self.crew, self._yard, self._notifier, self._clock)
        self._yard.on_news = self._take_signals
        self._yard.on_ready = self._child_ready
        self._yard.on_ended = self._child_ended
        self._orders = signal_table(self)
        self._signals = SignalQueue((*self._orders, signal.SIGCHLD))
        self._loop.watch(self._signals.fileno(), self._take_signals)
        try:
            self._begin()
            self._turn_until_over()
        except JobsupError as error:
            self._fail_start(error)
        finally:
            self._end()
        if self._is_restarting:
            self._notifier.restore()
            os.execv(self._reexec_argv[0], self._reexec_argv)  # ourselves again, under the same pid
        return self._exit_code

    # The start

    def _begin(self) -> None:
        self._premises.take()
        procs.set_subreaper()
        procs.set_name("supervisor")
        self._yard.start_guardian()
        self._premises.sweep("Left over from an earlier supervisor", self._yard)
        self._server = Server(self._loop, self._premises.socket_path, verb_table(self))
        self._notifier.status("preparing")
        self._boot = Boot(self, self._yard, on_done=self._booted, on_failed=self._fail_start)
        self._boot.begin()

    def _booted(self, prepared: Any, plan: Plan) -> None:
        self._prepared, self._plan = prepared, plan
        self.generation = 1
        freeze_memory()
        heap.seal()
        self.crew.start(plan)
        self._yard.renew_guardian()
        self._look_whether_all_ready()

    def _fail_start(self, error: JobsupError) -> None:
        self._exit_code = int(error.exit_code)
        self._is_over = True
        with suppress(OSError):
            sys.stderr.write("".join(f"jobsup: {line}\n" for line in str(error).splitlines()))
            sys.stderr.flush()

    # The loop

    def _turn_until_over(self) -> None:
        while not self._is_over:
            self._turn(self._check)

    def _turn(self, wait: Callable[[], float]) -> None:
        try:
            self._loop.turn(wait())
        except Exception as error:  # noqa: BLE001  # an error of ours must not take the children down
            if not self._faults.survive(error, is_childless=not self.crew.pools):
                self._exit_code, self._is_over = int(ExitCode.FAILED), True

    def _check(self) -> float:
        """Do what is due; returns the seconds until something is."""
        now = self._clock.monotonic()
        judged_from = self._stall.judged_from(now)
        if self._phase is Phase.STOPPING and self._yard.is_empty:
            self._is_over = True
            return 0.0
        seconds = [
            self._yard.check(now, judged_from),
            self.crew.check(now),
            self._notifier.ping(now),
            self._look_interval(),
        ]
        if self._server is not None:
            seconds += [self._server.poll(), self._mend(now)]
        if self._phase is Phase.STOPPING:
            self._notifier.extend_timeout(EXTEND_SECONDS)
        self._notifier.status(self._status_line())
        wait = max(0.0, min(seconds))
        self._stall.expect(now + wait)
        return wait

    def _mend(self, now: float) -> float:
        """Make the runtime folder again when it was removed, so that people can still reach us."""
        if now >= self._mend_at and self._server is not None:
            self._mend_at = now + MEND_SECONDS
            try:
                if self._premises.mend():
                    self._server.listen_again()
            except JobsupError as error:
                emit("premises.lost", f"Nobody can reach this instance: {error}", level=logging.ERROR)
        return self._mend_at - now

    def _look_interval(self) -> float:
        watchdogs = [pool.spec.watchdog / CHECKS_PER_WATCHDOG for pool in self.crew]
        return max(CHECK_SECONDS_MIN, min([*watchdogs, CHECK_SECONDS_MAX]))

    # What children do

    def _child_ready(self, child: Child) -> None:
        slot = self.crew.ready(child)
        if slot is not None:
            self._reloads.child_ready(slot)
        self._look_whether_all_ready()

    def _child_ended(self, child: Child, end: Exit, text: str) -> None:
        slot = self.crew.ended(child, end, text)
        if slot is not None:
            self._reloads.child_failed(slot, child, text)

    def _look_whether_all_ready(self) -> None:
        if self._phase is Phase.STARTING and self.generation and self.crew.was_ready:
            self._phase = Phase.RUNNING
            emit("supervisor.ready", f"Started: {self.crew.summary(missing='starting')}")
            self._notifier.status(self._status_line())
            self._notifier.ready()
            if self._on_ready is not None:
                self._on_ready(self.status())

    def _take_signals(self) -> None:
        for signum in self._signals.take():
            if signum == signal.SIGCHLD:
                self._yard.reap_strangers()
            else:
                emit("supervisor.signal", f"Received {signal.Signals(signum).name}", signal=signum)
                self._orders[signum]()

    # What people ask for

    def status(self, *, with_memory: bool = False) -> dict[str, Any]:
        """Describe everything, JSON-able."""
        now = self._clock.monotonic()
        return {
            "state": self.state,
            "supervisor": {
                **pictures.process(self._started_at, self._instance, with_memory=with_memory),
                "config": self._plan.config,
                "generation": self.generation,
                "last_reload": self._reloads.last,
            },
            "children": pictures.children(self.crew, self._yard, now, with_memory=with_memory),
            **self._plan.facts,
        }

    @property
    def state(self) -> str:
        if self._phase is Phase.STOPPING:
            return "stopping"
        if self._reloads.is_under_way:
            return "reloading"
        return "degraded" if self.crew.is_degraded else str(self._phase)

    def stop(self, waiting: Request | None = None) -> None:
        """Drain and leave; whoever waits is answered at the very end."""
        if waiting is not None:
            self._waiting.append(waiting)
        if self._phase is Phase.STOPPING:
            return
        self._stops = max(self._stops, 1)
        self._phase = Phase.STOPPING
        what = "Restarting" if self._is_restarting else "Stopping"
        emit("supervisor.stopping", f"{what}: what runs may finish first")
        if self._is_restarting:
            self._notifier.reloading()  # after STOPPING=1 the manager would wait for our end, and then enforce it
        else:
            self._notifier.stopping()
        if self._boot is not None:
            self._boot.abandon()
        self._reloads.abandon("the instance stops")
        self._yard.cancel_tasks("the instance stops")
        self.crew.stop()

    def stop_sooner(self) -> None:
        """Drain; the second time cancel, the third time kill."""
        self._stops += 1
        if self._stops == 1:
            self.stop()
        elif self._stops == 2:
            self.cancel()
        else:
            self.crew.kill()

    def cancel(self, waiting: Request | None = None) -> None:
        """End what runs and leave."""
        self.stop(waiting)
        self._stops = max(self._stops, 2)
        self.crew.cancel()

    def restart(self, waiting: Request | None) -> None:
        """Check that the next start will work, then drain and start over under the same pid."""
        if self._phase is Phase.STOPPING:
            raise ConflictError("the instance is stopping")
        prepared = self._prepared

        def checked(outcome: Outcome) -> None:
            if outcome.error is not None:
                if waiting is not None:
                    waiting.fail(outcome.error)
                emit("restart.refused", f"Restart refused: {outcome.error}", level=logging.ERROR)
                return
            if self._phase is not Phase.STOPPING:
                self._is_restarting = True
            self.stop(waiting)

        self._yard.run("prepare", lambda: self.prepare(prepared), checked)

    def begin_reload(self, waiting: Request | None, *, is_dry_run: bool) -> None:
        """Reload; whoever waits sees the lines as they come, and the result."""
        if self._phase is Phase.STOPPING or self._reloads.is_under_way or not self.generation:
            raise ConflictError(f"no reload now: the instance is {self.state}; try again when that is over")
        self._reloads.begin(waiting, is_dry_run=is_dry_run)

    def reload_unasked(self) -> None:
        """Reload with nobody waiting for it; one that comes during another follows it."""
        if self._reloads.is_under_way:
            self._reloads.begin_again()
            return
        try:
            self.begin_reload(None, is_dry_run=False)
        except ConflictError as error:
            emit("reload.refused", f"Reload: {error}", level=logging.WARNING)

    @property
    def in_force(self) -> tuple[Any, Plan]:
        return self._prepared, self._plan

    def put_in_force(self, prepared: Any, plan: Plan) -> None:
        """Begin the next generation: its children are there."""
        self.generation += 1
        self._prepared, self._plan = prepared, plan

    def reload_over(self) -> None:
        """Look whether the start is over, which a reload may have held up."""
        self._look_whether_all_ready()

    def scale(self, kind: str, count: int) -> tuple[int, int]:
        """Change how many children of a kind there are; returns the count before and after."""
        pool = self.crew.scalable(kind)
        if not 0 <= count <= COUNT_MAX:
            raise ConflictError(f"{kind}: a count from 0 to {COUNT_MAX} is possible, not {count}")
        if self._phase is Phase.STOPPING or self._reloads.is_under_way:
            raise ConflictError(f"no scaling now: the instance is {self.state}; try again when that is over")
        before = len(pool.wanted)
        for slot in pool.scale(count):
            slot.start()
        emit("supervisor.scaled", f"{kind}: {before} -> {count}", kind=kind, before=before, after=count)
        return before, count

    # The end

    def _end(self) -> None:
        """Leave nothing behind, however we came here."""
        self._yard.cancel_tasks("the instance stops")
        self.crew.kill()
        deadline = self._clock.monotonic() + END_SECONDS
        while not self._yard.is_empty and self._clock.monotonic() < deadline:
            self._turn(lambda: CANCEL_SECONDS)
        self._premises.sweep("Left over from jobs", self._yard)
        self._yard.dismiss_guardian()
        for waiting in self._waiting:
            waiting.done(self._exit_code, restarting=self._is_restarting)
        if self._server is not None:
            self._server.close()
        if self._is_restarting:
            self._premises.hand_over()
        else:
            self._premises.leave()
        self._signals.close()
        self._loop.close()
        if self.generation:
            emit("supervisor.stopped", "Starting again" if self._is_restarting else "Stopped")
        if not self._is_restarting:
            self._notifier.close()

    def _close_in_child(self) -> None:
        """Close in a forked child what has an object of its own; plain descriptors are closed together later."""
        self._loop.close()
        if self._server is not None:
            self._server.close_in_child()
        self._yard.close_in_child()
        self._premises.close_in_child()
        self._notifier.close()

    def _status_line(self) -> str:
        if not self.generation:
            return "preparing"
        return f"gen {self.generation}: {self.crew.summary()}" + ("" if self.state == "running" else f", {self.state}")
