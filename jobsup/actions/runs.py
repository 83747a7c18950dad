"""What people do to runs: make one, follow one to its last attempt, cancel, retry, find one by name."""

from __future__ import annotations

import select
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from jobsup.actions.params import read_params
from jobsup.config.report import hint
from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import Status
from jobsup.store import dispatches, hosts, jobs, notifier, overview, slots
from jobsup.store.dispatches import Created
from jobsup.store.engine import Database
from jobsup.store.run_rows import RunRow

RECHECK_SECONDS = 1.0
"""How long a lost wake-up can hide the end of a run."""
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


def await_end(database: Database, dispatch_id: int) -> None:
    """Return when a run has ended."""
    listener = notifier.Listener(database, "follower")
    try:
        while not get(database, dispatch_id).status.is_terminal:
            select.select([listener], [], [], RECHECK_SECONDS)
            listener.drain()
    finally:
        listener.close()
