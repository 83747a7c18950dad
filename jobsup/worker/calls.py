"""The Python callables a worker runs: handing them to runners, and what becomes of each call.

Calls that are known to be over in no time, or of which nothing is known yet, wait behind each other in a runner, so
that one message hands over many. A call that keeps others waiting for too long loses them: they are taken back, which
the runner cannot refuse (`board`), and spread over other runners. Which runner a call is given to says `placement`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from jobsup.clock import Clock
from jobsup.config.settings import WorkerSettings
from jobsup.model import JobSpec
from jobsup.runtime import failpoints
from jobsup.runtime.service import Loop
from jobsup.worker.answers import Answer, Notice
from jobsup.worker.board import STDERR, STDOUT
from jobsup.worker.call_ends import exit_of_call, moment_of, never_began
from jobsup.worker.environment import job_params, run_variables
from jobsup.worker.failure import NotStartedError
from jobsup.worker.frames import Frames
from jobsup.worker.grouping import Grouping
from jobsup.worker.placement import Placement
from jobsup.worker.run import Exit, Run, exit_of
from jobsup.worker.runner import Runner, Runners

DELIVERIES_MAX = 2
"""A runner may have died before it took its call; the second try has another one."""
REST_READS_MAX = 17
"""Read at once from the pipe of a dead runner; the rest is read as it comes."""
LOOK_SECONDS = 0.005
"""A runner with several calls wakes us when half of them are answered; after so long its answers are looked for."""


class Standing(Enum):
    """Where a call is when its run is to be ended."""

    WAITING = "waiting"
    """It never began, and is nobody's any more."""
    ALONE = "alone"
    """It runs, and nothing else waits in its runner."""
    OVER = "over"
    """It has ended meanwhile."""


class Audience(Protocol):
    """Who hears what becomes of calls."""

    def call_ended(self, run: Run, ending: Exit, runner: Runner, *, is_spent: bool) -> None:
        """It returned or raised; `is_spent`: its runner has children of it, or heard our TERM, and must go."""
        ...

    def call_died(self, run: Run, ending: Exit, pipes: dict[int, int]) -> None:
        """Its runner died in the middle of it; what is left of its output is in the pipes (fd -> stream)."""
        ...

    def call_refused(self, run: Run, error: NotStartedError) -> None:
        """It never began, and will not."""
        ...

    def call_returned(self, run: Run) -> None:
        """It never began, and there is no slot for it now."""
        ...

    @property
    def surplus(self) -> int:
        """How many more runs there are than slots."""
        ...


@dataclass(slots=True)
class Calls:
    """All calls of a worker. Everything here happens in the loop's thread and waits for nothing."""

    loop: Loop
    clock: Clock
    settings: WorkerSettings
    instance: str
    audience: Audience
    grouping: Grouping
    runners: Runners = field(init=False)
    _runner_of: dict[int, Runner] = field(default_factory=dict)
    _unsent: dict[Runner, list[tuple[int, Run]]] = field(default_factory=dict)
    _frames: Frames = field(init=False)
    _placement: Placement = field(init=False)

    def __post_init__(self) -> None:
        self._frames = Frames(self.settings, self.instance)
        self.runners = Runners(self.loop, self.settings, instance=self.instance, grouping=self.grouping)
        self._placement = Placement(self.loop, self.settings, self.runners)

    def start(self, run: Run) -> None:
        """Give a call to a runner; it goes out with the next `tick`. NotStartedError says why there is none."""
        job = run.claim.job
        runner = self._placement.chosen(job)
        if runner is None:
            key = self._placement.key(job)
            runner = self._placement.choose(key, job)
            if runner is None:
                runner = self.runners.start(job, key[0], self._heard)
                self._placement.thin_out()
        self._put(runner, run)

    def behind(self, job: JobSpec) -> Runner | None:
        """Return a runner in which a call may wait that has no slot of its own; NotStartedError as for `start`."""
        return self._placement.behind(self._placement.key(job), job)

    def start_behind(self, run: Run, runner: Runner) -> None:
        """Give a call to a runner that `behind` has named."""
        self._put(runner, run)

    def has_begun(self, run: Run) -> bool:
        """Say whether a call has certainly begun, and will not be taken back."""
        runner = self._runner_of.get(run.dispatch_id)
        return runner is None or (runner.head is run and runner.board.taken > runner.queue[0][0])

    def withdraw(self) -> None:
        """Have all calls returned that have not begun."""
        for runner in self.runners.all:
            waiting = self._take_back(runner)
            for run in reversed(waiting):
                self.audience.call_returned(run)

    def tick(self) -> None:
        """Hand over what was given meanwhile, and part those that wait too long from whom they wait for."""
        self.send()
        self._placement.forget()
        now = self.loop.monotonic()
        for runner in self.runners.all:
            if self._look_at(runner) <= now:
                self._pump(runner)
                if self._placement.stalls_at(runner) <= now and not self._placement.is_excused(runner):
                    self._part(runner)
        self.send()

    def next_at(self) -> float:
        """Return when the next `tick` has something to do, on the monotonic clock."""
        if self._unsent:
            return self.loop.monotonic()
        return min(map(self._look_at, self.runners.all), default=math.inf)

    def _look_at(self, runner: Runner) -> float:
        return min(runner.look_at, self._placement.stalls_at(runner))

    def isolate(self, run: Run) -> Standing:
        """See to it that ending this call's runner ends this call alone."""
        runner = self._runner_of.get(run.dispatch_id)
        if runner is None:
            return Standing.OVER
        others = self._take_back(runner)
        if run in others:
            others.remove(run)
            self._wait_on(runner, others)
            return Standing.WAITING
        runner.is_done_for = True
        self._start_again(others)
        self._pump(runner)
        return Standing.ALONE if self._runner_of.get(run.dispatch_id) is runner else Standing.OVER

    def _wait_on(self, runner: Runner, runs: list[Run]) -> None:
        """Give calls back to the runner they were just taken from, unless it seems that it never begins to serve."""
        if self._placement.is_stuck(runner):
            self.runners.discard(runner)
            self._start_again(runs)
            return
        if runner.room < len(runs):
            self._start_again(runs)
            return
        for run in runs:
            run.deliveries -= 1
            self._put(runner, run)

    def abandon(self, run: Run) -> None:
        """Forget a call, and the runner that cannot be killed with it."""
        runner = self._runner_of.pop(run.dispatch_id, None)
        if runner is not None:
            self.runners.forget(runner)

    def discard(self, runner: Runner) -> None:
        """End a runner whose call has ended; what waits in it goes to others."""
        runner.is_done_for = True
        others = self._take_back(runner)
        self.runners.discard(runner)
        self._start_again(others)

    def close(self) -> None:
        for runner in self.runners.all:
            self.runners.discard(runner)
        self._runner_of.clear()
        self._unsent.clear()

    # Handing over, and taking back

    def send(self) -> None:
        """Hand over what was given meanwhile."""
        while self._unsent:
            runner, calls = self._unsent.popitem()
            frames, listed = self._message(runner, calls)
            if not listed:
                continue
            if not runner.send(frames, listed):
                # It is dead, and will be heard of; or it is full, and its calls are better off elsewhere.
                runner.is_done_for = True
                self._start_again(self._take_back(runner))
            elif runner.queue:
                self._await_answers(runner)
            failpoints.reach("worker.after_spawn")

    def _message(self, runner: Runner, calls: Iterable[tuple[int, Run]]) -> tuple[dict[str, Any], list[Any]]:
        frames: dict[str, Any] = {}
        listed: list[Any] = []
        for number, run in calls:
            if self._runner_of.get(run.dispatch_id) is not runner:
                continue  # it was taken back
            try:
                frame = self._frames.of(run)
            except NotStartedError as error:
                self._drop(runner, run)
                self.audience.call_refused(run, error)
                continue
            name = runner.frames.get(frame.key)
            if name is None:
                name = runner.frames[frame.key] = str(len(runner.frames))
                frames[name] = frame.content
            listed.append((number, name, run_variables(run.claim), job_params(run.claim)))
        return frames, listed

    def _await_answers(self, runner: Runner) -> None:
        """Say when we want to hear of its answers; and look ourselves, should one of several calls take longer."""
        now, is_late = self.loop.monotonic(), runner.wake_us()
        may_stall = runner.is_ready and len(runner.queue) > 1
        runner.look_at = now if is_late else now + LOOK_SECONDS if may_stall else math.inf

    def _take_back(self, runner: Runner) -> list[Run]:
        """Take from a runner whatever has not begun."""
        taken = runner.board.take_back(runner.calls)
        back = [run for number, run in runner.queue if number >= taken]
        for run in back:
            self._drop(runner, run)
        if runner.queue:
            self._await_answers(runner)
        return back

    def _drop(self, runner: Runner, run: Run) -> None:
        kept = [(number, other) for number, other in runner.queue if other is not run]
        runner.queue.clear()
        runner.queue.extend(kept)
        self._runner_of.pop(run.dispatch_id, None)
        run.deadline = None

    def _start_again(self, runs: list[Run]) -> None:
        for run in self._kept(runs):
            try:
                self.start(run)
            except NotStartedError as error:
                self.audience.call_refused(run, error)

    def _kept(self, runs: list[Run]) -> list[Run]:
        """Return the last of the calls that were taken back, as far as there are more runs than slots; keep the others.

        One that others were told of as running is kept: nobody else can have it any more.
        """
        kept, surplus = list(runs), self.audience.surplus
        while kept and surplus > 0 and not kept[-1].is_told:
            self.audience.call_returned(kept.pop())
            surplus -= 1
        return kept

    def _part(self, runner: Runner) -> None:
        """Spread the calls that wait over two others: should these stall too, the next step is twice as wide."""
        runner.is_slow = True
        waiting = self._kept(self._take_back(runner))
        for run in waiting:
            run.deliveries -= 1  # no fault of anybody's
        half = (len(waiting) + 1) // 2
        for some in (waiting[:half], waiting[half:]):
            self._start_together(some)

    def _start_together(self, runs: list[Run]) -> None:
        """Start calls behind each other in a runner of their own."""
        if not runs:
            return
        self._start_again(runs[:1])
        first = self._runner_of.get(runs[0].dispatch_id)
        for run in runs[1:]:
            if (
                first is None
                or first.is_done_for
                or first.room <= 0
                or self._placement.durations.is_slow(run.claim.job)
            ):
                self._start_again([run])
            else:
                self._put(first, run)

    def _put(self, runner: Runner, run: Run) -> None:
        run.pid, run.process_started = runner.pid, runner.process_started
        run.deliveries += 1
        self._runner_of[run.dispatch_id] = runner
        numbered = (runner.calls, run)
        runner.queue.append(numbered)
        unsent = self._unsent.get(runner)
        if unsent is None:
            unsent = self._unsent[runner] = []
        unsent.append(numbered)
        runner.calls += 1
        is_slow = self._placement.durations.is_slow(run.claim.job)
        if len(runner.queue) == 1:
            runner.is_slow = is_slow
            self._head_begins(runner, self.loop.monotonic())
        else:
            runner.is_slow = runner.is_slow or is_slow

    # What runners say

    def _heard(self, runner: Runner, fd: int) -> None:
        if fd == runner.pidfd:
            self._died(runner)
        else:
            self._pump(runner, fd)

    def _pump(self, runner: Runner, fd: int = -1) -> None:
        """Read output, then answers until there is none: what nobody has answered for is of the call that runs."""
        if fd == runner.socket.fileno():
            self._listen(runner)
        for stream, pipe in runner.pipes.items():
            if pipe == fd and runner.read(stream) < 0:
                self.loop.unwatch(pipe)
        self._take_answers(runner)
        if not runner.queue:
            runner.look_at = math.inf
        for stream in runner.pipes:
            data = runner.rest(stream)
            if data and runner.head is not None:
                runner.head.take(stream, data)

    def _listen(self, runner: Runner) -> None:
        was_ready = runner.is_ready
        runner.listen()
        if runner.is_ready and not was_ready:  # the time it took to start is not the call's
            self._head_begins(runner, self.loop.monotonic())

    def _take_answers(self, runner: Runner) -> None:
        moment, ended = moment_of(self.clock), 0.0
        while runner.pipes and (answer := runner.next_answer()) is not None:  # with its pipes it is let go of
            if isinstance(answer, Notice):
                ended = self.loop.monotonic()
                _, run = runner.queue[0]
                self._drop(runner, run)
                self._start_again([run])
                continue
            ended = answer.ended
            if ended > moment[1]:
                moment = moment_of(self.clock)
            _, run = runner.queue.popleft()
            del self._runner_of[run.dispatch_id]
            self._settle(runner, run, answer, moment)
        if runner.pipes and runner.queue:
            if ended:
                self._head_begins(runner, ended)
            self._await_answers(runner)

    def _settle(self, runner: Runner, run: Run, answer: Answer, moment: tuple[float, float]) -> None:
        for stream, written in ((STDOUT, answer.out), (STDERR, answer.err)):
            if (written != runner.settled[stream] or runner.held[stream]) and (data := runner.owed(stream, written)):
                run.take(stream, data)
            runner.settled[stream] = written
        runner.answered += 1
        runner.rss = answer.rss
        runner.cpu_user += answer.cpu_user
        runner.cpu_system += answer.cpu_system
        self._placement.durations.learn(run.claim.job, answer.ended - answer.began)
        ending = exit_of_call(answer, run, moment)
        if runner.spawned.group is not None:  # a process below it may have been ended
            ending = replace(ending, out_of_memory=runner.spawned.ran_out_of_memory())
        is_spent = answer.has_children or run.cause is not None
        if not is_spent and self.runners.is_worn(runner, answer.ended):
            runner.is_done_for = True
            self._start_again(self._take_back(runner))
        self.audience.call_ended(run, ending, runner, is_spent=is_spent)
        if runner.is_done_for and not runner.queue and runner.pipes:
            self.runners.discard(runner)

    def _head_begins(self, runner: Runner, since: float) -> None:
        runner.head_since = since
        if runner.head is not None:
            runner.head.begin(self.clock, runner.head_since)

    def _died(self, runner: Runner) -> None:
        _, status, usage = os.wait4(runner.pid, 0)
        runner.process.returncode = os.waitstatus_to_exitcode(status)
        runner.is_done_for = True
        for stream in runner.pipes:
            for _ in range(REST_READS_MAX):
                if runner.read(stream) <= 0:
                    break
        while runner.listen():
            pass
        self._pump(runner)
        if not runner.pipes:
            return
        ending = exit_of(status, usage, self.clock.now()).less(runner.cpu_user, runner.cpu_system)
        ending = replace(ending, out_of_memory=runner.spawned.ran_out_of_memory())
        waiting = self._take_back(runner)
        complaint = None if runner.is_ready else runner.spawned.complaint()
        begun = runner.head
        if begun is not None:
            runner.queue.clear()
            self._runner_of.pop(begun.dispatch_id, None)
            self.runners.unwatch(runner)
            pipes = {fd: stream for stream, fd in runner.pipes.items()}
            runner.pipes.clear()
            self.runners.forget(runner)
            self.audience.call_died(begun, ending, pipes)
        else:
            self.runners.forget(runner)
        self._go_elsewhere(waiting, complaint or never_began(ending), is_final=complaint is not None)

    def _go_elsewhere(self, waiting: list[Run], error: NotStartedError, *, is_final: bool) -> None:
        again = []
        for run in waiting:
            if is_final or run.deliveries >= DELIVERIES_MAX:
                self.audience.call_refused(run, error)
            else:
                again.append(run)
        self._start_again(again)
