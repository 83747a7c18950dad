"""One run's life, as data: its phase, what it waits for next, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from resource import RUSAGE_SELF, getrusage, struct_rusage
from signal import SIGKILL, Signals

from jobsup.clock import Clock
from jobsup.config.durations import format_duration
from jobsup.model import Claim, JobKind, Progress, Reason, RunResult, Status
from jobsup.runtime.cgroups import Group
from jobsup.worker.failure import clean
from jobsup.worker.mask import Mask
from jobsup.worker.output import Capture
from jobsup.worker.progress import ProgressReader

SHELL_SIGNAL = 128
"""A shell whose command was ended by a signal ends with this plus the signal."""
MAX_RSS_UNIT = 1024
"""The kernel counts `ru_maxrss` in KiB."""
BLOCK_BYTES = 512
"""The kernel counts `ru_inblock` and `ru_oublock` in these."""


class Phase(Enum):
    """Where a run stands."""

    RUNNING = "running"
    """Its process runs; its deadline is the next thing to happen by itself."""
    TERMINATING = "terminating"
    """Its whole tree was sent TERM; when the grace is over it is killed."""
    KILLED = "killed"
    """Its whole tree was sent KILL, and is sent it again until its process has exited."""
    DRAINING = "draining"
    """Its process has exited; its last output is read, and what it left behind is ended."""
    ENDED = "ended"
    """Nothing of it is left, and its result is known."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why we end a run ourselves: this, not the exit code, is then how it ended."""

    status: Status
    reason: Reason
    text: str


@dataclass(slots=True)  # nobody changes it; frozen, it would take four times as long to make, for each run
class Exit:
    """How a run's process, or its call in a runner, came to its end."""

    at: datetime
    code: int | None = None
    signal: int | None = None
    reason: Reason = Reason.NONE
    """EXCEPTION, NOT_RUNNABLE or INTERNAL where a runner says so."""
    error: str | None = None
    out_of_memory: str = ""
    """The kernel ended a process of it for want of memory, and what is known of that."""
    result: str | None = None
    cpu_user: float | None = None
    cpu_system: float | None = None
    max_rss: int | None = None
    io_read: int | None = None
    io_write: int | None = None

    def less(self, cpu_user: float, cpu_system: float) -> Exit:
        """Take off what was used before: a runner's end is told with all that its calls have cost."""
        return replace(
            self,
            cpu_user=None if self.cpu_user is None else max(0.0, self.cpu_user - cpu_user),
            cpu_system=None if self.cpu_system is None else max(0.0, self.cpu_system - cpu_system),
            io_read=None,
            io_write=None,
        )


@dataclass(slots=True, eq=False)
class Run:
    """A claimed dispatch whose process was started."""

    claim: Claim
    capture: Capture
    pid: int
    """The process in whose session it runs; of a call, its runner."""
    process_started: int | None
    """That process's start in clock ticks after boot."""
    started_at: datetime
    started: float
    """On the monotonic clock, as all floats here."""
    deadline: float | None
    mask: Mask | None = None
    """What takes its secrets out of its output; None: it has none."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """A call: the variables that its runner must be told and nobody else."""
    group: Group | None = None
    """The control group of its processes; None for a call, whose runner has its own."""
    pipes: dict[int, int] = field(default_factory=dict)
    """Descriptors still open for reading -> STDOUT | STDERR."""
    phase: Phase = Phase.RUNNING
    act_at: float | None = None
    """When the phase wants to be looked at again, at the latest."""
    give_up_at: float | None = None
    """When a killed tree counts as unkillable."""
    kill_left_at: float | None = None
    """When what outlived its process is killed."""
    grace: float = 0.0
    """Seconds between TERM and KILL, once it is being ended."""
    drain_until: float = 0.0
    """How long its output is waited for after its exit."""
    cause: Cause | None = None
    exit: Exit | None = None
    left_behind: set[int] = field(default_factory=set)
    """Processes that outlived it and were ended."""
    notes: list[str] = field(default_factory=list)
    is_told: bool = False
    """The database was told that it runs: it cannot be given back any more."""
    deliveries: int = 0
    """A call: to how many runners it was given."""
    progress: Progress | None = None
    """How far it last said it is."""
    is_progress_new: bool = False
    """Nobody was told of that yet."""
    peak_seen: int | None = None
    """The most memory its process was seen to have had, in bytes: of one that lasts it is looked up."""
    _readers: dict[int, ProgressReader] = field(default_factory=dict)
    dispatch_id: int = field(init=False)

    def __post_init__(self) -> None:
        self.dispatch_id = self.claim.dispatch_id

    def begin(self, clock: Clock, now: float) -> None:
        """Count its time from now on."""
        timeout = self.claim.job.timeout
        self.started, self.started_at = now, clock.now()
        self.deadline = None if timeout is None else now + timeout.total_seconds()

    def begin_at(self, at: datetime, began: float) -> None:
        """Put right when it began."""
        self.started, self.started_at = began, at

    @property
    def is_call(self) -> bool:
        return self.claim.job.kind is JobKind.PYTHON

    def take(self, stream: int, data: bytes) -> None:
        """Keep what was read next of a stream, and look whether it tells how far it is."""
        shown = data if self.mask is None else self.mask.feed(stream, data)
        if not shown:
            return
        self.capture.add(stream, shown)
        reader = self._readers.get(stream)
        if reader is None:
            reader = self._readers[stream] = ProgressReader()
        told = reader.read(shown)
        if told is not None:
            self.progress, self.is_progress_new = told, True

    def end_stream(self, stream: int) -> None:
        """Nothing more will be read of a stream."""
        if self.mask is not None and (rest := self.mask.rest(stream)):
            self.capture.add(stream, rest)

    @property
    def due_at(self) -> float | None:
        """When something happens by itself."""
        return self.deadline if self.phase is Phase.RUNNING else self.act_at


def deadline_cause(run: Run) -> Cause:
    """Say that it ran too long."""
    return Cause(
        Status.TIMEOUT, Reason.DEADLINE, f"ran longer than its timeout of {format_duration(run.claim.job.timeout)}"
    )


def exit_of(status: int, usage: struct_rusage, at: datetime, out_of_memory: str = "") -> Exit:
    """Read what wait4 returned; `out_of_memory` says what is known of that."""
    code, signum = (None, status & 0x7F) if status & 0x7F else (status >> 8 & 0xFF, None)
    return Exit(
        at=at,
        code=code,
        signal=signum,
        out_of_memory=out_of_memory,
        cpu_user=usage.ru_utime,
        cpu_system=usage.ru_stime,
        max_rss=_own_peak(usage),
        io_read=usage.ru_inblock * BLOCK_BYTES,
        io_write=usage.ru_oublock * BLOCK_BYTES,
    )


def _own_peak(usage: struct_rusage) -> int | None:
    """Return a child's peak of memory; None when the kernel does not tell it.

    A child that was spawned has been us until its exec, and the kernel counts that as its own.
    """
    ours = getrusage(RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * MAX_RSS_UNIT if usage.ru_maxrss > ours else None


def is_killed(ending: Exit) -> bool:
    """Say whether somebody killed it, or the last command of its shell, and nobody has said why."""
    is_kill = ending.signal == SIGKILL or ending.code == SHELL_SIGNAL + SIGKILL
    return is_kill and not ending.out_of_memory


def result_of(run: Run) -> RunResult:
    """Judge a run that has exited: our own cause first, then its exit."""
    ending = run.exit or Exit(run.started_at)
    status, reason, message = _verdict(run, ending)
    result = ending.result
    if run.notes or run.left_behind:
        parts = [message, *run.notes]
        if run.left_behind:
            parts.append(_left_behind(len(run.left_behind)))
        message = "; ".join(part for part in parts if part)
    if run.mask is not None:
        message, result = run.mask.text(message), None if result is None else run.mask.text(result)
    return RunResult(
        dispatch_id=run.dispatch_id,
        status=status,
        reason=reason,
        finished_at=ending.at,
        started_at=run.started_at,
        error_message=clean(message) if message else None,
        exit_code=ending.code,
        signal=ending.signal,
        pid=run.pid,
        output=run.capture.result(),
        result=result,
        cpu_user=ending.cpu_user,
        cpu_system=ending.cpu_system,
        max_rss=max(ending.max_rss or 0, run.peak_seen or 0) or None,
        io_read=ending.io_read,
        io_write=ending.io_write,
        progress=run.progress if run.is_progress_new else None,
        is_live=run.capture.was_live,
    )


def _verdict(run: Run, ending: Exit) -> tuple[Status, Reason, str]:
    if run.cause is not None:
        return run.cause.status, run.cause.reason, run.cause.text
    if ending.out_of_memory and ending.code not in run.claim.job.success_exit_codes:
        return Status.FAILED, Reason.OOM, ending.out_of_memory
    if ending.reason is not Reason.NONE:
        return Status.FAILED, ending.reason, ending.error or ""
    if ending.signal is not None:
        return Status.FAILED, Reason.SIGNAL, f"ended by {_signal_name(ending.signal)}"
    if ending.code in run.claim.job.success_exit_codes:
        return Status.COMPLETED, Reason.NONE, ""
    return Status.FAILED, Reason.EXIT_CODE, f"exit code {ending.code}"


def _signal_name(signum: int) -> str:
    try:
        return f"signal {signum} ({Signals(signum).name})"
    except ValueError:
        return f"signal {signum}"


def _left_behind(count: int) -> str:
    return "1 process left behind was ended" if count == 1 else f"{count} processes left behind were ended"
