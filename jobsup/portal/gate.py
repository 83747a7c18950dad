"""The inner check, of every entry: who it is, whether their role is enough, and whether a form is one of ours."""

from __future__ import annotations

import hmac
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from jobsup.errors import DeniedError, JobsupError
from jobsup.model import Role
from jobsup.portal.again import unless_known
from jobsup.portal.call import Call, Visitor, csrf_of
from jobsup.portal.door import SAFE_METHODS
from jobsup.portal.limits import NotNowError, pace
from jobsup.portal.problems import is_for_program, line, problem, status_of, title_of
from jobsup.portal.repeats import key_of
from jobsup.portal.routes import Entry
from jobsup.portal.site import Site
from jobsup.store import tokens, users
from jobsup.store.engine import Database

COOKIE = "jobsup_session"
SECURE_COOKIE = "__Host-jobsup_session"
"""The name with which a browser takes a cookie over TLS only, and only from this very host."""
BEARER = "bearer "
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"


def cookie_name(site: Site) -> str:
    return SECURE_COOKIE if site.is_https and not site.settings.root_path else COOKIE


class Gate:
    """One entry as an ASGI application: nothing gets to the handler that the entry does not allow."""

    def __init__(self, site: Site, entry: Entry) -> None:
        self._site = site
        self._entry = entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        call = Call(self._site, request, None)
        try:
            if not self._entry.needs_database:
                return await self._entry.handler(call)
            if request.method in SAFE_METHODS:
                return unless_known(request.headers, await self._look(call))
            try:
                return await self._admit(call)
            finally:
                self._site.repeats.forget()
                self._site.looks.forget()
        except JobsupError as error:
            return self._say(call, error)

    async def _look(self, call: Call) -> Response:
        """Answer who only wants to see something, and let others have the same who ask for it at once."""
        if self._entry.is_stream:
            return await self._admit(call)
        if self._site.handles.are_overrun:
            raise NotNowError("too much is asked of this portal at the moment", 0)
        key = key_of(call.request.scope, call.request.headers)
        call.shares = bool(key) and self._site.repeats.are_given
        with self._site.repeats.making(key) as keep:
            async with self._site.handles.reading():
                response = await self._admit(call)
            if call.visitor is not None:
                keep(response, "" if call.visitor.secret else call.visitor.name, call.seen_at)
            return response

    async def _admit(self, call: Call) -> Response:
        """Find out who it is and whether they may, and let the handler answer."""
        call.visitor = await self._visitor(call)
        if call.visitor is None and self._entry.role is not None:
            return self._sign_in(call.request)
        await self._check(call, call.visitor)
        return await self._entry.handler(call)

    async def _visitor(self, call: Call) -> Visitor | None:
        """Return who shows a token or a cookie that is good; a bad token is refused, a bad cookie is none."""
        words = call.request.headers.get("authorization", "")
        if words.lower().startswith(BEARER):
            visitor = await call.ask(lambda database: _of_token(database, words[len(BEARER) :].strip()))
            pace(self._site.tokens, visitor.name)
            return visitor
        secret = call.request.cookies.get(cookie_name(self._site), "")
        return await call.ask(lambda database: _of_cookie(database, secret)) if secret else None

    async def _check(self, call: Call, visitor: Visitor | None) -> None:
        if visitor is None or (self._entry.role is None and not visitor.secret):
            return
        lack = self._lack(visitor)
        if lack:
            await self._tell_audit(call, visitor, lack)
            raise DeniedError(lack)
        if visitor.secret and call.request.method not in SAFE_METHODS:
            given = call.request.headers.get(CSRF_HEADER) or await call.field(CSRF_FIELD)
            if not hmac.compare_digest(given.encode(), csrf_of(visitor.secret).encode()):
                raise DeniedError("this form is from another session: load the page again")

    def _lack(self, visitor: Visitor) -> str:
        """Return why a visitor may not come in here; empty: they may."""
        entry = self._entry
        if not visitor.secret:
            if entry.scope and entry.scope in visitor.scopes:
                return ""
            wanted = f"the scope {entry.scope!r}" if entry.scope else "a person who is signed in"
            return f"token {visitor.name!r} may not do this: it takes {wanted}"
        if entry.role is None or visitor.role.includes(entry.role):
            return ""
        return f"{visitor.name} is {visitor.role}: this takes the role {entry.role}"

    async def _tell_audit(self, call: Call, visitor: Visitor, lack: str) -> None:
        """Write down who wanted to do what they may not; not so often that it fills the table."""
        if call.request.method in SAFE_METHODS or self._site.denials.take(visitor.name):
            return
        await call.deny(call.request.scope["path"], {"method": call.request.method, "error": lack})

    def _sign_in(self, request: Request) -> Response:
        if self._is_program(request):
            answer = problem(
                DeniedError("show a token: `Authorization: Bearer ...`; `jobsup token create` makes one"), 401
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        target = ""
        if request.method in SAFE_METHODS:
            path = request.url.path.removeprefix(self._site.settings.root_path)
            target = f"?next={quote(path + (f'?{request.url.query}' if request.url.query else ''))}"
        return RedirectResponse(f"{self._site.settings.root_path}/login{target}", 303)

    def _say(self, call: Call, error: JobsupError) -> Response:
        """Answer a program with a document, and a person with a page."""
        if self._is_program(call.request) or (call.visitor is not None and not call.visitor.secret):
            return problem(error)
        if isinstance(error, NotNowError):
            return line(error)
        return call.page("error.html", status=status_of(error), title=title_of(error), text=str(error))

    def _is_program(self, request: Request) -> bool:
        return is_for_program(request.url.path.removeprefix(self._site.settings.root_path))


def _of_token(database: Database, secret: str) -> Visitor:
    token = tokens.find(database, secret)
    if token is None:
        raise DeniedError("this token is not known, or has expired: `jobsup token create` makes one")
    return Visitor(token.name, Role.VIEWER, "api", scopes=frozenset(token.scopes), job=token.job)


def _of_cookie(database: Database, secret: str) -> Visitor | None:
    session = users.find_session(database, secret)
    if session is None:
        return None
    return Visitor(session.user.name, session.user.role, "portal", secret=secret, user_id=session.user.id)
