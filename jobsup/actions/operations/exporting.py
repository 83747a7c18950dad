"""Definitions as text that gives them back: TOML, or a crontab."""

from __future__ import annotations

from typing import Any

from jobsup.actions.operations.base import Desk, Given, Operation, flag, several
from jobsup.config.show import effective
from jobsup.errors import ConfigError, ConflictError, UsageError
from jobsup.model import JobSpec, Role
from jobsup.store import jobs, sets


def export_jobs(desk: Desk, given: Given) -> dict[str, Any]:
    """Return the text, what is said of it, and the tables that stand in a main file alone and were left out."""
    if given["shared"] and given["crontab"]:
        raise UsageError("a crontab has no calendars, blackouts or pools: leave shared out")
    names = dict.fromkeys(given["jobs"] or ())
    found = [jobs.get_job(desk.database, name) for name in names] or jobs.list_jobs(desk.database)
    shared = _shared(desk, {facts.set_name for facts in found})
    specs = [facts.spec for facts in found]
    if given["crontab"]:
        return {"text": _crontab(specs), "jobs": len(specs), "left_out": [], "warning": None}
    defaults, warning = _defaults(desk)
    text = _toml(specs, defaults, shared if given["shared"] else {})
    left_out = [] if given["shared"] else sorted(shared)
    return {"text": text, "jobs": len(specs), "left_out": left_out, "warning": warning}


def show_config(desk: Desk, _given: Given) -> dict[str, Any]:
    """Return every setting in force, and where it is from; secrets are masked."""
    config, keys = desk.config(), ("key", "value", "origin")
    return {"path": config.path, "settings": [dict(zip(keys, row, strict=True)) for row in effective(config)]}


def _shared(desk: Desk, set_names: set[str]) -> dict[str, Any]:
    """Return the tables that the jobs of these sets share. Raises ConflictError when they are of several sets."""
    from jobsup.importing.shared_tables import shared_tables

    with desk.database.read() as connection:
        found = {name: each for name, each in sets.shared(connection).items() if name in set_names}
    if len(found) > 1:
        raise ConflictError(f"the jobs are of the sets {', '.join(sorted(found))}: name those of one of them")
    return shared_tables(next(iter(found.values()))) if found else {}


def _defaults(desk: Desk) -> tuple[tuple[JobSpec, ...], str | None]:
    """Return what the configuration gives to jobs; nothing, and why, when it cannot be read."""
    try:
        return (desk.config().defaults,), None
    except ConfigError as error:
        return (), f"the configuration is invalid, so its [defaults] are not looked at: {error.problems[0]}"


def _toml(specs: list[JobSpec], defaults: tuple[JobSpec, ...], shared: dict[str, Any]) -> str:
    from jobsup.importing.tables import table_of
    from jobsup.importing.toml_text import document, table

    texts = [document(shared)] if shared else []
    return "\n".join([*texts, *(table(table_of(spec, defaults)) for spec in specs)])


def _crontab(specs: list[JobSpec]) -> str:
    from jobsup.config.local_zone import local_zone
    from jobsup.importing.crontab_lines import crontab

    try:
        zone = local_zone()
    except ValueError:
        zone = None
    return crontab(specs, zone)


EXPORT_JOBS = Operation(
    "exportJobs",
    "GET",
    "/export",
    export_jobs,
    "Print jobs as TOML or as a crontab, the values of their env included.",
    Role.ADMIN,
    "manage",
    query={
        "jobs": several("Only these jobs."),
        "crontab": flag("A crontab, with comments for what it cannot say."),
        "shared": flag("Also what jobs share: calendars, blackouts, pools."),
    },
)
SHOW_CONFIG = Operation(
    "showConfig",
    "GET",
    "/config",
    show_config,
    "Show the settings in force.",
    Role.ADMIN,
    "manage",
    asks_database=False,
)
OPERATIONS = (EXPORT_JOBS, SHOW_CONFIG)
