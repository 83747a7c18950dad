"""What the jobs of each definition set share: its calendars, blackouts and pools, as last synchronised."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, insert, select

from jobsup.config.document import setspec_from_dict, setspec_to_dict
from jobsup.model import SetSpec
from jobsup.store.direct import Direct
from jobsup.store.ranks import pool_key
from jobsup.store.rows import JobPool, JobSet
from jobsup.store.statements import Statement

__all__ = ["document", "places", "pool_key", "shared", "write_pools"]

SETS_REMEMBERED_MAX = 64


def shared(connection: Connection) -> dict[str, SetSpec]:
    """Return what each set's jobs share, by the set's name; sets that share nothing are left out."""
    return shared_in(Direct.of(connection))


def shared_in(direct: Direct) -> dict[str, SetSpec]:
    """Return the same in a transaction on the driver."""
    return {name: _read(text) for name, text in direct.fetch(_SHARED, {})}


_SHARED = Statement(lambda _: select(JobSet.name, cast(JobSet.shared, Text)).where(JobSet.shared.is_not(None)))


def places(connection: Connection) -> dict[str, int]:
    """Return the places of each pool, by its set and name."""
    rows = connection.execute(select(JobPool.key, JobPool.places).order_by(JobPool.key))
    return {row.key: row.places for row in rows}


def document(spec: SetSpec) -> dict[str, Any] | None:
    """Return what a set's row holds of it."""
    return None if spec == SetSpec() else setspec_to_dict(spec)


def write_pools(connection: Connection, set_name: str, spec: SetSpec) -> None:
    """Make the set's pools those of its definition; what waits for one that is gone waits no longer."""
    rows = [
        {"key": pool_key(set_name, pool.name), "set_name": set_name, "name": pool.name, "places": pool.places}
        for pool in spec.pools
    ]
    stored = connection.execute(select(JobPool.__table__).where(JobPool.set_name == set_name)).mappings()
    if [dict(row) for row in stored] == rows:
        return
    connection.execute(delete(JobPool).where(JobPool.set_name == set_name))
    if rows:
        connection.execute(insert(JobPool), rows)


@lru_cache(maxsize=SETS_REMEMBERED_MAX)
def _read(text: str) -> SetSpec:
    return setspec_from_dict(json.loads(text))
