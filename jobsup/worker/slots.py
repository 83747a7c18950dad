"""The runs a worker has: starting them, reading them, ending them in time, and collecting their results."""

from __future__ import annotations

import math
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from jobsup.clock import Clock
from jobsup.config.settings import WorkerSettings
from jobsup.model import STDERR, STDOUT, Claim, JobKind, OutputChunk, Progress, RunResult, Status
from jobsup.runtime import failpoints, procs
from jobsup.runtime.service import Loop
from jobsup.worker import report
from jobsup.worker.calls import Calls, Standing
from jobsup.worker.failure import NotStartedError, clean, explain
from jobsup.worker.grouping import Grouping
from jobsup.worker.launch import Handles, launch, waiting_call
from jobsup.worker.plans import Plans
from jobsup.worker.run import Cause, Exit, Phase, Run, deadline_cause, exit_of, is_killed, result_of
from jobsup.worker.runner import Runner
from jobsup.worker.shortage import Shortage
from jobsup.worker.tree import Tree

READ_BYTES_MAX = 64 << 10
"""Read from one pipe in one turn of the loop, so that one run that prints without end starves nobody."""
REST_READS_MAX = 17
"""Read at once after the exit: a whole pipe, also one the run has made as large as it may."""
DRAIN_SECONDS_MAX = 1.5
"""How long output is waited for that something outside the run holds open after its exit."""
LEFT_BEHIND_GRACE_SECONDS = 1.0
"""Between TERM and KILL for what a run left behind."""
ATTEND_SECONDS = 0.01
"""A run that lasts longer has its output watched; before that its pipes hold what it prints."""
LOOK_SECONDS = 0.02
"""Between two looks at processes we have no descriptor of."""
KILL_AGAIN_SECONDS = 0.1
GIVE_UP_SECONDS = 5.0
"""A process that outlives KILL for so long is stuck in the kernel: its run ends without it."""


@dataclass(slots=True)
class Slots:
    """All runs of a worker. Everything here happens in the loop's thread and waits for nothing."""

    loop: Loop
    clock: Clock
    instance: str
    settings: WorkerSettings
    grouping: Grouping = field(default_factory=Grouping)
    results: list[RunResult] = field(default_factory=list)
    """Ends that nobody has taken yet."""
    returned: list[Claim] = field(default_factory=list)
    """Claims of calls that never began and have no slot any more; the last of them first."""
    processed: int = 0
    _runs: dict[int, Run] = field(default_factory=dict)
    _handles: dict[int, Handles] = field(default_factory=dict)
    _unattended: dict[int, Run] = field(default_factory=dict)
    """Runs so young that their output is not watched yet."""
    _tree: Tree = field(init=False)
    _shortage: Shortage = field(init=False)
    _calls: Calls = field(init=False)
    _plans: Plans = field(init=False)

    def __post_init__(self) -> None:
        self._tree = Tree(self.instance)
        self._shortage = Shortage()
        self._plans = Plans(self.clock, self.instance, self.grouping)
        self._calls = Calls(self.loop, self.clock, self.settings, self.instance, self, self.grouping)

    @property
    def runs(self) -> list[Run]:
        """Return the runs that have not ended, oldest first."""
        return list(self._runs.values())

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, dispatch_id: int) -> Run | None:
        return self._runs.get(dispatch_id)

    def start(self, claim: Claim) -> None:
        """Start a claimed dispatch; when that fails, its end is among the results."""
        self._start(claim, self._call if claim.job.kind is JobKind.PYTHON else self._spawn)

    def start_behind(self, claim: Claim) -> bool:
        """Start a claimed call without a slot of its own, behind others that are over in no time; False: not now."""
        if claim.job.kind is not JobKind.PYTHON:
            return False
        try:
            runner = self._calls.behind(claim.job)
        except NotStartedError:  # told when it has a slot
            return False
        if runner is not None:
            self._start(claim, partial(self._call, runner=runner))
        return runner is not None

    def hand_over(self) -> None:
        """Let the runners have the calls that were started."""
        self._calls.send()

    def _start(self, claim: Claim, begin: Callable[[Claim], Run]) -> None:
        failpoints.reach("worker.before_spawn")
        try:
            run = begin(claim)
        except NotStartedError as error:
            self._not_started(claim, error)
            return
        except OSError as error:  # descriptors or memory ran out on the way
            self._not_started(claim, explain(error, "the run"))
            return
        self._runs[claim.dispatch_id] = run
        report.started(claim, run.pid)

    def _spawn(self, claim: Claim) -> Run:
        run, handles = launch(claim, clock=self.clock, plans=self._plans)
        failpoints.reach("worker.after_spawn")
        self._handles[claim.dispatch_id] = handles
        # For its end; its output only once it lasts, for what a short run prints is read at its end.
        self._unattended[run.dispatch_id] = run
        self.loop.watch(handles.pidfd, partial(self._process_exited, run))
        return run

    def _call(self, claim: Claim, runner: Runner | None = None) -> Run:
        run = waiting_call(claim, self.clock)
        if runner is None:
            self._calls.start(run)
        else:
            self._calls.start_behind(run, runner)
        return run

    def has_begun(self, run: Run) -> bool:
        """Say whether a run is certainly one: a call that waits behind others may still be taken back."""
        return not run.is_call or self._calls.has_begun(run)

    def withdraw(self) -> None:
        """Have all calls returned that have not begun."""
        self._calls.withdraw()

    @property
    def surplus(self) -> int:
        """How many more runs there are than slots: calls that wait behind others."""
        return max(0, len(self._runs) - self.settings.concurrency)

    def end(self, run: Run, cause: Cause, *, grace: timedelta | None = None) -> None:
        """End a run for `cause`: TERM to its tree, and KILL after the grace (None: the job's). Only once."""
        if run.phase is not Phase.RUNNING:
            self._hasten(run, grace)
            return
        if run.is_call and not self._is_alone(run, cause):
            return
        run.cause = cause
        run.phase = Phase.TERMINATING
        run.grace = (run.claim.job.kill_grace if grace is None else grace).total_seconds()
        run.act_at = self.loop.monotonic() + run.grace
        if run.grace:
            self._tree.terminate(run, self._known(), self._others(run))

    def _is_alone(self, run: Run, cause: Cause) -> bool:
        """Part a call from those that share its runner; False: it never began, or is over, and needs no ending."""
        standing = self._calls.isolate(run)
        if standing is Standing.WAITING:
            self._release(run)
            result = RunResult(run.dispatch_id, cause.status, cause.reason, self.clock.now(), error_message=cause.text)
            self._ended(run.claim, result)
        return standing is Standing.ALONE

    def tick(self) -> None:
        """Do what is due of each run: its deadline, the end of its grace, another look at what it left."""
        self._tree.look_again()
        self._attend()
        self._calls.tick()
        for run in self.runs:
            if run.due_at is not None and run.due_at <= self.loop.monotonic():
                _DUE[run.phase](self, run)
        self._calls.tick()

    def next_at(self) -> float:
        """Return when the next thing is due, on the monotonic clock."""
        first = min((run.due_at for run in self._runs.values() if run.due_at is not None), default=math.inf)
        oldest = next(iter(self._unattended.values()), None)
        if oldest is not None:
            first = min(first, oldest.started + ATTEND_SECONDS)
        return min(first, self._calls.next_at())

    def sweep(self) -> None:
        """Clear away processes of runs long ended, as long as no run is there."""
        self.grouping.tidy()
        for run in self._runs.values():
            if not run.is_call:
                run.peak_seen = procs.peak_bytes(run.pid) or run.peak_seen
        self._shortage.look(self.loop.monotonic())
        if not self._runs:
            self._tree.sweep(self._known())

    def take_live(self, at: datetime) -> tuple[list[OutputChunk], dict[int, tuple[int, int]]]:
        """Return the live output of all runs, and which of it is to be taken back."""
        chunks: list[OutputChunk] = []
        taken_back: dict[int, tuple[int, int]] = {}
        for run in self.runs:
            new, old = run.capture.take_live(at)
            chunks += new
            if old is not None:
                taken_back[run.dispatch_id] = old
        return chunks, taken_back

    def take_progress(self) -> dict[int, Progress]:
        """Return how far runs have said they are since the last time."""
        told = {}
        for run in self._runs.values():
            if run.is_progress_new and run.progress is not None:
                told[run.dispatch_id] = run.progress
                run.is_progress_new = False
        return told

    def close(self) -> None:
        """Kill whatever still runs, and let go of everything."""
        for run in self.runs:
            self._tree.kill(run, self._known(), self._others(run))
            handles = self._handles.get(run.dispatch_id)
            if handles is not None:
                with suppress(subprocess.TimeoutExpired):
                    handles.process.wait(KILL_AGAIN_SECONDS)
                self._let_go(handles)
            self._release(run)
        self._calls.close()
        self._tree.sweep(set())

    def _watch_output(self, run: Run) -> None:
        for fd in run.pipes:
            self.loop.watch(fd, partial(self._pipe_readable, run, fd))

    def _attend(self) -> None:
        """Begin to read what the runs print that have lasted for a while; they are kept in the order of their start."""
        now = self.loop.monotonic()
        while self._unattended:
            run = next(iter(self._unattended.values()))
            if run.started + ATTEND_SECONDS > now:
                return
            del self._unattended[run.dispatch_id]
            self._watch_output(run)

    def refuse(self, claim: Claim, cause: Cause) -> None:
        """End a claim that was not started."""
        now = self.clock.now()
        self._ended(claim, RunResult(claim.dispatch_id, cause.status, cause.reason, now, error_message=cause.text))

    def _not_started(self, claim: Claim, error: NotStartedError) -> None:
        now = self.clock.now()
        message = clean(str(error))
        result = RunResult(claim.dispatch_id, Status.FAILED, error.reason, now, error_message=message)
        self._ended(claim, result)

    # What happens to a run

    def _pipe_readable(self, run: Run, fd: int) -> None:
        self._read(run, fd)

    def _read(self, run: Run, fd: int) -> bool:
        """Read once; False when there is nothing more for now, or for ever."""
        try:
            data = os.read(fd, READ_BYTES_MAX)
        except BlockingIOError:
            return False
        if data:
            run.take(run.pipes[fd], data)
            return True
        self._close_pipe(run, fd)
        if run.phase is Phase.DRAINING:
            run.act_at = self.loop.monotonic()
        return False

    def _process_exited(self, run: Run) -> None:
        """Take leave of the process itself."""
        failpoints.reach("worker.after_exit")
        handles = self._handles[run.dispatch_id]
        _, status, usage = os.wait4(run.pid, 0)
        handles.process.returncode = os.waitstatus_to_exitcode(status)
        ending = exit_of(status, usage, self.clock.now(), handles.spawned.ran_out_of_memory())
        complaint = None if run.cause is not None else handles.spawned.complaint()
        self._let_go(handles)
        if complaint is not None:  # its wrapper never became it
            self._release(run)
            self._not_started(run.claim, complaint)
        else:
            self._exited(run, ending)

    # What happens to a call

    def call_ended(self, run: Run, ending: Exit, runner: Runner, *, is_spent: bool) -> None:
        failpoints.reach("worker.after_exit")
        for stream in (STDOUT, STDERR):
            run.end_stream(stream)
        if not is_spent:
            run.exit = ending
            self._finish(run)
            return
        # It has heard our TERM, or has children of this call: no next call should meet them.
        run.left_behind.update(procs.children(runner.pid))
        self._calls.discard(runner)
        self._exited(run, ending)

    def call_died(self, run: Run, ending: Exit, pipes: dict[int, int]) -> None:
        failpoints.reach("worker.after_exit")
        run.pipes = pipes
        self._watch_output(run)
        self._exited(run, ending)

    def call_returned(self, run: Run) -> None:
        self._release(run)
        self.returned.append(run.claim)

    def call_refused(self, run: Run, error: NotStartedError) -> None:
        self._release(run)
        self._not_started(run.claim, error)

    def _exited(self, run: Run, ending: Exit) -> None:
        run.exit = ending
        now = self.loop.monotonic()
        if run.cause is None and is_killed(ending) and self._shortage.was_since(run.started, now):
            run.notes.append("meanwhile the kernel ended processes of this machine for want of memory")
        is_attended = self._unattended.pop(run.dispatch_id, None) is None
        if run.cause is not None:
            # Its other processes have heard TERM as well, and keep what is left of their grace.
            run.kill_left_at = run.act_at if run.phase is Phase.TERMINATING else now
        run.phase = Phase.DRAINING
        for fd in list(run.pipes):
            for _ in range(REST_READS_MAX):
                if not self._read(run, fd):
                    break
        if not is_attended:  # whatever still holds its output is heard from now on
            self._watch_output(run)
        run.drain_until = now + DRAIN_SECONDS_MAX
        self._drain(run)

    # What is due by itself, one for each phase

    def _deadline_passed(self, run: Run) -> None:
        self.end(run, deadline_cause(run))

    def _kill(self, run: Run) -> None:
        now = self.loop.monotonic()
        if run.phase is Phase.TERMINATING:
            run.phase = Phase.KILLED
            run.give_up_at = now + GIVE_UP_SECONDS
            if run.grace:
                run.notes.append("it did not end on SIGTERM and was killed")
        self._tree.kill(run, self._known(), self._others(run))
        run.act_at = now + KILL_AGAIN_SECONDS
        if run.give_up_at is not None and now >= run.give_up_at:
            self._abandon(run)

    def _drain(self, run: Run) -> None:
        """Finish once nothing is left behind and the output is read to its end, or was waited for long enough."""
        now = self.loop.monotonic()
        left = self._left_behind(run)
        if left:
            self._end_left_behind(run, left, now)
            return
        if run.pipes and now < run.drain_until:
            run.act_at = run.drain_until
            return
        if run.pipes:
            run.notes.append("its output was still held open by another process")
        self._finish(run)

    def _left_behind(self, run: Run) -> list[int]:
        if self._tree.is_clear and run.group is None:
            return []
        return self._tree.left_behind(run, self._known(), self._others(run))

    def _end_left_behind(self, run: Run, left: list[int], now: float) -> None:
        """TERM and KILL for what a run left; after our own TERM only the KILL, without a word about it."""
        known = self._known()
        if run.kill_left_at is None:
            run.kill_left_at = now + LEFT_BEHIND_GRACE_SECONDS
        if now >= run.kill_left_at + GIVE_UP_SECONDS:
            run.notes.append(f"process {left[0]} could not be killed")
            self._finish(run)
            return
        fresh = set(left) - run.left_behind
        if run.cause is None:
            run.left_behind |= fresh.union(*map(procs.descendants, fresh))  # counted before they are gone
        if now >= run.kill_left_at:
            if run.group is not None:
                run.group.kill()
            self._tree.end(left, signal.SIGKILL, known)
        elif fresh and run.cause is None:
            self._tree.end(fresh, signal.SIGTERM, known)
        run.act_at = now + LOOK_SECONDS

    def _abandon(self, run: Run) -> None:
        if run.is_call:
            self._calls.abandon(run)
        else:
            self._let_go(self._handles[run.dispatch_id])
        run.notes.append(f"process {run.pid} could not be killed")
        run.exit = Exit(self.clock.now())
        self._finish(run)

    def _hasten(self, run: Run, grace: timedelta | None) -> None:
        """A run that is being ended already may be ended sooner, never later."""
        if run.phase is Phase.TERMINATING and grace is not None and run.act_at is not None:
            run.act_at = min(run.act_at, self.loop.monotonic() + grace.total_seconds())

    # The end

    def _finish(self, run: Run) -> None:
        run.phase = Phase.ENDED
        for stream in run.pipes.values():
            run.end_stream(stream)  # held open by somebody else
        self._release(run)
        self._ended(run.claim, result_of(run), self.loop.monotonic() - run.started)

    def _let_go(self, handles: Handles) -> None:
        """Close what we hold of a process, unless that is done."""
        if handles.pidfd < 0:
            return
        self.loop.close_watched(handles.pidfd)
        handles.pidfd = -1

    def _release(self, run: Run) -> None:
        self._unattended.pop(run.dispatch_id, None)
        for fd in list(run.pipes):
            self._close_pipe(run, fd)
        del self._runs[run.dispatch_id]
        handles = self._handles.pop(run.dispatch_id, None)
        if handles is not None:
            handles.spawned.close()

    def _ended(self, claim: Claim, result: RunResult, seconds: float | None = None) -> None:
        self.processed += 1
        self.results.append(result)
        report.ended(claim, result, seconds)

    def _close_pipe(self, run: Run, fd: int) -> None:
        run.end_stream(run.pipes.pop(fd))
        self.loop.close_watched(fd)

    def _known(self) -> set[int]:
        """Return the processes that belong somewhere; any other child of ours was left behind."""
        return self._calls.runners.pids | {
            handles.process.pid for handles in self._handles.values() if handles.process.returncode is None
        }

    def _others(self, run: Run) -> list[Run]:
        return [other for other in self._runs.values() if other is not run]


_DUE: dict[Phase, Callable[[Slots, Run], None]] = {
    Phase.RUNNING: Slots._deadline_passed,
    Phase.TERMINATING: Slots._kill,
    Phase.KILLED: Slots._kill,
    Phase.DRAINING: Slots._drain,
}
