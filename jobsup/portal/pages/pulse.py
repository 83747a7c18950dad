"""Whether ticks are dispatched, in a word: for the head of every page, which asks for it now and then."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from jobsup.actions.health import LAG_MAX
from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.store import leases, overview
from jobsup.store.engine import Database


async def pulse(call: Call) -> Response:
    """Say who leads, and whether a tick waits for it."""

    def read(database: Database) -> tuple[str, timedelta]:
        held = leases.current(database)
        is_held = held is not None and bool(held.holder) and held.until > database.now()
        return held.node if held is not None and is_held else "", overview.lag(database)

    node, lag = await call.look(read)
    return call.page("pulse.html", node=node, lag=lag, is_late=lag > LAG_MAX)


ENTRIES = (Entry("GET", "/pulse", pulse, Role.VIEWER),)
