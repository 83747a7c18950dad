"""The form of a route: every way in is one entry, with the least role that may take it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    name: str = ""
    """For the API: its `operationId`."""
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For the API: what may stand after the `?`, each with its schema. Nothing else is taken."""
    body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For the API: the keys of the JSON object that is sent, each with its schema. No other key is taken."""
    status: int = 200
    """For the API's document: what a success answers with."""
    media: str = "application/json"
    """For the API's document: in what form."""
    needs_database: bool = True
    """False: who asks is not looked up, and it is answered also when so much is asked that others are not."""
    is_stream: bool = False
    """Whether its answer comes bit by bit: nobody else can be given it, and to open it is not refused in a rush."""
    has_key: bool = False
    """For the API: whether it takes an idempotency key."""
