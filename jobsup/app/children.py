"""From a configuration to the children that it asks for, with what of it each kind depends on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobsup.app import containment
from jobsup.app.prepare import Prepared
from jobsup.config.settings import Config, DatabaseSettings
from jobsup.config.urls import masked
from jobsup.portal import opening
from jobsup.runtime import lazy, procs
from jobsup.runtime.cgroups import Groups
from jobsup.runtime.link import Link
from jobsup.supervisor.spec import ChildSpec, Plan

SCHEDULER_DRAIN_SECONDS = 5.0
"""A scheduler has nothing to finish: it resigns and leaves."""
PORTAL_DRAIN_SECONDS = 8.0
"""A portal answers what it was asked, and ends its streams."""


def compose(prepared: Prepared, instance: str, now: datetime, groups: Groups | None = None) -> Plan:
    """Make the plan of one generation, which begins now: its definitions are put into force after this."""
    config = prepared.config
    return Plan(
        specs=(
            _scheduler(config, instance, now),
            _worker(config, instance, groups),
            *((_portal(config),) if has_portal(config) else ()),
        ),
        config=config.path,
        lines=prepared.lines,
        facts={
            "database": _database(config.database),
            "set": config.set,
            "node": config.supervisor.node,
            "jobs": len(config.jobs),
            "content_hash": prepared.content_hash,
            "containment": containment.words(groups),
            "free_space_min": config.database.free_space_min,
        },
    )


def _database(settings: DatabaseSettings) -> dict[str, Any]:
    """Return what finds the database without the file; a password is nobody's business, so then it cannot."""
    url = settings.url if masked(settings.url) == settings.url else ""
    return {"url": url, "schema": settings.schema, "timeout_seconds": settings.timeout.total_seconds()}


def has_portal(config: Config) -> bool:
    """Say whether a portal is wanted and can be had; one that lacks its libraries is left out, and told."""
    return config.portal.enabled and not opening.missing_libraries()


def preload(config: Config) -> None:
    """Load what the children need before they are forked, so that they share it; leaves the database alone."""
    lazy.spare()
    from jobsup.scheduler import service as _scheduler_service  # noqa: F401  (for the loading)
    from jobsup.store import preload as store_preload
    from jobsup.worker import service as _worker_service  # noqa: F401  (for the loading)

    store_preload.load_driver(config.database.url)
    store_preload.rehearse(config.database.url)
    procs.boot_id()  # each child asks; what is read once is kept


def _scheduler(config: Config, instance: str, up_since: datetime) -> ChildSpec:
    def run(link: Link) -> int:
        from jobsup.scheduler import service

        return service.run(_lean(config), link, instance=instance, up_since=up_since)

    settings = replace(config.scheduler, max_retry_attempts=0)  # part of each job's definition by now
    return ChildSpec("scheduler", 1, run, drain_timeout=SCHEDULER_DRAIN_SECONDS, **_common(config, settings))


def _worker(config: Config, instance: str, groups: Groups | None) -> ChildSpec:
    def run(link: Link) -> int:
        from jobsup.worker import service

        return service.run(_lean(config), link, instance=instance, groups=groups)

    drain = config.supervisor.drain_timeout.total_seconds()
    # The count scales the pool and changes no worker; the time-out is part of each job's definition by now.
    settings = replace(config.worker, count=0, job_timeout=None)
    return ChildSpec(
        "worker", config.worker.count, run, drain_timeout=drain, is_scalable=True, **_common(config, settings)
    )


def _portal(config: Config) -> ChildSpec:
    def run(link: Link) -> int:
        lazy.let_openssl_in()  # passwords
        from jobsup.portal import server  # here and nowhere else: the web stays out of the supervisor's memory

        return server.run(replace(config, jobs=()), link)

    # Nothing that jobs need depends on it, so the instance is as well without it.
    common = _common(config, (config.portal, config.path, config.set, config.defaults, config.shared))
    return ChildSpec("portal", 1, run, drain_timeout=PORTAL_DRAIN_SECONDS, is_degrading=False, **common)


def _common(config: Config, settings: Any) -> dict[str, Any]:
    """Return what every kind has: its deadlines, and a fingerprint of the settings it depends on."""
    supervisor = config.supervisor
    database = replace(config.database, migrate=True)  # done before there are children
    return {
        "fingerprint": _fingerprint(database, supervisor.node, supervisor.watchdog, config.logging, settings),
        "boot_timeout": supervisor.boot_timeout.total_seconds(),
        "watchdog": supervisor.watchdog.total_seconds(),
    }


def _lean(config: Config) -> Config:
    """Leave out what only the database's copy counts of: a child lives long, and a reload changes jobs."""
    return replace(config, jobs=(), origins={}, warnings=())


def _fingerprint(*settings: Any) -> str:
    """Return what differs exactly when a child of these settings has to be replaced; settings are frozen values."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()
