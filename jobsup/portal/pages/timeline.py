"""Runs gone by and to come, as a drawing."""

from __future__ import annotations

from starlette.responses import Response

from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.timeline import BAR_HEIGHT, HEAD_HEIGHT, ROW_HEIGHT, SPAN_DEFAULT, SPANS, WIDTH, timeline_of

TEXT_CHARS_MAX = 64


async def timeline(call: Call) -> Response:
    """Draw the runs around now."""
    span = call.query.get("span", SPAN_DEFAULT)
    span = span if span in SPANS else SPAN_DEFAULT
    text = call.query.get("q", "").strip()[:TEXT_CHARS_MAX]
    found = await call.ask(lambda database: timeline_of(database, span, text))
    return call.page(
        "timeline.html",
        found=found,
        span=span,
        spans=tuple(SPANS),
        text=text,
        width=WIDTH,
        bar_height=BAR_HEIGHT,
        head_height=HEAD_HEIGHT,
        row_height=ROW_HEIGHT,
    )


ENTRIES = (Entry("GET", "/timeline", timeline, Role.VIEWER),)
