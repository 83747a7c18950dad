"""The supervisor: keeps the children of a plan alive, from the first lock to the last process.

One thread, one loop. It knows how to keep children, not what they do: `prepare`, `compose` and `apply` come from
its owner. Nothing it does can block for long; what could is done in short-lived children.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from jobsup.clock import Clock, SystemClock, rfc3339
from jobsup.control.server import Request, Server, SocketError
from jobsup.errors import ConflictError, ExitCode, JobsupError
from jobsup.events import emit
from jobsup.runtime import locks, logs, procs
from jobsup.runtime.sdnotify import Notifier
from jobsup.runtime.service import Loop
from jobsup.runtime.signals import SignalQueue
from jobsup.supervisor import status as pictures
from jobsup.supervisor.child import CANCEL_SECONDS, Child
from jobsup.supervisor.crew import Crew
from jobsup.supervisor.exits import Exit
from jobsup.supervisor.pool import Pool
from jobsup.supervisor.reload import Reload
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
SWEEP_SECONDS = 5.0
ERRORS_MAX = 100
"""So many errors of our own are more than one can live with."""
EXTEND_SECONDS = 5.0
PINGS_PER_WATCHDOG = 3
SOCKET_NAME = "control.sock"
NEVER = float("inf")


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
        on_ready: Callable[[dict[str, Any]], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.prepare = prepare
        self.compose = compose
        self.apply = apply
        self.socket_path = Path(runtime_dir) / SOCKET_NAME
        self.generation = 0
        self.reload: Reload | None = None
        self._lock_paths = lock_paths
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
        self._last_reload: dict[str, Any] | None = None
        self._waiting: list[Request] = []
        self._stops = 0
        self._hup_again = False
        self._errors = 0
        self._pinged_at = -NEVER
        self._locks: list[locks.Lock] = []
        self._server: Server | None = None

    def run(self) -> int:
        """Supervise until told to stop. Errors of the start are written to standard error, a line each."""
        self._started_at = self._clock.now()
        self._notifier = Notifier()
        self._loop = Loop()
        self._stall = StallDetector(self._clock.monotonic())
        self._yard = Yard(self._loop, self._clock, self._instance, self._close_in_child)
        self._crew = Crew(self._yard, self._clock)
        self._yard.on_ready = self._child_ready
        self._yard.on_ended = self._child_ended
        self._signals = SignalQueue((*_SIGNALS, signal.SIGCHLD))
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
        _make_runtime_dir(self.socket_path.parent)
        for path in self._lock_paths:
            self._locks.append(locks.acquire(path))
        procs.set_subreaper()
        procs.set_name("supervisor")
        self._yard.start_guardian()
        self._sweep("Left over from an earlier supervisor")
        self._server = Server(self._loop, self.socket_path, verb_table(self))
        self._notifier.status("preparing")
        self._yard.run("prepare", lambda: self.prepare(None), self._start_prepared)

    def _start_prepared(self, outcome: Outcome) -> None:
        if self._phase is Phase.STOPPING:
            return
        if outcome.error is not None:
            self._fail_start(outcome.error)
            return
        prepared = self._prepared = outcome.value
        try:
            self._plan = self.compose(prepared)
        except JobsupError as error:
            self._fail_start(error)
            return
        self._yard.run("apply", lambda: self.apply(prepared), self._start_applied)

    def _start_applied(self, outcome: Outcome) -> None:
        if self._phase is Phase.STOPPING:
            return
        if outcome.error is not None:
            self._fail_start(outcome.error)
            return
        self.generation = 1
        freeze_memory()
        self._crew.start(self._plan)
        self._yard.renew_guardian()
        self._look_whether_all_ready()

    def _fail_start(self, error: JobsupError) -> None:
        self._exit_code = int(error.exit_code)
        self._is_over = True
        with suppress(OSError):
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()

    # The loop

    def _turn_until_over(self) -> None:
        while not self._is_over:
            self._turn(self._check)

    def _turn(self, wait: Callable[[], float]) -> None:
        try:
            self._loop.turn(wait())
        except Exception as error:  # noqa: BLE001  # an error of ours must not take the children down
            self._survive(error)

    def _survive(self, error: Exception) -> None:
        self._errors += 1
        text = "".join(traceback.format_exception(error)).rstrip()
        emit("supervisor.error", f"Internal error, going on: {text}", level=logging.CRITICAL)
        if self._errors >= ERRORS_MAX:
            emit("supervisor.failed", f"{ERRORS_MAX} internal errors: giving up", level=logging.CRITICAL)
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
            self._crew.check(now),
            self._ping(now),
            self._look_interval(),
        ]
        if self._server is not None:
            seconds.append(self._server.poll())
        self._notifier.status(self._status_line())
        wait = max(0.0, min(seconds))
        self._stall.expect(now + wait)
        return wait

    def _look_interval(self) -> float:
        watchdogs = [pool.spec.watchdog / CHECKS_PER_WATCHDOG for pool in self._crew]
        return max(CHECK_SECONDS_MIN, min([*watchdogs, CHECK_SECONDS_MAX]))

    def _ping(self, now: float) -> float:
        """Show the service manager that this loop turns."""
        if self._phase is Phase.STOPPING:
            self._notifier.extend_timeout(EXTEND_SECONDS)
        if self._notifier.watchdog_seconds is None:
            return NEVER
        interval = self._notifier.watchdog_seconds / PINGS_PER_WATCHDOG
        if now - self._pinged_at >= interval:
            self._pinged_at = now
            self._notifier.watchdog()
        return self._pinged_at + interval - now

    # What children do

    def _child_ready(self, child: Child) -> None:
        slot = self._crew.ready(child)
        if slot is not None and self.reload is not None:
            self.reload.child_ready(slot)
        self._look_whether_all_ready()

    def _child_ended(self, child: Child, end: Exit, text: str) -> None:
        slot = self._crew.ended(child, end, text)
        if slot is not None and self.reload is not None:
            self.reload.child_failed(slot, child, text)

    def _look_whether_all_ready(self) -> None:
        if self._phase is Phase.STARTING and self.generation and self._crew.was_ready:
            self._phase = Phase.RUNNING
            emit("supervisor.ready", f"All children are ready: {self._crew.summary()}")
            self._notifier.status(self._status_line())
            self._notifier.ready()
            if self._on_ready is not None:
                self._on_ready(self.status())

    # Signals

    def _take_signals(self) -> None:
        for signum in self._signals.take():
            if signum == signal.SIGCHLD:
                self._yard.reap_strangers()
            else:
                emit("supervisor.signal", f"Received {signal.Signals(signum).name}", signal=signum)
                _SIGNALS[signum](self)

    def stop_by_signal(self) -> None:
        """Drain; the second time cancel, the third time kill."""
        self._stops += 1
        if self._stops == 1:
            self.stop()
        elif self._stops == 2:
            self.cancel()
        else:
            self._crew.kill()

    def _hang_up(self) -> None:
        if self.reload is not None:
            self._hup_again = True
            return
        try:
            self.begin_reload(None, is_dry_run=False)
        except ConflictError as error:
            emit("reload.refused", f"Reload: {error}", level=logging.WARNING)

    def _more(self) -> None:
        self._scale_by(1)

    def _fewer(self) -> None:
        self._scale_by(-1)

    def _reopen_logs(self) -> None:
        logs.reopen()
        self._crew.signal(signal.SIGUSR1)

    def _dump_state(self) -> None:
        for line in pictures.lines(self.status()):
            emit("supervisor.state", line)

    def _scale_by(self, change: int) -> None:
        for pool in self._crew:
            if pool.spec.is_scalable:
                try:
                    self.scale(pool.kind, max(0, len(pool.wanted) + change))
                except ConflictError as error:
                    emit("scale.refused", f"Scale: {error}", level=logging.WARNING)

    # What people ask for

    def status(self, *, with_memory: bool = False) -> dict[str, Any]:
        """Describe everything, JSON-able."""
        now = self._clock.monotonic()
        return {
            "state": self.state,
            "supervisor": {
                "pid": os.getpid(),
                "started_at": rfc3339(self._started_at),
                "config": self._plan.config,
                "generation": self.generation,
                "last_reload": self._last_reload,
                "instance": self._instance,
                **({"pss_bytes": procs.pss_bytes(os.getpid())} if with_memory else {}),
            },
            "children": pictures.children(self._crew, self._yard, now, with_memory=with_memory),
            **self._plan.facts,
        }

    @property
    def state(self) -> str:
        if self._phase is Phase.STOPPING:
            return "stopping"
        if self.reload is not None:
            return "reloading"
        return "degraded" if self._crew.is_degraded else str(self._phase)

    def stop(self, waiting: Request | None = None) -> None:
        """Drain and leave; whoever waits is answered at the very end."""
        if waiting is not None:
            self._waiting.append(waiting)
        if self._phase is Phase.STOPPING:
            return
        self._stops = max(self._stops, 1)
        self._phase = Phase.STOPPING
        if self._is_restarting:
            self._notifier.reloading()  # after STOPPING=1 the manager would wait for our end, and then enforce it
        else:
            self._notifier.stopping()
        if self.reload is not None:
            self.reload.abandon("the instance stops")
        self._yard.cancel_tasks("the instance stops")
        self._crew.stop()

    def cancel(self, waiting: Request | None = None) -> None:
        """End what runs and leave."""
        self.stop(waiting)
        self._stops = max(self._stops, 2)
        self._crew.cancel()

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
        if self._phase is Phase.STOPPING or self.reload is not None or not self.generation:
            raise ConflictError(f"no reload now: the instance is {self.state}; try again when that is over")
        if not is_dry_run:
            self._notifier.reloading()
        emit("reload.started", "Reloading the configuration")
        self.reload = Reload(
            self,
            self._crew,
            self._yard,
            before=(self._prepared, self._plan),
            is_dry_run=is_dry_run,
            on_line=waiting.line if waiting is not None else lambda _line: None,
            on_done=lambda reload: self._reloaded(reload, waiting),
        )
        self.reload.begin()

    def scale(self, kind: str, count: int) -> tuple[int, int]:
        """Change how many children of a kind there are; returns the count before and after."""
        pool = self._scalable_pool(kind)
        if not 0 <= count <= COUNT_MAX:
            raise ConflictError(f"{kind}: a count from 0 to {COUNT_MAX} is possible, not {count}")
        if self._phase is Phase.STOPPING or self.reload is not None:
            raise ConflictError(f"no scaling now: the instance is {self.state}; try again when that is over")
        before = len(pool.wanted)
        for slot in pool.scale(count):
            slot.start()
        emit("supervisor.scaled", f"{kind}: {before} -> {count}", kind=kind, before=before, after=count)
        return before, count

    def _scalable_pool(self, kind: str) -> Pool:
        pool = self._crew.pools.get(kind) or self._crew.pools.get(kind.removesuffix("s"))
        if pool is None or not pool.spec.is_scalable:
            known = ", ".join(pool.kind for pool in self._crew if pool.spec.is_scalable) or "none"
            raise ConflictError(f'"{kind}" cannot be scaled; what can: {known}')
        return pool

    def _reloaded(self, reload: Reload, waiting: Request | None) -> None:
        self.reload = None
        report = reload.report
        if reload.is_rolled and reload.plan is not None:
            self.generation += 1
            self._prepared, self._plan = reload.prepared, reload.plan
        if not reload.is_dry_run:
            self._last_reload = {
                "at": rfc3339(self._clock.now()),
                "exit_code": report.exit_code,
                "error": report.error,
                "lines": report.lines,
            }
            self._notifier.ready()
        if not report.exit_code:
            emit("reload.done", f"Reloaded: generation {self.generation}, {len(report.replaced)} children replaced")
        if waiting is not None:
            waiting.done(
                report.exit_code,
                generation=self.generation,
                replaced=report.replaced,
                error=report.error,
                lines=report.lines,
            )
        self._look_whether_all_ready()
        if self._hup_again:
            self._hup_again = False
            self._hang_up()

    # The end

    def _end(self) -> None:
        """Leave nothing behind, however we came here."""
        self._yard.cancel_tasks("the instance stops")
        self._crew.kill()
        deadline = self._clock.monotonic() + SWEEP_SECONDS
        while not self._yard.is_empty and self._clock.monotonic() < deadline:
            self._turn(lambda: CANCEL_SECONDS)
        self._sweep("Left over from jobs")
        self._yard.dismiss_guardian()
        for waiting in self._waiting:
            waiting.done(self._exit_code, restarting=self._is_restarting)
        if self._server is not None:
            self._server.close()
        for lock in self._locks:
            lock.release()
        self._signals.close()
        self._loop.close()
        if self._locks:
            emit("supervisor.stopped", "Restarting" if self._is_restarting else "Stopped")
        if not self._is_restarting:
            self._notifier.close()

    def _sweep(self, whose: str) -> None:
        """End every process that carries our tag."""
        tagged = procs.tagged(self._instance) if self._locks else []
        tagged = sorted(set(tagged) - {os.getpid(), *procs.ancestors(os.getpid())})
        if not tagged:
            return
        emit("supervisor.swept", f"{whose}, ended: {tagged}", level=logging.WARNING, pids=tagged)
        guardian = [] if self._yard.guardian is None else [self._yard.guardian.pid]
        left = procs.kill_tree(tagged, tag=self._instance, deadline_seconds=SWEEP_SECONDS, keep=guardian)
        self._yard.clear_strangers()
        if left:
            emit("supervisor.unswept", f"These processes do not die: {left}", level=logging.CRITICAL, pids=left)

    def _close_in_child(self) -> None:
        """Close in a forked child what has an object of its own; plain descriptors are closed together later."""
        self._loop.close()
        if self._server is not None:
            self._server.close_in_child()
        self._yard.close_in_child()
        for lock in self._locks:
            lock.close_in_child()
        self._notifier.close()

    def _status_line(self) -> str:
        if not self.generation:
            return "preparing"
        return f"gen {self.generation}: {self._crew.summary()}" + ("" if self.state == "running" else f", {self.state}")


_SIGNALS: dict[int, Callable[[Supervisor], None]] = {
    signal.SIGTERM: Supervisor.stop_by_signal,
    signal.SIGINT: Supervisor.stop_by_signal,
    signal.SIGQUIT: Supervisor.cancel,
    signal.SIGHUP: Supervisor._hang_up,
    signal.SIGTTIN: Supervisor._more,
    signal.SIGTTOU: Supervisor._fewer,
    signal.SIGUSR1: Supervisor._reopen_logs,
    signal.SIGUSR2: Supervisor._dump_state,
}


def _make_runtime_dir(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise SocketError(f"runtime folder {path}: {error.strerror}; set [supervisor] runtime_dir") from error
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise SocketError(f"runtime folder {path}: others could write to it; give it to this user, with mode 0700")
