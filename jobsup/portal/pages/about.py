"""What runs here: the smallest page there is."""

from __future__ import annotations

from starlette.responses import Response

from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.store import overview


async def about(call: Call) -> Response:
    """Show the versions, and what the database says in one line."""
    found = await call.ask(overview.summary)
    return call.page("about.html", summary=found)


ENTRIES = (Entry("GET", "/about", about, Role.VIEWER),)
