"""The scheduler's process: one loop that wakes for the next tick, the lease, lost workers and housekeeping."""

from __future__ import annotations

import logging
import math
import random
from datetime import datetime, timedelta
from typing import Any

from jobsup.clock import Clock, SystemClock, rfc3339
from jobsup.config.settings import Config
from jobsup.errors import DatabaseError
from jobsup.events import emit
from jobsup.runtime import procs
from jobsup.runtime.link import Link
from jobsup.runtime.service import Loop, serve
from jobsup.scheduler import dispatcher, identity
from jobsup.scheduler.cleaner import Cleaner
from jobsup.scheduler.holder import Holder
from jobsup.scheduler.leader import Leader
from jobsup.scheduler.rescuer import Rescuer
from jobsup.scheduler.watch import HANDOVER_MAX, LAPSE_MAX, Watch
from jobsup.store import deadlines, notifier, ticks
from jobsup.store.engine import Database
from jobsup.store.recompute import recompute
from jobsup.store.ticks import LeaseLostError

CLOCK_CHECK_SECONDS = 1.0
"""The longest sleep: clocks jump, and a look at them costs no query."""
CLOCK_JUMP_MIN = timedelta(seconds=2)
"""A clock that went on by this much more or less than the time that passed was set; it is said once."""
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 3.0
"""How long the loop leaves a database alone that did not answer, doubling, with jitter."""


def run(config: Config, link: Link, *, instance: str, up_since: datetime | None = None) -> int:
    """Be a scheduler until told to stop; returns the exit code of its process.

    `up_since`: when its start began, before the definitions were synchronised; ticks since then are not missed.
    """
    return serve(SchedulerService(config, link, instance=instance, up_since=up_since), link)


class SchedulerService:
    """Leads or stands by; implements `runtime.service.Service`."""

    def __init__(
        self,
        config: Config,
        link: Link,
        *,
        instance: str,
        up_since: datetime | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.finished = False
        self._config = config
        self._link = link
        self._instance = instance
        self._clock = clock or SystemClock()
        self._here = procs.host_identity(config.supervisor.node)
        self._database = Database.of(config.database, kind="scheduler", clock=self._clock)
        # A wait for the database has an end of its own: it must not be taken for a loop that hangs.
        self._database.while_waiting(lambda: link.beat(self._database.statements))
        self._listener: notifier.Listener | None = None
        self._watch = Watch(up_since)
        self._leader = self._new_leader()
        self._rescuer = Rescuer(
            self._database,
            self._clock,
            here=self._here,
            threshold=config.scheduler.job_timeout_threshold,
            state_dir=config.supervisor.state_dir,
        )
        self._cleaner = Cleaner(self._database, self._clock, config.scheduler, boot_id=self._here.boot_id)
        self._holder = Holder(self._database)
        self._role = ""
        self._epoch = 0
        self._next_due: datetime | None = None
        self._read_at = -math.inf
        self._retry_at = -math.inf
        self._failures = 0
        self._looked = (self._database.now(), self._clock.monotonic())
        self._iteration = 0
        self._has_recomputed = False
        self._jumps: list[tuple[timedelta, datetime]] = []
        """How far the clock was set ahead, and what it said before, as long as deadlines have not followed."""

    @property
    def statements(self) -> int:
        return self._database.statements

    def start(self, loop: Loop) -> dict[str, Any]:
        """Listen for wake-ups, close what dead workers of this host left, and stand for election."""
        self._listener = notifier.Listener(self._database, "scheduler")
        loop.watch(self._listener.fileno(), self._woken)
        self._rescuer.attend(is_leading=False)
        self._leader.attend()
        self._follow_leadership()
        emit("scheduler.started", "Scheduler service started", instance=self._instance)
        return self._facts()

    def poll(self) -> float:
        """Do what is due; returns the seconds until something is again, at most CLOCK_CHECK_SECONDS."""
        self._iteration += 1
        emit("scheduler.loop", f"Scheduler loop iteration {self._iteration}", level=logging.DEBUG)
        self._look_at_clock()
        if self._clock.monotonic() < self._retry_at:
            return min(CLOCK_CHECK_SECONDS, self._retry_at - self._clock.monotonic())
        try:
            self._turn()
        except LeaseLostError as error:
            self._leader.step_down(str(error))
            self._follow_leadership()
        except DatabaseError as error:
            return self._back_off(error)
        self._recover()
        return self._seconds_to_sleep()

    def handle(self, message: dict[str, Any]) -> None:
        """Hear from the supervisor which child is gone; its runs are closed in the turn that follows at once."""
        if message.get("do") == "child_gone":
            self._rescuer.child_gone(message)
            self._retry_at = -math.inf

    def drain(self) -> None:
        """Resign and leave: a scheduler has nothing to finish."""
        self._leader.resign()
        self.finished = True

    def cancel(self) -> None:
        self.drain()

    def close(self) -> None:
        self._leader.resign()
        if self._listener is not None:
            self._listener.close()
        self._rescuer.close()
        self._database.close()

    def _new_leader(self) -> Leader:
        here = self._here
        return Leader(
            self._database,
            self._clock,
            holder=str(identity.own(here)),
            node=here.node,
            duration=self._config.scheduler.dispatch_lock_duration,
            is_dead=lambda holder: identity.is_dead(holder, here),
        )

    def _turn(self) -> None:
        self._leader.attend()
        self._follow_leadership()
        if self._leader.lease is not None:
            self._postpone_deadlines()
            self._holder.attend()
            self._dispatch()
        self._rescuer.attend(is_leading=self._leader.lease is not None)
        if self._leader.lease is not None and self._cleaner.seconds_left == 0:
            self._cleaner.attend()

    def _postpone_deadlines(self) -> None:
        """Let no run pass its deadline because the clock was set; not while one stands by, so that it is done once."""
        while self._jumps:
            deadlines.postpone(self._database, self._jumps[0][0], claimed_until=self._jumps[0][1])
            del self._jumps[0]

    def _dispatch(self) -> None:
        """Dispatch what is due, then learn when the next tick is: by a query only when something may have changed."""
        lease = self._leader.lease
        if lease is None:
            return
        is_due = self._next_due is not None and self._next_due <= self._database.now()
        if not is_due and self._clock.monotonic() < self._read_at:
            return
        if not is_due:
            self._read_next_due()
            is_due = self._next_due is not None and self._next_due <= self._database.now()
        if is_due:
            dispatcher.dispatch_due(self._database, lease, self._watch)
            self._read_next_due()

    def _read_next_due(self) -> None:
        self._read_at = self._clock.monotonic() + self._config.scheduler.poll_interval.total_seconds()
        self._next_due = ticks.next_due_at(self._database)

    def _woken(self) -> None:
        """Take a hint: definitions have changed, the leader has resigned, or a worker has come."""
        if self._listener is not None and self._listener.drain():
            self._read_at = -math.inf
            self._holder.forget()
            self._leader.look_now()
            self._rescuer.look_now()

    def _follow_leadership(self) -> None:
        """Begin or end the watch with the term, and tell the supervisor which part we play."""
        lease = self._leader.lease
        role, epoch = ("standby", 0) if lease is None else ("leader", lease.epoch)
        if (role, epoch) == (self._role, self._epoch):
            return
        if lease is None:
            self._watch.end()
            self._jumps.clear()
        else:
            handover = self._config.scheduler.dispatch_lock_duration + HANDOVER_MAX
            self._watch.begin(self._database.now(), self._leader.predecessor_seen, max(LAPSE_MAX, handover))
            self._read_at = -math.inf
            self._holder.forget()
            self._recompute()
        if not self._role and lease is None:
            emit("leader.standby", "Standing by: another scheduler leads")
        is_known = bool(self._role)
        self._role, self._epoch = role, epoch
        if is_known:
            self._link.say(facts=self._facts())

    def _recompute(self) -> None:
        """Once in this process's life, and before its first tick: look whether the tz database is another one."""
        if self._has_recomputed:
            return
        for moved in recompute(self._database):
            text = (
                f'The rules of the time zone of job "{moved.name}" have changed: '
                f"its next tick is {rfc3339(moved.after)} and not {rfc3339(moved.before)}"
            )
            emit("zone.changed", text, level=logging.WARNING, job=moved.name)
        self._has_recomputed = True

    def _facts(self) -> dict[str, Any]:
        return {"role": self._role, "epoch": self._epoch}

    def _look_at_clock(self) -> None:
        now, monotonic = self._database.now(), self._clock.monotonic()
        self._watch.look(now)
        jump = now - self._looked[0] - timedelta(seconds=monotonic - self._looked[1])
        if abs(jump) >= CLOCK_JUMP_MIN:
            way = "was set ahead, or the machine slept:" if jump > timedelta(0) else "was set back:"
            text = f"The clock {way} {abs(jump).total_seconds():.0f} s"
            emit("clock.jumped", text, level=logging.WARNING, seconds=jump.total_seconds())
            if jump > timedelta(0):
                self._jumps.append((jump, self._looked[0]))
            self._read_at = -math.inf
            self._holder.forget()
        self._looked = (now, monotonic)

    def _back_off(self, error: DatabaseError) -> float:
        """Say once that the database does not answer, and leave it alone for a moment."""
        if not self._failures:
            emit("database.failed", f"{error}; trying again", level=logging.ERROR, error=str(error))
        self._failures += 1
        self._rescuer.database_away()
        ceiling = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** min(self._failures, 10))
        seconds = random.uniform(ceiling / 2, ceiling)  # noqa: S311  (jitter, no secret)
        self._retry_at = self._clock.monotonic() + seconds
        return min(CLOCK_CHECK_SECONDS, seconds)

    def _recover(self) -> None:
        if self._failures:
            emit("database.recovered", "The database answers again", failures=self._failures)
        self._failures = 0
        self._retry_at = -math.inf

    def _seconds_to_sleep(self) -> float:
        """Sleep until the first of all that is waited for."""
        waits = [CLOCK_CHECK_SECONDS, self._leader.seconds_left, self._rescuer.seconds_left]
        if self._leader.lease is not None:
            waits += [self._cleaner.seconds_left, self._holder.seconds_left]
            waits.append(self._read_at - self._clock.monotonic())
            if self._next_due is not None:
                waits.append((self._next_due - self._database.now()).total_seconds())
        return max(0.0, min(waits))
