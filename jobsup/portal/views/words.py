"""Short words for what became of a run, and the command that does the same as a button."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from markupsafe import Markup, escape

from jobsup.model import Reason, Status
from jobsup.portal.render import harmless, when
from jobsup.schedule.zones import load

REASONS: dict[Reason, str] = {
    Reason.NONE: "",
    Reason.EXIT_CODE: "",
    Reason.SIGNAL: "ended by a signal",
    Reason.OOM: "out of memory",
    Reason.EXCEPTION: "the callable raised",
    Reason.SPAWN: "could not be started",
    Reason.NOT_RUNNABLE: "cannot be run, so not retried",
    Reason.INTERNAL: "jobsup could not run it",
    Reason.DEADLINE: "ran longer than its timeout",
    Reason.WORKER_LOST: "its worker was lost",
    Reason.SHUTDOWN: "its worker was stopped",
    Reason.NO_OWNER: "nobody owned it any more",
    Reason.CANCELLED: "by a person",
    Reason.REPLACED: "a newer tick took its place",
    Reason.JOB_REMOVED: "the job was removed or disabled",
    Reason.HOST_GONE: "its host was not back in time",
    Reason.OVERLAP: "an earlier run was still going",
    Reason.QUEUE_FULL: "too many were waiting already",
    Reason.PAUSED: "the job was paused",
    Reason.MISSED: "nothing was running then",
    Reason.MISFIRE_GRACE: "later than misfire_grace allows",
    Reason.CATCH_UP_LIMIT: "more were missed than catch_up_limit",
    Reason.DST_GAP: "its local time did not exist",
    Reason.CALENDAR: "its calendar leaves the day out",
    Reason.NO_HOST: "no living host could run it",
    Reason.BLACKOUT: "a blackout",
}


_INSTANT = re.compile(r"(?:\bat )?(\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)", re.ASCII)
_RUN = re.compile(r"(\b[Rr]un \d{1,18}\b)", re.ASCII)


class Ended(Protocol):
    """What is known of an end, in whatever list."""

    @property
    def status(self) -> Status: ...
    @property
    def reason(self) -> Reason: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def signal(self) -> int | None: ...
    @property
    def error_message(self) -> str | None: ...


def why(run: Ended) -> str:
    """Say on one line why a run ended as it did; empty when its status says it all."""
    if run.status is Status.COMPLETED and not run.exit_code:
        return ""
    parts = []
    if run.signal is not None:
        parts.append(signal_name(run.signal))
    elif run.exit_code is not None:
        parts.append(f"exit {run.exit_code}")
    words = REASONS.get(run.reason, str(run.reason))
    if words and not (run.reason is Reason.SIGNAL and parts):
        parts.append(words)
    if run.error_message and run.error_message not in (f"exit code {run.exit_code}", f"signal {run.signal}"):
        parts.append(run.error_message)
    return " · ".join(dict.fromkeys(parts))


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def told(sentence: str, url: Callable[[str], str] | None = None) -> Markup:
    """Return a sentence whose instants can be shown as ages, on the reader's clock, and whose runs lead to them."""
    parts = _INSTANT.split(harmless(sentence))
    return Markup("").join(_age(part) if number % 2 else _linked(part, url) for number, part in enumerate(parts))


def _linked(text: str, url: Callable[[str], str] | None) -> Markup:
    """Make a link of each `run 12`, where it is known how our pages are called."""
    if url is None:
        return escape(text)
    link = Markup('<a href="{}">{}</a>')
    parts = _RUN.split(text)
    return Markup("").join(
        link.format(url(f"/runs/{part.split()[1]}"), part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def _age(text: str) -> Markup:
    """Write an instant; what only looks like one stays as it is."""
    try:
        return when(datetime.fromisoformat(text))
    except ValueError:
        return escape(text)


def on_clock(instant: datetime, zone: str) -> str:
    """Write an instant on a job's own clock: `Tue 24 Nov 02:00 CET`, with seconds where it has some."""
    return instant.astimezone(load(zone)).strftime(f"%a %d %b %H:%M{':%S' if instant.second else ''} %Z")


def command(*words: str | int) -> str:
    """Write the command that does the same, quoted for a shell."""
    return shlex.join(["jobsup", *(str(word) for word in words)])
