"""Between the door and the routes: in a crowd, who asks the same gets the same at once (`repeats` says who and when).

Of a thousand requests a second nearly all end here, for the price of a look into a table.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jobsup.portal.door import SAFE_METHODS
from jobsup.portal.limits import NotNowError, pace
from jobsup.portal.problems import status_of
from jobsup.portal.refusals import refusal
from jobsup.portal.repeats import key_of
from jobsup.portal.site import Site

KEPT_HEADERS = ("etag", "cache-control", "vary")
"""What a 304 says of the page it stands for."""


class Again:
    """Wraps the routes."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._known(scope) if scope["method"] in SAFE_METHODS else None
        await (self._app if answer is None else answer)(scope, receive, send)

    async def _known(self, scope: Scope) -> Response | None:
        site = self._site
        if site.handles.are_crowded:
            site.repeats.crowd()
        elif not site.repeats.are_given:
            return None
        headers = Headers(scope=scope)
        known = await site.repeats.find(key_of(scope, headers))
        if known is None:
            return None
        try:
            pace(site.tokens, known.token)
        except NotNowError as error:
            return refusal(site, Request(scope), error, status_of(error))
        return unless_known(headers, known.response)


def unless_known(headers: Headers, response: Response) -> Response:
    """Return 304 in place of a page that the browser has already."""
    tag = response.headers.get("etag", "")
    if response.status_code != 200 or not tag or tag not in headers.get("if-none-match", ""):
        return response
    return Response(status_code=304, headers={name: response.headers[name] for name in KEPT_HEADERS})
