"""What an operator should know of the server: its version, how its clock differs from ours, whether it has room."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from jobsup.store import workers
from jobsup.store.engine import Database

CONNECTIONS_PER_HOST = 2
"""Beside its workers' a host needs one for its scheduler, and one now and then for a start, a reload or a command."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A PostgreSQL server as seen from here."""

    version: str
    skew: timedelta
    """How far its clock is ahead of this host's."""
    connections_needed: int
    """By the workers that are alive, the hosts they run on, and what portals hold."""
    connections_left: int
    """What the server has for us: all it allows, less what is reserved or used by others."""
    connections_max: int
    is_pooled: bool
    """A proxy stands between, which lets no wake-up through."""
    is_read_only: bool
    """It answers and writes nothing: it is a standby, or was set so."""

    @property
    def lacks_connections(self) -> bool:
        return self.connections_needed > self.connections_left


def read(database: Database) -> ServerFacts | None:
    """Ask the server about itself; None for a SQLite file, which has none."""
    if database.is_sqlite:
        return None
    with database.read() as connection:
        version, allowed, reserved, portals, others, is_read_only = connection.execute(_FACTS).one()
    alive = workers.list_workers(database)
    return ServerFacts(
        version=version,
        skew=database.skew or timedelta(),
        connections_needed=len(alive) + CONNECTIONS_PER_HOST * len({row.node for row in alive}) + portals,
        connections_left=allowed - reserved - others,
        connections_max=allowed,
        is_pooled=database.backend.is_pooled,
        is_read_only=is_read_only,
    )


_FACTS = text(
    "SELECT current_setting('server_version'), CAST(current_setting('max_connections') AS integer), "
    "CAST(current_setting('superuser_reserved_connections') AS integer), "
    "(SELECT CAST(count(*) AS integer) FROM pg_stat_activity WHERE application_name = 'jobsup/portal'), "
    "(SELECT CAST(count(*) AS integer) FROM pg_stat_activity WHERE backend_type = 'client backend' "
    "AND coalesce(application_name, '') NOT LIKE 'jobsup/%'), "
    "pg_is_in_recovery() OR CAST(current_setting('default_transaction_read_only') AS boolean)"
)
