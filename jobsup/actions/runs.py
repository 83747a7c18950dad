"""What people do to runs: make one, follow one to its last attempt, cancel, retry, find one by name."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from jobsup.actions.output import OutputReader, Piece
from jobsup.actions.params import read_params
from jobsup.config.report import hint
from jobsup.errors import ConflictError, ExitCode, NotFoundError
from jobsup.model import Status
from jobsup.store import dispatches, hosts, jobs, notifier, overview, slots
from jobsup.store.dispatches import Created
from jobsup.store.engine import Database
from jobsup.store.overview import RunRow

RECHECK_SECONDS = 1.0
"""How long a lost wake-up can hide the end of a run."""
FOLLOW_RECHECK_SECONDS = 0.25
"""The same for output, which may come without one."""

SIGNAL_BASE = 128
RUN_ID_MAX = (1 << 63) - 1
"""What the database's numbers reach to."""


def run(
    database: Database,
    job_name: str,
    given: Mapping[str, str],
    *,
    by: str,
    at: datetime | None = None,
    force: bool = False,
    on: str = "",
) -> Created:
    """Make a run of a job with parameters as text; UsageError holds everything that is wrong with them.

    `on` is the host it has to run on. Raises NotFoundError for one that no worker has ever been on.
    """
    facts = jobs.get_job(database, job_name)
    params = read_params(facts.spec, given)
    if on and on not in (known := hosts.known(database)):
        raise NotFoundError(f"no worker has been on a host {on!r}{hint(on, known)}: see `jobsup workers --all`")
    return dispatches.create_manual(database, job_name, params=params, requested_by=by, at=at, force=force, on=on)


def get(database: Database, dispatch_id: int) -> RunRow:
    """Return one run; NotFoundError when there is none of that number."""
    found = overview.runs(database, ids=[dispatch_id]) if dispatch_id <= RUN_ID_MAX else []
    if not found:
        raise NotFoundError(f"no run {dispatch_id}: see `jobsup runs`")
    return found[0]


def cancel(database: Database, dispatch_id: int, by: str) -> Status:
    """End a run; the error for one that has ended already names the attempt that has not."""
    try:
        return dispatches.cancel(database, dispatch_id, by)
    except ConflictError as error:
        latest, status = dispatches.latest_attempt(database, dispatch_id)
        if status.is_terminal:
            raise
        raise ConflictError(f"{error}; its retry, run {latest}, is {status}: cancel that") from None


def retry(database: Database, dispatch_id: int, by: str) -> int:
    """Make a new attempt at what an ended run was for; returns its id."""
    return dispatches.retry(database, dispatch_id, by)


def find(database: Database, target: str, *, to_follow: bool) -> int:
    """Return the run that a run id or a job's name means: the job's last one that has, or will have, output."""
    if is_run_id(target):
        with suppress(NotFoundError):
            return get(database, int(target)).id
    try:
        facts = jobs.get_job(database, target)
    except NotFoundError:
        if is_run_id(target):
            raise NotFoundError(f"no run {target}: see `jobsup runs`") from None
        raise
    if to_follow:
        found = slots.latest_to_follow(database, facts.job_id)
    else:
        found = slots.latest(database, facts.job_id, started=True) or slots.latest(database, facts.job_id)
    if found is None:
        raise NotFoundError(f"job {target!r} has not run yet: `jobsup next {target}` says when, `jobsup run` runs it")
    return found


def is_run_id(text: str) -> bool:
    """Say whether a word can be the number of a run."""
    return text.isascii() and text.isdigit() and len(text) <= len(str(RUN_ID_MAX))


def wait(
    database: Database,
    dispatch_id: int,
    *,
    reader: OutputReader | None = None,
    on_output: Callable[[Piece], None] | None = None,
    on_attempt: Callable[[RunRow], None] | None = None,
) -> RunRow:
    """Return the last attempt of a run when it has ended, whatever number of retries that takes.

    Output goes to `on_output` as it comes, from where `reader` stands in that of the first attempt; `on_attempt` is
    told each attempt that has ended, and each that follows.
    """
    listener = notifier.Listener(database, "follower")
    try:
        while True:
            _wait_for_end(listener, reader or OutputReader(database, dispatch_id), on_output)
            ended = get(database, dispatch_id)
            following = _next_attempt(database, dispatch_id)
            if on_attempt is not None:
                on_attempt(ended)
            if following is None:
                return ended
            dispatch_id, reader = following, None
            if on_attempt is not None:
                on_attempt(get(database, dispatch_id))
    finally:
        listener.close()


def exit_code(run: RunRow) -> int:
    """Return the code `run --wait` ends with: the job's own, 128 + its signal, or one that says what became of it."""
    match run.status:
        case Status.TIMEOUT:
            return ExitCode.TIMEOUT
        case Status.CANCELLED:
            return ExitCode.CANCELLED
        case Status.SKIPPED:
            return ExitCode.CONFLICT
        case Status.COMPLETED:
            return run.exit_code or ExitCode.OK
    if run.signal is not None:
        return SIGNAL_BASE + run.signal
    return run.exit_code or ExitCode.FAILED


def _wait_for_end(listener: notifier.Listener, reader: OutputReader, on_output: Callable[[Piece], None] | None) -> None:
    pause = RECHECK_SECONDS if on_output is None else FOLLOW_RECHECK_SECONDS
    while True:
        for piece in reader.read():
            if on_output is not None:
                on_output(piece)
        if reader.has_ended:
            return
        select.select([listener], [], [], pause)
        listener.drain()


def _next_attempt(database: Database, dispatch_id: int) -> int | None:
    chain = slots.attempts(database, dispatch_id)
    later = chain[chain.index(dispatch_id) + 1 :]
    return later[0] if later else None
