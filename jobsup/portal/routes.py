"""The form of a route: every way in is one entry, with the least role that may take it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from jobsup.model import Role

if TYPE_CHECKING:
    from jobsup.portal.call import Call

Handler = Callable[["Call"], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One method of one path, and who may use it."""

    method: str
    """`GET` (which also answers HEAD) or `POST`, `DELETE`."""
    path: str
    """As Starlette writes it: `/jobs/{name}`, `/runs/{id:int}`."""
    handler: Handler
    role: Role | None
    """The least role; None: anybody, also without signing in."""
    summary: str = ""
    """For the API's document."""
    scope: str = ""
    """What a bearer token must be allowed: `read`, `run` ...; empty: no token opens it, only a session."""
