"""Which runner a call is given to: one that waits, one whose calls are over in no time, or a new one.

A call that keeps others waiting for longer than is patient (STALL_SECONDS) loses them; one that is known to take
longer has a runner to itself from the beginning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jobsup.config.settings import WorkerSettings
from jobsup.model import JobSpec
from jobsup.runtime import procs
from jobsup.runtime.service import Loop
from jobsup.worker.confinement import confinement_of
from jobsup.worker.durations import QUICK_SECONDS, Durations
from jobsup.worker.runner import Key, Runner, Runners

STALL_SECONDS = 0.01
"""How long calls wait behind one of whose function nothing is known."""
STALL_SECONDS_QUICK = 0.05
"""How long they wait behind one that is usually quick: rather the machine is busy than the call long."""
STALL_SECONDS_BUSY = 0.5
"""How long they wait behind one that is usually quick and only wants a processor: another runner would want one too."""
READY_SECONDS_MAX = 10.0
"""A runner that has not begun to serve by then is not counted on."""
QUEUE_MAX = 64
"""Calls handed to one runner at most."""
SPREAD_AT = 16
"""With so many calls before it, another one rather goes to a runner that is idle."""
BEHIND_SECONDS = 0.05
"""So much work, by the average of its calls, may lie before a call that is started without a slot of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """A runner that is good for calls of a job, until its queue is so long."""

    runner: Runner
    job: JobSpec
    queue_max: int

    @staticmethod
    def at(runner: Runner, job: JobSpec, most: int) -> Place:
        return Place(runner, job, min(most, len(runner.queue) + runner.room))

    def again(self, job: JobSpec) -> Runner | None:
        """Return the runner if it will do for one more call, of this job."""
        runner = self.runner
        is_good = job is self.job and 0 < len(runner.queue) < self.queue_max
        return runner if is_good and not runner.is_done_for and not runner.is_slow else None


@dataclass(slots=True)
class Placement:
    """Finds a place for each call."""

    loop: Loop
    settings: WorkerSettings
    runners: Runners
    durations: Durations = field(default_factory=Durations)
    _chosen: Place | None = None
    """The last choice, good for calls of the same job until the next turn of the loop."""
    _behind: Place | None = None
    """The same of those without a slot."""

    def key(self, job: JobSpec) -> Key:
        """Return what a runner must be to do such a call. NotStartedError when its account is not to be had."""
        return confinement_of(job), job.cwd

    def forget(self) -> None:
        """Choose anew: time has passed."""
        self._chosen = self._behind = None

    def chosen(self, job: JobSpec) -> Runner | None:
        """Return what was chosen for the last call, if it will do for this one as well."""
        return None if self._chosen is None else self._chosen.again(job)

    def behind(self, key: Key, job: JobSpec) -> Runner | None:
        """Return a runner whose calls are over in no time, as this one will be; None: there is none, or it has enough.

        A call that is started there takes no slot: it runs when those before it are over, and else is taken back.
        """
        if self._behind is not None and (last := self._behind.again(job)) is not None:
            return last
        average = self.durations.known(job)
        if average is None or average > QUICK_SECONDS:
            return None
        most = min(QUEUE_MAX, int(BEHIND_SECONDS / max(average, BEHIND_SECONDS / QUEUE_MAX)))
        now = self.loop.monotonic()
        for runner in self.runners.all:
            is_usable = runner.queue and not runner.is_done_for and runner.is_ready and runner.key == key
            if is_usable and _has_room(runner, most) and not self._keeps_waiting(runner, now):
                self._behind = Place.at(runner, job, most)
                return runner
        return None

    def choose(self, key: Key, job: JobSpec) -> Runner | None:
        """Return the best of the runners that are there; None: it needs a new one."""
        idle: list[Runner] = []
        loaded: list[Runner] = []
        for runner in self.runners.all:
            if not (runner.is_done_for or self.is_stuck(runner)) and runner.key == key:
                (loaded if runner.queue else idle).append(runner)
        busy: list[Runner] = []
        if loaded and not self.durations.is_slow(job):
            most = SPREAD_AT if idle else QUEUE_MAX
            now = self.loop.monotonic()
            busy = [runner for runner in loaded if _has_room(runner, most) and not self._keeps_waiting(runner, now)]
        if busy and (not idle or self.durations.known(job) is not None):
            if len(busy) > 1:
                return min(busy, key=lambda runner: len(runner.queue))
            self._chosen = Place.at(busy[0], job, most)
            return busy[0]
        return max(idle, key=lambda runner: runner.head_since, default=None)  # the last used is the warmest

    def stalls_at(self, runner: Runner) -> float:
        """Return when its first call has kept the others waiting for too long."""
        if len(runner.queue) < 2 or not runner.is_ready:
            return math.inf
        return max(runner.head_since + self._patience(runner), runner.excused_until)

    def is_excused(self, runner: Runner) -> bool:
        """Say whether rather the machine is busy than its call long; it stalls again a little later then."""
        now, head = self.loop.monotonic(), runner.head
        is_quick = head is not None and not runner.is_slow and self.durations.known(head.claim.job) is not None
        if not is_quick or now >= runner.head_since + STALL_SECONDS_BUSY:
            return False
        process = procs.stat(runner.pid)
        if process is None or process.state != procs.STATE_RUNS:
            return False
        runner.excused_until = now + STALL_SECONDS
        return True

    def is_stuck(self, runner: Runner) -> bool:
        """Say whether it seems that it never begins to serve."""
        return not runner.is_ready and self.loop.monotonic() - runner.born > READY_SECONDS_MAX

    def thin_out(self) -> None:
        """Keep no more runners than there can be calls: of those that wait, the longest idle leaves."""
        surplus = len(self.runners.all) - max(1, self.settings.concurrency)
        if surplus > 0:
            idle = [runner for runner in self.runners.all if not runner.queue and runner.is_ready]
            for runner in sorted(idle, key=lambda runner: runner.head_since)[:surplus]:
                self.runners.discard(runner)

    def _keeps_waiting(self, runner: Runner, now: float) -> bool:
        late_at = max(runner.head_since + self._patience(runner), runner.excused_until)
        return runner.is_slow or (runner.is_ready and now > late_at)

    def _patience(self, runner: Runner) -> float:
        head = runner.head
        is_known = head is not None and self.durations.known(head.claim.job) is not None
        return STALL_SECONDS_QUICK if is_known and not runner.is_slow else STALL_SECONDS


def _has_room(runner: Runner, most: int) -> bool:
    return len(runner.queue) < most and runner.room > 0
