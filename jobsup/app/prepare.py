"""What a short-lived child does at start and reload: read the configuration, ready the database, synchronise.

Here, and in no process that stays, the validator and the migrations are loaded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from jobsup.clock import SystemClock, rfc3339
from jobsup.config.places import socket_path
from jobsup.config.report import told_together
from jobsup.config.settings import Config
from jobsup.config.urls import masked
from jobsup.errors import ConflictError, DatabaseUnavailableError
from jobsup.events import emit
from jobsup.model import On
from jobsup.runtime import docs, lazy

if TYPE_CHECKING:
    from jobsup.store.engine import Database
    from jobsup.store.jobs import Synced

T = TypeVar("T")

WAIT_STEP_SECONDS = 0.25
"""Between two tries at a database that does not answer yet."""
REBOOT = "@reboot"
"""The schedule, and who asks for its runs."""


@dataclass(frozen=True)
class Prepared:
    """A configuration that can be put into force."""

    config: Config
    is_first: bool
    """False: it replaces one that is in force."""
    content_hash: str = ""
    """Over all definitions: tells whether another host has put others into force since."""
    lines: tuple[str, ...] = ()
    """For people: what it changes, or, at the first start, what begins."""


def load_store() -> None:
    """Load the database's library into the process that forks `prepare` and `apply`: else each loads it for itself."""
    lazy.spare()
    from jobsup.store import jobs, notifier, schema  # noqa: F401  (for the loading)

    docs.forget("sqlalchemy")


def prepare(config_path: str, old: Prepared | None) -> Prepared:
    """Read the configuration and make the database ready for it; nothing is in force yet.

    Raises ConfigError with all problems, DatabaseError when the database cannot be used, DatabaseUnavailableError
    when it did not answer for `[database] wait`.
    """
    from jobsup.config.load import load
    from jobsup.store.jobs import content_hash

    logging.getLogger("alembic").setLevel(logging.WARNING)  # which plugins it has is nobody's business here
    config = load(config_path)
    for text in told_together(config.warnings):
        emit("config.warning", text.removeprefix("warning: "), level=logging.WARNING)
    if old is None or old.config.database.url == config.database.url:
        _ready_database(config)  # another database is made ready by the restart that a change needs
    lines = _beginning(config) if old is None else _changes(old.config, config)
    return Prepared(
        config, is_first=old is None, content_hash=content_hash(config.jobs, config.shared), lines=tuple(lines)
    )


def apply(prepared: Prepared) -> None:
    """Put the definitions into force and tell the schedulers; at the first start, also run what `@reboot` asks for."""
    from jobsup.store import jobs, notifier

    config = prepared.config
    with closing(_open(config)) as database:

        def synchronise() -> jobs.Synced:
            return jobs.sync(
                database,
                config.set,
                config.jobs,
                content_hash=prepared.content_hash,
                node=config.supervisor.node,
                path=config.path,
                shared=config.shared,
                priority_aging=config.scheduler.priority_aging,
            )

        synced = _wait_for(config, synchronise)
        notifier.wake(database, "scheduler")
        notifier.wake(database, "worker")  # what waited of a removed job is gone
        _tell(synced)
        if config.portal.enabled:
            _open_setup(database, config)
        if prepared.is_first:
            _run_reboot_jobs(database, config)


def _ready_database(config: Config) -> None:
    from jobsup.portal import opening
    from jobsup.store import schema, users

    with closing(_open(config)) as database:
        _wait_for(config, lambda: schema.ensure(database, config.database.migrate))
        if config.portal.enabled:
            opening.refuse_open_door(config, has_users=users.count(database) > 0)


def _open(config: Config) -> Database:
    from jobsup.store.engine import Database

    return Database.of(config.database, kind="prepare")


def _open_setup(database: Database, config: Config) -> None:
    """While nobody can sign in, leave a token for this database's set-up page where only this user reads it."""
    from jobsup.portal import opening
    from jobsup.store import users

    file = opening.setup_file(config.supervisor.runtime_dir)
    if users.count(database):
        file.unlink(missing_ok=True)
    elif not users.opens_setup(database, opening.read_setup_token(file)):
        users.open_setup(database, opening.write_setup_token(config.supervisor.runtime_dir))


def _wait_for(config: Config, work: Callable[[], T]) -> T:
    """Do `work`, and try again for `[database] wait` while the database does not answer; says once that it waits."""
    clock = SystemClock()
    give_up_at = clock.monotonic() + config.database.wait.total_seconds()
    pause = threading.Event()
    is_told = False
    while True:
        try:
            return work()
        except DatabaseUnavailableError as error:
            left = give_up_at - clock.monotonic()
            if left <= 0:
                raise
            if not is_told:
                emit("database.waiting", f"{error}; waiting up to {left:.0f} s for it", level=logging.WARNING)
            is_told = True
        pause.wait(WAIT_STEP_SECONDS)


def _beginning(config: Config) -> list[str]:
    """Tell a newcomer what begins: where things are, and what runs next."""
    lines = [
        f"database  {masked(config.database.url)}",
        f"socket    {socket_path(config.supervisor.runtime_dir)}",
        f"jobs      {len(config.jobs)} from {config.path}",
    ]
    following = _next_run(config)
    if following is not None:
        lines.append(f"next      {following[1]} at {rfc3339(following[0])}")
    return lines


def _next_run(config: Config) -> tuple[datetime, str] | None:
    from jobsup.schedule import upcoming

    now = SystemClock().now()
    enabled = (job for job in config.jobs if job.enabled)
    ticks = ((upcoming(job.schedule, now, 1, name=job.name), job.name) for job in enabled)
    return min(((found[0], name) for found, name in ticks if found), default=None)


def _changes(old: Config, new: Config) -> list[str]:
    from jobsup.config.diff import diff

    return [*diff(old, new).lines(), *told_together(new.warnings)]


def _tell(synced: Synced) -> None:
    counts = {"added": len(synced.added), "changed": len(synced.changed), "removed": len(synced.removed)}
    if any(counts.values()):
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        emit("jobs.synced", f"Jobs synchronised: {text}", **counts)


def _run_reboot_jobs(database: Database, config: Config) -> None:
    """Make the one run that each start of the supervisor owes an `@reboot` job; a paused one gets none."""
    from jobsup.store import dispatches

    for job in config.jobs:
        starts = any((each.cron or "").strip().lower() == REBOOT for each in (job.schedule, *job.schedule.also))
        if not job.enabled or not starts:
            continue
        try:
            # The start is this host's, and so is the run of a job that each host has.
            on = config.supervisor.node if job.on is On.EACH else ""
            made = dispatches.create_manual(database, job.name, params={}, requested_by=REBOOT, on=on)
        except ConflictError as error:
            emit("reboot.refused", f'Job "{job.name}" does not run at this start: {error}', level=logging.WARNING)
        else:
            emit("reboot.dispatched", f'Job "{job.name}" runs at this start as run {made.dispatch_id}', job=job.name)
