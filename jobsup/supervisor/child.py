"""One child process: forked, watched, asked to leave, and in the end gone.

Its life is the table `LIFE`: what is not in it does not happen. Deadlines are kept on the monotonic clock;
`check` acts on those that have passed and says when to look again.
"""

from __future__ import annotations

import logging
import mmap
import os
import signal
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from multiprocessing.context import ForkProcess
from typing import Any

from jobsup.clock import Clock
from jobsup.events import emit
from jobsup.runtime import procs
from jobsup.runtime.channel import Channel
from jobsup.runtime.link import read_cell
from jobsup.supervisor.exits import Exit, look, oom_kills
from jobsup.supervisor.spec import ChildSpec

ABORT_SECONDS = 1.0
"""A hung child has so long to write its stacks to the log."""
CANCEL_SECONDS = 0.8
"""How long a child may take to end what it runs when its drain time is over."""
CANCEL_ASKED_SECONDS = 5.0
"""The same when a person was in a hurry while drain time was left."""
BOOT_LENGTHENINGS_MAX = 4
"""After so many boot deadlines in a row the time allowed is not doubled any more."""
SLOW_BOOT_SHARE = 0.5
"""After this share of its boot time a child is called slow."""
NEVER = float("inf")


class State(StrEnum):
    """What is true of a child."""

    STARTING = "starting"
    """Forked; it has not said that it works."""
    READY = "ready"
    """It works."""
    HUNG = "hung"
    """Its loop stood still, or it never got ready; it has been told to dump its stacks and die."""
    DRAINING = "draining"
    """It finishes what it has."""
    CANCELLING = "cancelling"
    """It ends what it runs."""
    KILLED = "killed"
    """It was killed; the kernel has yet to say that it is gone."""
    GONE = "gone"
    """It is gone and reaped."""


class Event(StrEnum):
    """What can happen to a child."""

    SAID_READY = "said_ready"
    STALLED = "stalled"
    STOP = "stop"
    CANCEL = "cancel"
    KILL = "kill"
    ENDED = "ended"


_LIVE = (State.STARTING, State.READY, State.HUNG, State.DRAINING, State.CANCELLING, State.KILLED)
LIFE: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.SAID_READY): State.READY,
    (State.STARTING, Event.STALLED): State.HUNG,
    (State.READY, Event.STALLED): State.HUNG,
    (State.DRAINING, Event.STALLED): State.HUNG,
    (State.STARTING, Event.STOP): State.DRAINING,
    (State.READY, Event.STOP): State.DRAINING,
    (State.STARTING, Event.CANCEL): State.CANCELLING,
    (State.READY, Event.CANCEL): State.CANCELLING,
    (State.DRAINING, Event.CANCEL): State.CANCELLING,
    **{(state, Event.KILL): State.KILLED for state in _LIVE if state is not State.KILLED},
    **{(state, Event.ENDED): State.GONE for state in _LIVE},
}


class Child:
    """One process of one slot."""

    def __init__(
        self,
        spec: ChildSpec,
        slot: int,
        process: ForkProcess,
        channel: Channel,
        *,
        cell: mmap.mmap,
        clock: Clock,
        boot_timeouts: int,
    ) -> None:
        assert process.pid is not None  # noqa: S101  # it has been started
        self.spec = spec
        self.slot = slot
        self.pid = process.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.start_time = procs.start_time(self.pid) or 0
        self.channel = channel
        self.state = State.STARTING
        self.since: datetime = clock.now()
        self.ready_since: float | None = None
        self.facts: dict[str, Any] = {}
        self.is_leaving = False
        """We want it gone: its end is no failure."""
        self.cause = ""
        """Why we killed it."""
        self.boot_timed_out = False
        self._clock = clock
        self._process = process
        self._cell = cell
        self._started_at = clock.monotonic()
        self._boot_seconds = spec.boot_timeout * 2.0 ** min(boot_timeouts, BOOT_LENGTHENINGS_MAX)
        self._told_slow = False
        self._cancel_at = NEVER
        self._kill_at = NEVER
        self._oom_before = oom_kills()

    @property
    def name(self) -> str:
        return f"{self.spec.kind}-{self.slot}"

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY

    @property
    def heartbeat_age(self) -> float:
        """Seconds since its loop turned."""
        return max(0.0, self._clock.monotonic() - max(read_cell(self._cell)[0], self._started_at))

    @property
    def statements(self) -> int:
        """How many statements it has sent to the database."""
        return read_cell(self._cell)[1]

    def happen(self, event: Event) -> bool:
        """Move along the table; False when the event means nothing in this state."""
        after = LIFE.get((self.state, event))
        if after is None:
            return False
        self.state = after
        self.since = self._clock.now()
        _ENTER[after](self, self._clock.monotonic())
        return True

    def stop(self) -> None:
        """Ask it to finish what it has and leave."""
        self.is_leaving = True
        self.happen(Event.STOP)

    def cancel(self) -> None:
        """Have it end what it runs and leave."""
        self.is_leaving = True
        latest = self._cancel_at + CANCEL_SECONDS  # the deadline of a drain that is under way stays
        if self.happen(Event.CANCEL):
            self._kill_at = min(latest, self._clock.monotonic() + CANCEL_ASKED_SECONDS)

    def kill(self, cause: str) -> None:
        """End it now."""
        self.cause = self.cause or cause
        self.happen(Event.KILL)

    def check(self, now: float, judged_from: float) -> float:
        """Act on the deadlines that have passed; returns seconds until the next one.

        No child is judged for a time before `judged_from`: the machine slept, or we did.
        """
        if self.state is State.STARTING:
            self._check_boot(now, max(self._started_at, judged_from))
        if self.state in (State.READY, State.DRAINING):
            self._check_loop(now, judged_from)
        if now >= self._cancel_at and self.happen(Event.CANCEL):
            self._kill_at = now + CANCEL_SECONDS
        if now >= self._kill_at:
            self.kill("did not stop in time")
        deadlines = [self._cancel_at, self._kill_at]
        if self.state is State.STARTING:
            share = 1.0 if self._told_slow else SLOW_BOOT_SHARE
            deadlines.append(max(self._started_at, judged_from) + self._boot_seconds * share)
        return max(0.0, min(deadlines) - now)

    def signal(self, signum: int) -> None:
        """Send a signal; a process that is gone does not mind."""
        try:
            signal.pidfd_send_signal(self.pidfd, signum)
        except ProcessLookupError:
            return

    def look(self) -> Exit | None:
        """Look whether it ended, and how."""
        return look(self._process)

    def bury(self, end: Exit) -> str:
        """Reap it and close what we had of it; returns how it ended, in words."""
        self._process.join()
        self._process.close()
        os.close(self.pidfd)
        self.channel.close()
        self._cell.close()
        self.happen(Event.ENDED)
        return end.describe(self.cause, self._oom_before)

    def _check_boot(self, now: float, since: float) -> None:
        age = now - since
        if age >= self._boot_seconds:
            self.boot_timed_out = True
            self._stall(f"not ready after {self._boot_seconds:g} s")
        elif age >= self._boot_seconds * SLOW_BOOT_SHARE and not self._told_slow:
            self._told_slow = True
            emit(
                "child.slow", f"{self.name} (pid {self.pid}) is slow to get ready", level=logging.WARNING, pid=self.pid
            )

    def _check_loop(self, now: float, judged_from: float) -> None:
        age = now - max(read_cell(self._cell)[0], judged_from)
        if age > self.spec.watchdog:
            self._stall(f"hung, its loop stood still for {age:.1f} s")

    def _stall(self, cause: str) -> None:
        self.cause = cause
        emit("child.hung", f"{self.name} (pid {self.pid}): {cause}; killing it", level=logging.ERROR, pid=self.pid)
        self.happen(Event.STALLED)

    def _enter_ready(self, now: float) -> None:
        self.ready_since = now

    def _enter_hung(self, now: float) -> None:
        # A stopped process gets nothing but KILL and CONT; ABRT first, so that it is the first thing it does.
        self.signal(signal.SIGABRT)
        self.signal(signal.SIGCONT)
        self._kill_at = now + ABORT_SECONDS

    def _enter_draining(self, now: float) -> None:
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        self._cancel_at = now + self.spec.drain_timeout

    def _enter_cancelling(self, now: float) -> None:
        self._cancel_at = NEVER
        self._kill_at = now + CANCEL_SECONDS
        # One that is not ready yet has QUIT's default action, which leaves a core file.
        self.signal(signal.SIGTERM if self.ready_since is None else signal.SIGQUIT)
        self.signal(signal.SIGCONT)

    def _enter_killed(self, _now: float) -> None:
        self._cancel_at = self._kill_at = NEVER
        self.signal(signal.SIGKILL)

    def _enter_gone(self, _now: float) -> None:
        self._cancel_at = self._kill_at = NEVER


_ENTER: dict[State, Callable[[Child, float], None]] = {
    State.READY: Child._enter_ready,
    State.HUNG: Child._enter_hung,
    State.DRAINING: Child._enter_draining,
    State.CANCELLING: Child._enter_cancelling,
    State.KILLED: Child._enter_killed,
    State.GONE: Child._enter_gone,
}
