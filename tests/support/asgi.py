"""A client of an ASGI application in this very process: no network, no server, one loop for all that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any

import httpx

ADDRESS = "testclient"
"""Where its requests come from."""


class Client:
    """Asks an application; an error that it does not answer for is raised here."""

    def __init__(self, app: Any, base_url: str, cookies: dict[str, str] | None = None) -> None:
        self._runner = asyncio.Runner()
        self._client = httpx.Client(
            transport=_Transport(app, self._runner.get_loop()),
            base_url=base_url,
            cookies=cookies,
            follow_redirects=True,
            trust_env=False,
        )

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        return self._client.request(method, url, **more)

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self.request("GET", url, **more)

    def head(self, url: str, **more: Any) -> httpx.Response:
        return self.request("HEAD", url, **more)

    def post(self, url: str, **more: Any) -> httpx.Response:
        return self.request("POST", url, **more)

    def delete(self, url: str, **more: Any) -> httpx.Response:
        return self.request("DELETE", url, **more)

    def close(self) -> None:
        self._client.close()
        self._runner.close()


class _Transport(httpx.BaseTransport):
    """Turns a request into one call of the application.

    Not httpx's own: thousands of requests are sent, and that one looks for a missing library on every one of them.
    """

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        exchange = _Exchange(request.stream)
        self._loop.run_until_complete(self._app(_scope(request), exchange.receive, exchange.send))
        assert exchange.ended.is_set(), "the application did not answer to the end"
        body = b"" if request.method == "HEAD" else b"".join(exchange.parts)
        return httpx.Response(exchange.status, headers=exchange.headers, stream=httpx.ByteStream(body))


class _Exchange:
    """What goes between the client and the application over one request."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = iter(body)
        self._is_sent = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.ended = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._is_sent:
            await self.ended.wait()
            return {"type": "http.disconnect"}
        piece = next(self._body, None)
        self._is_sent = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": not self._is_sent}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        assert not self.ended.is_set()
        if message["type"] == "http.response.start":
            assert not self.status
            self.status, self.headers = message["status"], message.get("headers", [])
            return
        self.parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            self.ended.set()


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": (ADDRESS, 50000),
        "root_path": "",
    }
