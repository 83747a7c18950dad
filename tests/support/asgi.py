"""A client of an ASGI application in this very process: no network, no server, one loop for all that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

ADDRESS = "testclient"
"""Where its requests come from."""


class Client:
    """Asks an application; an error that it does not answer for is raised here."""

    def __init__(self, app: Any, base_url: str, cookies: dict[str, str] | None = None) -> None:
        transport = httpx.ASGITransport(app=app, client=(ADDRESS, 50000))
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(
            transport=transport, base_url=base_url, cookies=cookies, follow_redirects=True, trust_env=False
        )

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        if isinstance(more.get("content"), Iterator):
            more["content"] = _pieces(more["content"])
        return self._runner.run(self._client.request(method, url, **more))

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self.request("GET", url, **more)

    def head(self, url: str, **more: Any) -> httpx.Response:
        return self.request("HEAD", url, **more)

    def post(self, url: str, **more: Any) -> httpx.Response:
        return self.request("POST", url, **more)

    def delete(self, url: str, **more: Any) -> httpx.Response:
        return self.request("DELETE", url, **more)

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


async def _pieces(given: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece
