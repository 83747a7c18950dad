"""The application: every entry behind its gate, all of them behind the door."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from jobsup.errors import NotFoundError
from jobsup.portal import api, pages
from jobsup.portal.door import Door
from jobsup.portal.gate import Gate
from jobsup.portal.problems import is_for_program, problem
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
    routes = [
        Route(entry.path, Gate(site, entry), methods=[entry.method])
        for entry in sorted(entries() if ways is None else ways, key=_order)
    ]
    static = Route("/static/{name:path}", _static, methods=["GET"])
    return Door(Router([static, *routes], default=_nothing, redirect_slashes=False), site)


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


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    answer = problem(NotFoundError("there is no such way in")) if is_for_program(path) else None
    await (answer or PlainTextResponse("there is no such page\n", 404))(scope, receive, send)
