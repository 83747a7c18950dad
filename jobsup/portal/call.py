"""One request in the hands of a handler: who asks, the database, and the ways to answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobsup.actions.standings import Standing
from jobsup.errors import JobsupError, UsageError
from jobsup.model import Role
from jobsup.store import audit
from jobsup.store.engine import Database

if TYPE_CHECKING:
    from jobsup.portal.site import Site

T = TypeVar("T")

FLASH_COOKIE = "jobsup_flash"
FLASH_CHARS_MAX = 500
FLASH_SECONDS = 30
THEME_COOKIE = "jobsup_theme"
THEMES = ("light", "dark")
FIELDS_MAX = 2000
NAME_CHARS_MAX = 255
DENIED = "access.deny"
"""The verb of what somebody wanted to do whose role or scopes do not allow it."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks."""

    name: str
    role: Role
    origin: str
    """`portal`, `api` or `hook`: the way in, for the audit."""
    secret: str = ""
    """The session's cookie; empty for a bearer token."""
    user_id: int | None = None
    scopes: frozenset[str] = frozenset()
    job: str | None = None
    """The one job that a hook's token may start."""

    @property
    def csrf(self) -> str:
        """What each form of the session must bring back; another site cannot read it."""
        return csrf_of(self.secret) if self.secret else ""


def csrf_of(secret: str) -> str:
    """Derive the form token of a session from its cookie."""
    return hmac.new(secret.encode(), b"jobsup form", hashlib.sha256).hexdigest()


class Call:
    """What a handler is given."""

    def __init__(self, site: Site, request: Request, visitor: Visitor | None) -> None:
        self.site = site
        self.request = request
        self.visitor = visitor
        self.shares = False
        """Whether what is seen may be a moment old, and be shown to others as well."""
        self.seen_at = math.inf
        """When the look was begun that it was seen by, where that was shared; by the monotonic clock."""
        self._form: FormData | None = None

    @property
    def path(self) -> Mapping[str, Any]:
        """The parts of the path: `{"name": "backup"}`."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.request.client.host if self.request.client else ""

    @property
    def by(self) -> str:
        """The name that is written beside what is asked for: `ann@portal`."""
        if self.visitor is None:
            return "nobody"
        return f"{self.visitor.name}@{self.visitor.origin}"[:NAME_CHARS_MAX]

    def may(self, role: str) -> bool:
        """Say whether the visitor's role includes this one."""
        return self.visitor is not None and self.visitor.role.includes(Role(role))

    async def ask(self, work: Callable[[Database], T]) -> T:
        """Do work on the database in a thread; the loop goes on meanwhile."""
        return await self.site.handles.ask(work)

    async def look(self, work: Callable[[Database], T]) -> T:
        """Read what depends on the address alone, and not on who asks; in a crowd others have it as well."""
        if not self.shares:
            return await self.ask(work)
        address = self.request.scope["path"], self.request.scope["query_string"]
        found, self.seen_at = await self.site.looks.share(address, lambda: self.ask(work))
        return found

    async def act(
        self,
        verb: str,
        subject: str,
        work: Callable[[Database], T],
        *,
        detail: Mapping[str, Any] | None = None,
        standing: Callable[[Database, str], Standing] | None = None,
    ) -> T:
        """Change something, and write into the audit that it was done, or that it was refused and why.

        `verb` is `job.pause`, `run.cancel`...; `subject` what it was done to; `standing` tells how that stands, before
        and after; `detail` is what else there is to tell.
        """
        told = dict(detail or {})

        def look(database: Database, key: str) -> None:
            if standing is not None:
                told[key] = standing(database, subject)

        def do(database: Database) -> T:
            look(database, "before")
            try:
                result = work(database)
            except JobsupError as error:
                self._record(database, verb, subject, {**told, "error": str(error)}, outcome=audit.REFUSED)
                raise
            look(database, "after")
            self._record(database, verb, subject, told, outcome=audit.DONE)
            return result

        return await self.ask(do)

    async def deny(self, subject: str, detail: dict[str, Any]) -> None:
        """Write into the audit that the visitor may not do what they wanted; `subject` is the address they asked."""
        await self.ask(lambda database: self._record(database, DENIED, subject, detail, outcome=audit.REFUSED))

    def _record(self, database: Database, verb: str, subject: str, detail: dict[str, Any], *, outcome: str) -> None:
        visitor = self.visitor
        audit.record(
            database,
            actor=visitor.name if visitor is not None else "",
            origin=visitor.origin if visitor is not None else "portal",
            address=self.address,
            verb=verb,
            subject=subject,
            outcome=outcome,
            detail=detail,
        )

    async def form(self) -> FormData:
        """Return the fields of the form that was sent."""
        if self._form is None:
            self._form = await self.request.form(max_files=0, max_fields=FIELDS_MAX)
        return self._form

    async def field(self, name: str, *, required: bool = False) -> str:
        """Return one field as text, without blanks around it; UsageError when it is wanted and not there."""
        value = (await self.form()).get(name)
        text = value.strip() if isinstance(value, str) else ""
        if required and not text:
            raise UsageError(f"{name} is missing")
        return text

    def url(self, path: str) -> str:
        """Return the address of one of our own pages."""
        return f"{self.request.scope.get('root_path', '')}{path}"

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Draw a page, with the tag by which a browser asks whether it is still the same."""
        text = self.site.templates.get_template(template).render(**self._common(), **context)
        body = text.encode()
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache, private", "Vary": "Cookie"}
        response = HTMLResponse(body, status, headers)
        if FLASH_COOKIE in self.request.cookies:
            response.delete_cookie(FLASH_COOKIE, path=self.url("/"))
        return response

    def go(self, path: str, say: str = "") -> Response:
        """Send the browser to one of our pages, which shows `say` once."""
        response = RedirectResponse(self.url(path), status_code=303)
        if say:
            text = base64.urlsafe_b64encode(say[:FLASH_CHARS_MAX].encode()).decode()
            response.set_cookie(
                FLASH_COOKIE, text, max_age=FLASH_SECONDS, httponly=True, samesite="strict", path=self.url("/")
            )
        return response

    def _common(self) -> dict[str, Any]:
        theme = self.request.cookies.get(THEME_COOKIE, "")
        return {
            "visitor": self.visitor,
            "csrf": self.visitor.csrf if self.visitor is not None else "",
            "may": self.may,
            "url": self.url,
            "here": self.request.url.path,
            "query": self.request.query_params,
            "theme": theme if theme in THEMES else "",
            "flash": _flash(self.request.cookies.get(FLASH_COOKIE, "")),
            "site": self.site,
        }


def _flash(cookie: str) -> str:
    try:
        return base64.urlsafe_b64decode(cookie.encode()).decode()[:FLASH_CHARS_MAX]
    except ValueError:
        return ""
