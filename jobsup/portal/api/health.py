"""For those who watch the watcher: whether this process answers, and whether the whole works. No details."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from jobsup.actions.health import LAG_MAX
from jobsup.errors import JobsupError
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.store import leases, overview
from jobsup.store.engine import Database


async def healthz(_call: Call) -> Response:
    """Answer: the portal lives."""
    return JSONResponse({"healthy": True})


async def readyz(call: Call) -> Response:
    """Answer 200 when the database answers, a scheduler leads and no tick has waited long; else 503."""

    def read(database: Database) -> tuple[bool, float]:
        leader = leases.current(database)
        leads = leader is not None and bool(leader.holder) and leader.until > database.now()
        return leads, overview.lag(database).total_seconds()

    try:
        has_leader, lag = await call.ask(read)
    except JobsupError:
        return JSONResponse({"ready": False, "database": False, "leader": False, "lag_seconds": None}, 503)
    is_ready = has_leader and lag <= LAG_MAX.total_seconds()
    told = {"ready": is_ready, "database": True, "leader": has_leader, "lag_seconds": round(lag, 3)}
    return JSONResponse(told, 200 if is_ready else 503)


ENTRIES = (
    Entry("GET", "/healthz", healthz, None, "Say that the portal lives.", name="healthz", needs_database=False),
    Entry("GET", "/readyz", readyz, None, "Say whether the schedule is kept.", name="readyz"),
)
