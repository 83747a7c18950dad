"""An instance far away, asked through the API of its portal."""

from __future__ import annotations

import base64
import json
import re
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from jobsup.cli.text import clean, say
from jobsup.clock import rfc3339
from jobsup.errors import ExitCode, JobsupError, UnreachableError, UsageError, error_of

if TYPE_CHECKING:
    from jobsup.actions.operations.base import Operation
    from jobsup.actions.output import Piece

API = "/api/v1"
ANSWER_SECONDS_MAX = 330.0
"""A reload may take so long; a portal that is gone is noticed sooner, by its connection."""
SILENCE_SECONDS_MAX = 45.0
"""A stream says something every 15 s; one that has been silent for so long is taken up anew."""
TRIES = 3
"""How often in a row a stream may end without a word before the portal counts as gone."""
ANSWER_BYTES_MAX = 256 << 20
LINE_BYTES_MAX = 1 << 20
DETAIL_CHARS_MAX = 2000
LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")

CODES = {400: 2, 401: 5, 403: 5, 404: 4, 405: 2, 409: 6, 413: 2, 421: 2, 422: 7}
"""What an answer means that is no document of ours: it came from a proxy, or something that is no portal."""


class RemoteGateway:
    """Implements `gateway.Gateway` over HTTP."""

    is_remote = True

    def __init__(self, url: str, token: str, on_line: Callable[[str], None] | None = None) -> None:
        self._root = _root(url)
        self._token = token
        self._on_line = on_line or (lambda _line: None)
        self._opener = build_opener(_NoRedirect)
        if not self._root.startswith("https:") and not LOOPBACK.fullmatch(urlsplit(self._root).hostname or ""):
            say(f"warning: {self._root} is plain http: whoever is on the way can read the token")

    def __enter__(self) -> RemoteGateway:
        return self

    def __exit__(self, *error: object) -> None:
        self._opener.close()

    def ask(self, operation: Operation, **given: Any) -> dict[str, Any]:
        """Send it; an operation with a key is sent again when its answer was lost, and done once all the same."""
        request = self._request(operation, given)
        try:
            answer = self._answer(request)
        except UnreachableError:
            if not operation.has_key:
                raise
            answer = self._answer(request)
        for line in answer.get("lines", ()):
            self._on_line(str(line))
        return answer

    def output(self, run_id: int, place: int = 0, *, follow: bool = False) -> Iterator[Piece]:
        from jobsup.actions.output import Piece

        for kind, told in self._events(run_id, place, follow=follow):
            if kind == "output":
                offset = int(told["offset"])
                yield Piece(base64.b64decode(told["data"]), int(told["stream"]), max(0, offset - place))
                place = offset + len(base64.b64decode(told["data"]))

    def wait(self, run_id: int) -> None:
        for _ in self._events(run_id, None, follow=True):
            pass

    def _events(self, run_id: int, place: int | None, *, follow: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the events of a run's stream up to its end, and take it up where it broke off."""
        failures = 0
        while True:
            try:
                query = {"follow": "true" if follow else "false", **({} if place is None else {"from": str(place)})}
                with self._open(f"/runs/{run_id}/stream?{urlencode(query)}", SILENCE_SECONDS_MAX) as response:
                    for kind, told in _parsed(response):
                        failures = 0
                        if kind == "end":
                            return
                        yield kind, told
                        if place is not None:
                            place = int(told["offset"]) + len(base64.b64decode(told["data"]))
            except UnreachableError:
                if failures >= TRIES:
                    raise
            failures += 1
            if failures > TRIES:
                raise UnreachableError(f"{self._root} breaks the stream of run {run_id} off again and again")

    def _request(self, operation: Operation, given: Mapping[str, Any]) -> Request:
        values = {name: _sent(value) for name, value in given.items() if value is not None}
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: quote(str(values.pop(part[1])), safe=""), operation.path)
        query = {name: _in_address(values.pop(name)) for name in operation.query if name in values}
        headers = {"Idempotency-Key": secrets.token_hex(16)} if operation.has_key else {}
        body = None
        if operation.method == "POST":
            body, headers["Content-Type"] = json.dumps(values).encode(), "application/json"
        where = f"{path}?{urlencode(query)}" if query else path
        return self._to(where, method=operation.method, body=body, headers=headers)

    def _to(
        self, where: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Request:
        sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", "Cache-Control": "no-cache"}
        sent |= headers or {}  # what is told is what is so now, whoever else asks
        return Request(f"{self._root}{API}{where}", data=body, headers=sent, method=method)  # noqa: S310  (checked)

    def _answer(self, request: Request) -> dict[str, Any]:
        with self._sent(request, ANSWER_SECONDS_MAX) as response:
            text = response.read(ANSWER_BYTES_MAX)
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict) or "schema" not in document:
            raise UnreachableError(f"what answers at {self._root} is no portal of jobsup")
        del document["schema"]
        return document

    @contextmanager
    def _open(self, where: str, timeout: float) -> Iterator[HTTPResponse]:
        with self._sent(self._to(where), timeout) as response:
            yield response

    @contextmanager
    def _sent(self, request: Request, timeout: float) -> Iterator[HTTPResponse]:
        """Send a request and lend its answer; every way of not getting one is an error with an exit code."""
        try:
            with self._opener.open(request, timeout=timeout) as response:
                yield response
        except HTTPError as error:
            raise self._refusal(error) from None
        except URLError as error:
            raise UnreachableError(f"{self._root}: {_why(error.reason)}") from None
        except (OSError, HTTPException) as error:
            raise UnreachableError(f"{self._root}: {_why(error)}") from None

    def _refusal(self, error: HTTPError) -> JobsupError:
        """Turn a problem document back into the error it was made of."""
        text = error.read(LINE_BYTES_MAX).decode(errors="replace")
        try:
            problem = json.loads(text)
            return error_of(int(problem["exit_code"]), str(problem["detail"]))
        except (ValueError, KeyError, TypeError):
            code = CODES.get(error.code, ExitCode.UNREACHABLE)
            said = (
                clean(text)[:DETAIL_CHARS_MAX].strip()
                if "html" not in (error.headers.get("Content-Type") or "")
                else ""
            )
            return error_of(code, f"{self._root} answers {error.code}{f': {said}' if said else ''}")


class _NoRedirect(HTTPRedirectHandler):
    """Follows nobody: what is sent on would hand the token on too."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _root(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--url {url!r}: write the portal's address, like https://jobs.example.org")
    if parts.username or parts.password:
        raise UsageError("--url: a portal takes no name and password in its address; it takes a token")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _sent(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value


def _in_address(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _parsed(response: HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read server-sent events as far as they come; what breaks off in the middle is left out."""
    kind, data = "output", ""
    while line := response.readline(LINE_BYTES_MAX):
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif not name and data:
            yield kind, json.loads(data)
            kind, data = "output", ""


def _why(reason: Any) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {reason.verify_message}"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return f"{reason.strerror.lower()}: is the portal running there?"
    return f"no proper answer ({reason or type(reason).__name__})"
