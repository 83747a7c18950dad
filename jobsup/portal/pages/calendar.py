"""Days: a year at a glance, and a month in figures."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views import calendar as views
from jobsup.portal.views.runs import NAME_CHARS_MAX
from jobsup.portal.views.words import command


async def calendar(call: Call) -> Response:
    """Show a year and a month of it, of one job or of all."""
    today = call.site.clock.now().date()
    year = views.read_year(call.query.get("year", "") or call.query.get("month", "")[:4], today)
    month = views.read_month(call.query.get("month", ""), year, today)
    job = call.query.get("job", "").strip()[:NAME_CHARS_MAX]
    tallies = call.site.tallies
    found = await call.ask(lambda database: views.year_of(database, tallies, year, job))
    sheet = await call.ask(lambda database: views.month_of(database, tallies, month, job))

    def address(**words: object) -> str:
        said = {"job": job, **words}
        return f"/calendar?{urlencode({key: value for key, value in said.items() if value})}"

    return call.page(
        "calendar.html", found=found, month=sheet, today=today, address=address, command=command, draw_at=views
    )


ENTRIES = (Entry("GET", "/calendar", calendar, Role.VIEWER),)
