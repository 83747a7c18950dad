"""The first page: is all well?"""

from __future__ import annotations

from starlette.responses import Response

from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.overview import overview_of
from jobsup.portal.views.words import REASONS, command


async def overview(call: Call) -> Response:
    """Show what fails, what is late, what runs and what comes next."""
    found = await call.look(lambda database: overview_of(database, call.site.tallies))
    return call.page("overview.html", found=found, reasons=REASONS, command=command)


ENTRIES = (Entry("GET", "/", overview, Role.VIEWER),)
