"""What can become of a run, and who can say so."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What is true of one dispatch, which is one attempt."""

    PENDING = "PENDING"
    """It waits for a worker, at the earliest at `available_at`."""
    IN_PROGRESS = "IN_PROGRESS"
    """A worker has claimed it; the attempt counts from here."""
    COMPLETED = "COMPLETED"
    """The job ended with one of its success exit codes."""
    FAILED = "FAILED"
    """The job ended otherwise, or could not be started."""
    TIMEOUT = "TIMEOUT"
    """It was ended for time: its deadline, a lost worker, or a drain that ran out."""
    CANCELLED = "CANCELLED"
    """A person or a removed job ended it."""
    SKIPPED = "SKIPPED"
    """A tick, or a counted range of ticks, that did not run, and why."""

    @property
    def is_terminal(self) -> bool:
        return self not in (Status.PENDING, Status.IN_PROGRESS)


class Reason(StrEnum):
    """Why a dispatch has the status it has; empty means that the status says it all."""

    NONE = ""
    """Nothing to explain."""
    EXIT_CODE = "exit_code"
    """FAILED: an exit code outside `success_exit_codes`."""
    SIGNAL = "signal"
    """FAILED: a signal that was not ours ended it."""
    OOM = "oom"
    """FAILED: the kernel ended it, or a process of it, for want of memory; `memory_max` may be too low."""
    EXCEPTION = "exception"
    """FAILED: the Python callable raised."""
    SPAWN = "spawn"
    """FAILED: the process could not be started; it may work next time (no memory, too many processes)."""
    NOT_RUNNABLE = "not_runnable"
    """FAILED for good: executable, script, folder, user or callable is missing. Not retried."""
    INTERNAL = "internal"
    """FAILED: jobsup itself could not run it; the error message says why."""
    DEADLINE = "deadline"
    """TIMEOUT: it ran longer than its `timeout`."""
    WORKER_LOST = "worker_lost"
    """TIMEOUT: its worker died, froze, or was cut off."""
    SHUTDOWN = "shutdown"
    """TIMEOUT: the drain ran out; its retry does not count towards the maximum."""
    NO_OWNER = "no_owner"
    """TIMEOUT: nobody owned it for longer than `job_timeout_threshold`."""
    CANCELLED = "cancelled"
    """CANCELLED: a person asked for it."""
    REPLACED = "replaced"
    """CANCELLED: a newer tick took its place (`overlap = "replace"`)."""
    JOB_REMOVED = "job_removed"
    """CANCELLED: the job was removed, or disabled, before it started."""
    HOST_GONE = "host_gone"
    """CANCELLED: the host it had to run on has had no worker for longer than `job_timeout_threshold`."""
    OVERLAP = "overlap"
    """SKIPPED: an earlier run was still waiting or running (`overlap = "skip"`)."""
    QUEUE_FULL = "queue_full"
    """SKIPPED: `queue_limit` runs were waiting already (`overlap = "queue"`)."""
    PAUSED = "paused"
    """SKIPPED: the job was paused."""
    MISSED = "missed"
    """SKIPPED: nothing was up at that instant, and `catch_up` does not ask for it."""
    MISFIRE_GRACE = "misfire_grace"
    """SKIPPED: it was later than `misfire_grace` allows."""
    CATCH_UP_LIMIT = "catch_up_limit"
    """SKIPPED: more ticks were missed than `catch_up_limit` allows to run."""
    DST_GAP = "dst_gap"
    """SKIPPED: its local time did not exist that day (`dst = "skip"`)."""
    CALENDAR = "calendar"
    """SKIPPED: the job's calendar leaves that day out."""
    NO_HOST = "no_host"
    """SKIPPED: no living host could have run it (`on = "each"`)."""
    BLACKOUT = "blackout"
    """SKIPPED: it fell into a blackout window whose policy is `skip`, or another tick that it held runs for it."""


class Source(StrEnum):
    """Where a dispatch comes from."""

    SCHEDULE = "schedule"
    """A tick of its schedule."""
    MANUAL = "manual"
    """A person or a program asked for it."""
    RETRY = "retry"
    """The attempt before it failed or was lost."""
    DEPENDENCY = "dependency"
    """A job it depends on ended."""
    BACKFILL = "backfill"
    """A person asked for the ticks of a time gone by."""
