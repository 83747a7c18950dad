"""The outer check, of every request whatever its path: Host, origin, rate, size; and the headers of every answer."""

from __future__ import annotations

import json
import logging
import secrets
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobsup.errors import DeniedError, JobsupError, UsageError
from jobsup.events import emit
from jobsup.portal.limits import TooOftenError
from jobsup.portal.refusals import refusal
from jobsup.portal.site import Site

BODY_BYTES_MAX = 1 << 20
SAFE_METHODS = frozenset({"GET", "HEAD"})
METHODS = SAFE_METHODS | {"POST", "DELETE"}
OWN_SITES = ("same-origin", "none")
"""`Sec-Fetch-Site` of a page of ours, and of a person who typed the address."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say something else."""
HSTS = "max-age=31536000"


class BodyTooLargeError(Exception):
    """More was sent than any form or document of ours takes; nobody but the door answers for it."""


class Door:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site
        worn = {**HEADERS, **({"Strict-Transport-Security": HSTS} if site.is_https else {})}
        self._worn = [(name.lower().encode(), value.encode()) for name, value in worn.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no lifespan, no web sockets
        self._place(scope)
        begun = False

        async def send_dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._dress(message["headers"])
            await send(message)

        refused = self._refuse(scope, Headers(scope=scope))
        if refused is not None:
            await refused(scope, receive, send_dressed)
            return
        try:
            await self._app(scope, _bounded(receive), send_dressed)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:  # the edge: told with a number that the log has too
            if begun:
                raise
            await self._answer(Request(scope), error)(scope, receive, send_dressed)

    def _place(self, scope: Scope) -> None:
        """Put the path under the root that the outside sees, whether the proxy took that away or left it."""
        root = scope["root_path"] = self._site.settings.root_path
        if not scope["path"].startswith(f"{root}/"):
            scope["path"] = root + scope["path"]

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the refusal of a request that goes no further."""
        method = scope["method"]
        if method not in METHODS:
            answer = refusal(self._site, Request(scope), UsageError(f"{method} is not possible here"), 405)
            answer.headers["Allow"] = ", ".join(sorted(METHODS))
            return answer
        if _host_name(headers.get("host", "")) not in self._site.hosts:
            text = "this portal does not go by that name: add it to [portal] allowed_hosts in jobsup.toml"
            return refusal(self._site, Request(scope), UsageError(text), 421)
        wait = self._site.buckets.take(scope["client"][0] if scope.get("client") else "")
        if wait:
            return refusal(self._site, Request(scope), TooOftenError("too many requests", wait), 429)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES_MAX:
            text = f"a request has at most {BODY_BYTES_MAX} bytes"
            answer = refusal(self._site, Request(scope), UsageError(text), 413)
            answer.headers["Connection"] = "close"
            return answer
        if method not in SAFE_METHODS and not _is_own(headers):
            return refusal(self._site, Request(scope), DeniedError("this request comes from another site"), 403)
        return None

    def _answer(self, request: Request, error: Exception) -> Response:
        """Answer for what no handler foresaw: with a number that the log has too."""
        if isinstance(error, BodyTooLargeError):
            answer = refusal(self._site, request, UsageError(str(error)), 413)
            answer.headers["Connection"] = "close"
            return answer
        if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
            return refusal(self._site, request, UsageError(f"the request cannot be read: {error}"), 400)
        number = secrets.token_hex(4)
        text = "".join(traceback.format_exception(error)).rstrip()
        emit("portal.error", f"Request {number}, {request.method} {request.url.path}: {text}", level=logging.ERROR)
        told = f"something went wrong: error {number} in the portal's log says what"
        return refusal(self._site, request, JobsupError(told), 500)

    def _dress(self, headers: list[tuple[bytes, bytes]]) -> None:
        named = {name for name, _ in headers}
        headers += [each for each in self._worn if each[0] not in named]


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of an IPv6 address."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_own(headers: Headers) -> bool:
    """Say whether a request that changes something comes from a page of ours, or from no browser at all.

    A bearer token is not sent by a browser on its own, so it needs no origin; a cookie is, so it needs one.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in OWN_SITES:
        return False
    if origin is not None:
        return origin != "null" and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return site is not None or "cookie" not in headers


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def take() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES_MAX:
            raise BodyTooLargeError(f"a request has at most {BODY_BYTES_MAX} bytes")
        return message

    return take
