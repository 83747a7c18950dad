"""Errors as documents for programs: `application/problem+json`, with the types of the exit codes."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, PlainTextResponse, Response

from jobsup.errors import ExitCode, JobsupError, UsageError
from jobsup.portal.limits import NotNowError, TooOftenError

STATUS = {
    ExitCode.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ExitCode.USAGE: HTTPStatus.BAD_REQUEST,
    ExitCode.UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ExitCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ExitCode.DENIED: HTTPStatus.FORBIDDEN,
    ExitCode.CONFLICT: HTTPStatus.CONFLICT,
    ExitCode.CONFIG: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""What each exit code of a command is over HTTP."""

TITLES = {
    ExitCode.FAILED: "Failed",
    ExitCode.USAGE: "Not understood",
    ExitCode.UNREACHABLE: "Not reachable",
    ExitCode.NOT_FOUND: "Not found",
    ExitCode.DENIED: "Not allowed",
    ExitCode.CONFLICT: "Conflict",
    ExitCode.CONFIG: "Invalid configuration",
}


class MediaTypeError(UsageError):
    """What was sent is in a form that nobody reads here."""


def status_of(error: JobsupError) -> int:
    if isinstance(error, TooOftenError):
        return int(HTTPStatus.TOO_MANY_REQUESTS)
    if isinstance(error, MediaTypeError):
        return int(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    return int(STATUS.get(error.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR))


def title_of(error: JobsupError) -> str:
    return TITLES.get(error.exit_code, "Failed")


def problem(error: JobsupError, status: int | None = None) -> Response:
    """Return the document of an error; its `exit_code` is what a command would end with."""
    code = error.exit_code
    headers = {"Retry-After": str(error.seconds)} if isinstance(error, NotNowError) else {}
    return JSONResponse(
        {
            "type": f"urn:jobsup:problem:{code.name.lower().replace('_', '-')}",
            "title": title_of(error),
            "status": status or status_of(error),
            "detail": str(error),
            "exit_code": int(code),
        },
        status or status_of(error),
        headers,
        media_type="application/problem+json",
    )


def line(error: JobsupError, status: int | None = None) -> Response:
    """Return an error as one line of text: for a person, where a page costs too much or tells too much."""
    headers = {"Retry-After": str(error.seconds)} if isinstance(error, NotNowError) else {}
    return PlainTextResponse(f"{error}\n", status or status_of(error), headers)


def is_for_program(path: str) -> bool:
    """Say whether who asks for a path (below our root) wants documents instead of pages."""
    return path.startswith(("/api/", "/hook/"))
