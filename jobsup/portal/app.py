"""The application: every entry behind its gate, all of them behind the door."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from jobsup.errors import NotFoundError, UsageError
from jobsup.portal import api, pages
from jobsup.portal.again import Again
from jobsup.portal.door import Door
from jobsup.portal.gate import Gate
from jobsup.portal.refusals import refusal
from jobsup.portal.render import STATIC
from jobsup.portal.routes import Entry
from jobsup.portal.site import Site

KEPT_FOR_GOOD = "public, max-age=31536000, immutable"


def entries() -> list[Entry]:
    """Return every way in, of all modules of `pages/` and of the API; two for the same thing are an error."""
    found = [*_of_package(pages), *_of_package(api)]
    ways = [(entry.method, entry.path) for entry in found]
    doubles = {way for way in ways if ways.count(way) > 1}
    if doubles:
        raise ValueError(f"more than one entry for {sorted(doubles)}")
    return found


def create(site: Site, ways: Sequence[Entry] | None = None) -> ASGIApp:
    """Put the application together."""
    known = sorted(entries() if ways is None else ways, key=_order)
    methods: dict[str, set[str]] = {}
    for entry in known:
        methods.setdefault(entry.path, set()).update(
            {entry.method, "HEAD"} if entry.method == "GET" else {entry.method}
        )
    routes = [_Way(site, Gate(site, entry), entry.method, entry.path, methods[entry.path]) for entry in known]
    static = _Way(site, _static, "GET", "/static/{name:path}", _answered("GET"))
    return Door(Again(_Ways(site, [static, *routes]), site), site)


class _Ways(Router):
    """Finds an address without open parts in a table, and all others one after the other.

    It comes first there as well: a part that is open stands behind every part that is not.
    """

    def __init__(self, site: Site, ways: Sequence[_Way]) -> None:
        super().__init__(ways, default=_nothing(site), redirect_slashes=False)
        root, plain = site.settings.root_path, [way for way in ways if "{" not in way.path]
        self._plain = {(method, root + way.path): way for way in plain for method in way.methods or ()}

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._plain.get((scope["method"], scope["path"]))
        if way is None:
            await super().app(scope, receive, send)
            return
        scope["path_params"] = {}
        await way.handle(scope, receive, send)


class _Way(Route):
    """One method of one path, which answers for a method that the path does not have."""

    def __init__(self, site: Site, app: Any, method: str, path: str, allowed: set[str]) -> None:
        super().__init__(path, app, methods=[method])
        self._site = site
        self._allowed = allowed

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods is None or scope["method"] in self.methods:
            await super().handle(scope, receive, send)
            return
        told = UsageError(f"{scope['method']} is not possible here: {', '.join(sorted(self._allowed))}")
        answer = refusal(self._site, Request(scope), told, 405)
        answer.headers["Allow"] = ", ".join(sorted(self._allowed))
        await answer(scope, receive, send)


def _answered(method: str) -> set[str]:
    return {method, "HEAD"} if method == "GET" else {method}


def _order(entry: Entry) -> tuple[str, ...]:
    """Put `/jobs/new` before `/jobs/{name}`: a part that is open comes after every part that is not."""
    return tuple("\x7f" + part if part.startswith("{") else part for part in entry.path.split("/"))


def _of_package(package: object) -> list[Entry]:
    paths, name = package.__path__, package.__name__  # type: ignore[attr-defined]  # a package
    modules = (import_module(f"{name}.{each.name}") for each in iter_modules(paths))
    return [entry for module in modules for entry in getattr(module, "ENTRIES", ())]


async def _static(request: Request) -> Response:
    """Send one of our own files; a name is looked up among those there are, and is never a path into the disk."""
    wanted = request.path_params["name"]
    file = next(
        (each for each in STATIC.rglob("*") if each.is_file() and str(each.relative_to(STATIC)) == wanted), None
    )
    if file is None:
        return PlainTextResponse("not found\n", 404)
    return FileResponse(file, headers={"Cache-Control": KEPT_FOR_GOOD if request.url.query else "no-cache"})


def _nothing(site: Site) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        error = NotFoundError("there is nothing at this address")
        await refusal(site, Request(scope), error, 404)(scope, receive, send)

    return answer
