"""The choices that a job has, each with what it means."""

from __future__ import annotations

from enum import StrEnum


class JobKind(StrEnum):
    """How a job is run."""

    COMMAND = "command"
    """A shell line (string) or an argv (list)."""
    SCRIPT = "script"
    """A file, run by its shebang or by its extension."""
    PYTHON = "python"
    """A callable, `package.module:function`, in a runner process."""


class IoClass(StrEnum):
    """When a job's reads and writes are served, beside those of others."""

    REALTIME = "realtime"
    """Before all others."""
    BEST_EFFORT = "best-effort"
    """By turns, those of a lower priority number more often."""
    IDLE = "idle"
    """When nobody else wants the disk."""


class Origin(StrEnum):
    """Who owns a job's definition."""

    FILE = "file"
    """The TOML file: it is changed there."""
    PORTAL = "portal"
    """Made in the portal."""
    CLI = "cli"
    """Made by a command."""


class On(StrEnum):
    """How many hosts run each tick of a job."""

    ONE = "one"
    """One of those that can, whichever is first."""
    EACH = "each"
    """Each living one that can, in a run of its own."""


class Overlap(StrEnum):
    """What a tick does while an earlier run of the job waits or runs."""

    SKIP = "skip"
    """It becomes SKIPPED/overlap."""
    QUEUE = "queue"
    """It waits until the earlier one has ended."""
    ALLOW = "allow"
    """It runs beside it."""
    REPLACE = "replace"
    """It cancels the earlier one and runs when that has ended."""


class CatchUp(StrEnum):
    """What becomes of ticks that fell into a time when nothing was up."""

    NONE = "none"
    """They are SKIPPED/missed."""
    LATEST = "latest"
    """The latest of them runs once, the others are SKIPPED/missed."""
    ALL = "all"
    """They all run, up to `catch_up_limit` of the latest."""


class Dst(StrEnum):
    """What a clock change does to a schedule of wall-clock times."""

    CRON = "cron"
    """Debian cron's rule: fixed times in a gap run once right after it, repeated ones once."""
    SKIP = "skip"
    """Ticks in a gap do not run; a repeated hour runs once."""
    BOTH = "both"
    """A gap as with cron; a repeated hour runs in both passes."""


class CalendarRule(StrEnum):
    """What the days of a job's named calendar do to its ticks.

    A business day is neither one of the calendar's days nor at the weekend, which is Saturday and Sunday unless
    the calendar has `weekdays` of its own.
    """

    SKIP = "skip"
    """A tick on one of them does not run."""
    NEXT_BUSINESS_DAY = "next_business_day"
    """A tick that is not on a business day runs at the same time of the next one."""
    PREVIOUS_BUSINESS_DAY = "previous_business_day"
    """A tick that is not on a business day runs at the same time of the one before."""
    ONLY = "only"
    """A tick on any other day does not run."""

    @property
    def moves(self) -> bool:
        return self in (CalendarRule.NEXT_BUSINESS_DAY, CalendarRule.PREVIOUS_BUSINESS_DAY)


class DependsWhen(StrEnum):
    """Which end of a job that this one depends on counts."""

    SUCCESS = "success"
    """It COMPLETED."""
    FAILURE = "failure"
    """It ended in any other way, after its last retry."""
    ANY = "any"
    """It ended."""


class DependsMode(StrEnum):
    """How many of the jobs that this one depends on must have ended so."""

    ALL = "all"
    """Each of them, since this job's last run."""
    ANY = "any"
    """Any one of them."""


class BlackoutPolicy(StrEnum):
    """What becomes of a tick in a blackout window."""

    HOLD = "hold"
    """It waits until the window has ended; several held ticks of one job become one run."""
    SKIP = "skip"
    """It is SKIPPED/blackout."""
