"""Getting in and out: the set-up of the first user, signing in, one's own account."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from jobsup.actions import passwords, standings
from jobsup.errors import DeniedError, JobsupError, NotFoundError, UsageError
from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.gate import cookie_name
from jobsup.portal.limits import TooOftenError
from jobsup.portal.problems import status_of
from jobsup.portal.routes import Entry
from jobsup.store import audit, users
from jobsup.store.engine import Database

NAME_CHARS_MAX = 64
TOO_MANY = 429


async def login_page(call: Call) -> Response:
    """Show the form; somebody who is in already goes on."""
    if call.visitor is not None:
        return call.go(_next(call.query.get("next", "")))
    return call.page("login.html", next=_next(call.query.get("next", "")), name="", error="")


async def login(call: Call) -> Response:
    """Sign in, or say that name and password do not go together, and nothing more."""
    name, password = (await call.field("name"))[:NAME_CHARS_MAX], str((await call.form()).get("password", ""))
    target = _next(await call.field("next"))
    wait = call.site.tries.wait(call.address, name)
    if wait > 0:
        error = f"too many wrong passwords: try again in {int(wait) + 1} s"
        answer = call.page("login.html", status=TOO_MANY, next=target, name=name, error=error)
        answer.headers["Retry-After"] = str(int(wait) + 1)
        return answer
    kept = await call.ask(lambda database: users.password_hash(database, name))
    async with call.site.hashing:
        is_right = await asyncio.to_thread(passwords.matches, password, kept)
    if not is_right or kept is None:
        call.site.tries.failed(call.address, name)
        await _tell(call, name, audit.REFUSED)
        return call.page("login.html", status=403, next=target, name=name, error="name or password is wrong")
    call.site.tries.passed(call.address, name)
    return await _sign_in(call, name, kept, target)


async def logout(call: Call) -> Response:
    """End this session."""
    assert call.visitor is not None  # noqa: S101  (the entry has a role)
    secret = call.visitor.secret
    await call.act("session.end", call.visitor.name, lambda database: users.end_session(database, secret))
    answer = call.go("/login")
    answer.delete_cookie(cookie_name(call.site), path="/", secure=call.site.is_https, httponly=True, samesite="lax")
    return answer


async def setup_page(call: Call) -> Response:
    """Show the form for the first user to whoever has the one-time token."""
    await _check_setup(call, call.query.get("token", ""))
    return call.page("setup.html", token=call.query.get("token", ""), name="", error="")


async def setup(call: Call) -> Response:
    """Make the first user, an admin, sign them in, and close the page for good."""
    token = await call.field("token")
    await _check_setup(call, token)
    name = await call.field("name")
    try:
        kept = await new_hash(call)
        await call.act(
            "user.add", name, lambda database: users.add_first(database, name, kept), standing=standings.of_user
        )
    except JobsupError as error:
        return call.page("setup.html", status=status_of(error), token=token, name=name, error=str(error))
    call.site.setup_file.unlink(missing_ok=True)
    return await _sign_in(call, name, kept, "/")


async def account(call: Call) -> Response:
    """Show who one is, and where one is signed in."""
    user_id = _user_id(call)
    sessions = await call.ask(lambda database: users.sessions_of(database, user_id))
    return call.page("account.html", sessions=sessions, current=_own_hash(call), error="")


async def change_password(call: Call) -> Response:
    """Change one's own password, which ends every session; this browser gets a new one."""
    assert call.visitor is not None  # noqa: S101  (the entry has a role)
    name = call.visitor.name
    await _check_present(call, name)
    fresh = await new_hash(call)
    await call.act(
        "user.passwd", name, lambda database: users.set_password(database, name, fresh), standing=standings.of_user
    )
    return await _sign_in(call, name, fresh, "/account")


async def _check_present(call: Call, name: str) -> None:
    """Raise for a wrong present password, which is counted and written down as at the signing in."""
    wait = call.site.tries.wait(call.address, name)
    if wait > 0:
        raise TooOftenError("too many wrong passwords", wait)
    kept = await call.ask(lambda database: users.password_hash(database, name))
    old = str((await call.form()).get("old", ""))
    async with call.site.hashing:
        is_right = await asyncio.to_thread(passwords.matches, old, kept)
    if is_right:
        call.site.tries.passed(call.address, name)
        return

    def refuse(_: Database) -> None:
        raise DeniedError("the present password is wrong")

    call.site.tries.failed(call.address, name)
    await call.act("user.passwd", name, refuse)


async def end_sessions(call: Call) -> Response:
    """Sign all of one's browsers out, this one too."""
    assert call.visitor is not None  # noqa: S101  (the entry has a role)
    user_id = _user_id(call)
    await call.act("session.end_all", call.visitor.name, lambda database: users.end_sessions(database, user_id))
    return call.go("/login")


async def new_hash(call: Call) -> str:
    """Return the hash of the new password in the form, which is in it twice."""
    form = await call.form()
    password, again = str(form.get("password", "")), str(form.get("again", ""))
    if password != again:
        raise UsageError("the two passwords are not the same")
    passwords.check(password)
    async with call.site.hashing:
        return await asyncio.to_thread(passwords.make_hash, password)


async def _sign_in(call: Call, name: str, kept: str, target: str) -> Response:
    lifetime = call.site.settings.session_lifetime
    agent = call.request.headers.get("user-agent", "")
    secret = await call.ask(
        lambda database: users.begin_session(database, name, kept, lifetime=lifetime, address=call.address, agent=agent)
    )
    await _tell(call, name, audit.DONE)
    answer = call.go(target)
    answer.set_cookie(
        cookie_name(call.site),
        secret,
        max_age=int(lifetime.total_seconds()),
        path="/",
        secure=call.site.is_https,
        httponly=True,
        samesite="lax",
    )
    return answer


async def _tell(call: Call, name: str, outcome: str) -> None:
    """Write down that somebody signed in, or tried to: then without the name, which may be a mistyped password."""
    shown = name if outcome == audit.DONE else ""
    await call.ask(
        lambda database: audit.record(
            database,
            actor=shown,
            origin="portal",
            address=call.address,
            verb="session.begin",
            subject=shown,
            outcome=outcome,
        )
    )


async def _check_setup(call: Call, token: str) -> None:
    has_users = await call.ask(lambda database: users.count(database) > 0)
    if has_users:
        raise NotFoundError("the portal is set up already: sign in")
    wait = call.site.tries.wait(call.address)
    if wait > 0 or not await call.ask(lambda database: users.opens_setup(database, token)):
        call.site.tries.failed(call.address)
        raise DeniedError("this address has not the right token: `jobsup start` prints the one that has")


def _next(path: str) -> str:
    """Return where to go after signing in: a page of ours, whatever the address said."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and "\\" not in path
    return path if is_ours and path.isprintable() else "/"


def _user_id(call: Call) -> int:
    if call.visitor is None or call.visitor.user_id is None:
        raise DeniedError("only somebody who is signed in has an account")
    return call.visitor.user_id


def _own_hash(call: Call) -> str:
    return users.hash_secret(call.visitor.secret) if call.visitor is not None else ""


ENTRIES = (
    Entry("GET", "/login", login_page, None),
    Entry("POST", "/login", login, None),
    Entry("POST", "/logout", logout, Role.VIEWER),
    Entry("GET", "/setup", setup_page, None),
    Entry("POST", "/setup", setup, None),
    Entry("GET", "/account", account, Role.VIEWER),
    Entry("POST", "/account/password", change_password, Role.VIEWER),
    Entry("POST", "/account/sessions/end", end_sessions, Role.VIEWER),
)
