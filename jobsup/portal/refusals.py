"""What is answered when a request does not get as far as a handler: a document, a page, or a line."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from jobsup.errors import JobsupError
from jobsup.portal.call import Call
from jobsup.portal.problems import is_for_program, line, problem
from jobsup.portal.site import Site

BRIEF = (HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""To whoever calls us by a wrong name we show no page of ours, and to whoever asks too often none that costs."""


def refusal(site: Site, request: Request, error: JobsupError, status: int) -> Response:
    """Answer a program with a document, and a person with a page, or a line where that costs or tells too much."""
    if is_for_program(request.url.path.removeprefix(site.settings.root_path)):
        return problem(error, status)
    if status in BRIEF:
        return line(error, status)
    return Call(site, request, None).page("error.html", status=status, title=HTTPStatus(status).phrase, text=str(error))
