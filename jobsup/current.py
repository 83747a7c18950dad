"""What a job's own code may ask and tell while it runs: `current_run()` and `progress()`.

It works in Python callables and in every Python program that jobsup starts, and imports nothing but the standard
library: a program that uses it is no slower for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobsup.errors import JobsupError

PROGRESS_TEXT_CHARS_MAX = 200
"""More of a progress text is cut off."""
PROGRESS_BURST = 20
PROGRESS_PER_SECOND = 10.0
"""So many tellings may come at once, and so many a second go on; what is too much is left out."""

_STDOUT = 1


class NoRunError(JobsupError):
    """There is no run to speak of: the program was not started by jobsup."""


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """The attempt this very code belongs to."""

    id: int
    job: str
    attempt: int
    """1 the first time, 2 for the first retry."""
    scheduled_for: datetime | None
    """The instant it was due, aware, in UTC; None when somebody asked for it."""
    params: Mapping[str, Any]
    deadline: datetime | None
    """When its time is up, by this machine's clock; None: never."""

    @property
    def is_cancelled(self) -> bool:
        """Say whether it was told to end: cancelled, replaced, out of time, or its worker stops.

        From the first look on the main thread, SIGTERM does not end the process but turns this true; what has not
        ended after the job's `kill_grace` is killed all the same.
        """
        _watch_for_term()
        return _term.was_heard


@dataclass(slots=True)
class _Term:
    was_heard: bool = False
    is_watched: bool = False


_term = _Term()


def current_run() -> CurrentRun:
    """Return the run this code belongs to. Raises NoRunError outside of one."""
    run_id = os.environ.get("JOBSUP_RUN_ID", "")
    if not run_id.isdecimal():
        raise NoRunError(
            "current_run(): this process was not started by jobsup (JOBSUP_RUN_ID is not set): "
            "ask only in a job, or set JOBSUP_RUN_ID=0 to try the program by hand"
        )
    return CurrentRun(
        id=int(run_id),
        job=os.environ.get("JOBSUP_JOB", ""),
        attempt=int(os.environ.get("JOBSUP_ATTEMPT") or 1),
        scheduled_for=_instant("JOBSUP_SCHEDULED_FOR"),
        params=json.loads(os.environ.get("JOBSUP_PARAMS") or "{}"),
        deadline=_instant("JOBSUP_DEADLINE"),
    )


def progress(fraction: float | None = None, text: str = "") -> None:
    """Tell how far the run is: a fraction from 0 to 1, a few words, or both.

    It prints one line that jobsup reads, `{"jobsup": {"progress": 0.4, "text": "copying"}}`; any program may print
    such lines itself. More than PROGRESS_PER_SECOND of them a second are left out.
    """
    line = progress_line(fraction, text)
    if not _bucket.takes(is_last=fraction == 1):
        return
    with suppress(Exception):  # what was printed before comes before; it may be closed, or no file at all
        sys.stdout.flush()
    with suppress(OSError):  # nobody reads it: no reason to end the work
        os.write(_STDOUT, line)


def progress_line(fraction: float | None = None, text: str = "") -> bytes:
    """Return the line that tells progress, of less than 4096 bytes, so that it is written in one piece."""
    if fraction is not None and not 0 <= fraction <= 1:
        raise ValueError(f"progress({fraction!r}): a fraction lies between 0 and 1")
    said: dict[str, Any] = {} if fraction is None else {"progress": round(float(fraction), 4)}
    if text:
        said["text"] = str(text)[:PROGRESS_TEXT_CHARS_MAX]
    return json.dumps({"jobsup": said}).encode() + b"\n"


def begin_call() -> None:
    """Forget what the call before was told (a runner makes many in one process)."""
    if _term.is_watched:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _term.was_heard = _term.is_watched = False
    _bucket.left = float(PROGRESS_BURST)


def _watch_for_term() -> None:
    if _term.is_watched or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return  # whoever has a handler of their own knows what to do
    with suppress(ValueError):  # not the main thread: only it may set a handler
        signal.signal(signal.SIGTERM, _hear_term)
        _term.is_watched = True


def _hear_term(signum: int, frame: object) -> None:  # noqa: ARG001  (what the kernel's messenger is called with)
    _term.was_heard = True


def _instant(variable: str) -> datetime | None:
    value = os.environ.get(variable)
    return datetime.fromisoformat(value) if value else None


@dataclass(slots=True)
class _Bucket:
    left: float = float(PROGRESS_BURST)
    filled_at: float = 0.0

    def takes(self, *, is_last: bool) -> bool:
        now = time.monotonic()
        self.left = min(float(PROGRESS_BURST), self.left + (now - self.filled_at) * PROGRESS_PER_SECOND)
        self.filled_at = now
        if self.left < 1 and not is_last:
            return False
        self.left = max(0.0, self.left - 1)
        return True


_bucket = _Bucket()
