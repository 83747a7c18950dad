"""For admins: users, tokens, the audit, the configuration in force, and taking a changed one over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from jobsup.actions import standings
from jobsup.config.show import effective
from jobsup.control import client
from jobsup.errors import ConfigError, Problem, UsageError
from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.pages.access import new_hash
from jobsup.portal.routes import Entry
from jobsup.store import audit, jobs, tokens, users
from jobsup.store.engine import Database

AUDIT_ROWS = 50
RELOAD_SECONDS_MAX = 120.0
LINES_MAX = 2000
DAYS_MAX = 3650


async def users_page(call: Call) -> Response:
    return call.page("admin_users.html", users=await call.ask(users.list_users), roles=list(Role))


async def add_user(call: Call) -> Response:
    name, role = await call.field("name", required=True), await _role(call)
    kept = await new_hash(call)
    await call.act("user.add", name, lambda database: users.add(database, name, role, kept), standing=standings.of_user)
    return call.go("/admin", f"User {name} is {role}.")


async def set_role(call: Call) -> Response:
    name, role = call.path["name"], await _role(call)
    await call.act("user.role", name, lambda database: users.set_role(database, name, role), standing=standings.of_user)
    return call.go("/admin", f"User {name} is {role}.")


async def set_password(call: Call) -> Response:
    name = call.path["name"]
    kept = await new_hash(call)
    await call.act(
        "user.passwd", name, lambda database: users.set_password(database, name, kept), standing=standings.of_user
    )
    return call.go("/admin", f"{name} has a new password; all sessions of {name} have ended.")


async def remove_user(call: Call) -> Response:
    name = call.path["name"]
    await call.act("user.rm", name, lambda database: users.remove(database, name), standing=standings.of_user)
    return call.go("/admin", f"User {name} is deleted.")


async def tokens_page(call: Call) -> Response:
    return await _tokens_page(call)


async def create_token(call: Call) -> Response:
    """Make a token and show it, this once: the answer to the form, which no address leads back to."""
    name, job = await call.field("name", required=True), await call.field("job")
    scopes = [str(scope) for scope in (await call.form()).getlist("scope")]
    days, by = await call.field("days"), call.by
    if days and not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= DAYS_MAX):
        raise UsageError(f"the days must be a whole number from 1 to {DAYS_MAX}")

    def work(database: Database) -> str:
        if job:
            jobs.get_job(database, job)
        expires_at = database.now() + timedelta(days=int(days)) if days else None
        return tokens.create(database, name, scopes, by=by, job=job or None, expires_at=expires_at)

    asked = {"asked": {"scopes": scopes, "job": job, "days": days}}
    secret = await call.act("token.create", name, work, detail=asked, standing=standings.of_token)
    return await _tokens_page(call, name, secret)


async def revoke_token(call: Call) -> Response:
    name = call.path["name"]
    await call.act("token.revoke", name, lambda database: tokens.revoke(database, name), standing=standings.of_token)
    return call.go("/admin/tokens", f"Token {name} is revoked.")


async def audit_page(call: Call) -> Response:
    """Show what was done; the filters and the page stand in the address."""
    wanted = {name: call.query.get(name, "").strip() for name in ("actor", "subject", "verb")}
    before = call.query.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None

    def read(database: Database) -> list[audit.AuditRow]:
        said: dict[str, Any] = {name: text for name, text in wanted.items() if text}
        return audit.entries(database, **said, before=number, last=AUDIT_ROWS + 1)

    rows = await call.ask(read)
    has_older = len(rows) > AUDIT_ROWS
    said = {name: text for name, text in wanted.items() if text}
    older = f"?{urlencode({**said, 'before': rows[AUDIT_ROWS - 1].id})}" if has_older else ""
    newest = f"?{urlencode(said)}" if number is not None else ""
    return call.page("admin_audit.html", rows=rows[:AUDIT_ROWS], wanted=wanted, older=older, newest=newest)


async def config_page(call: Call) -> Response:
    return call.page("admin_config.html", rows=effective(call.site.config), path=call.site.config.path, diff=None)


async def look_at_reload(call: Call) -> Response:
    """Show what a reload would change; changes nothing."""
    lines, problems = await asyncio.to_thread(_reload, call, is_dry_run=True)
    config = call.site.config
    return call.page("admin_config.html", rows=effective(config), path=config.path, diff=(lines, problems))


async def reload(call: Call) -> Response:
    """Take the changed configuration over; one that is wrong changes nothing."""

    def work(_: Database) -> list[str]:
        lines, problems = _reload(call, is_dry_run=False)
        if problems:
            raise ConfigError(tuple(Problem(line) for line in problems))
        return lines

    lines = await call.act("config.reload", call.site.config.path, work)
    return call.go("/admin/config", "\n".join(lines[:10]) or "Nothing has changed.")


async def _tokens_page(call: Call, name: str = "", secret: str = "") -> Response:
    found = await call.ask(tokens.list_tokens)
    answer = call.page("admin_tokens.html", tokens=found, scopes=tokens.SCOPES, made=name, secret=secret)
    if secret:
        answer.headers["Cache-Control"] = "no-store"
    return answer


async def _role(call: Call) -> Role:
    text = await call.field("role", required=True)
    if text not in list(Role):
        raise UsageError(f"no such role: {text[:40]!r}; there are {', '.join(Role)}")
    return Role(text)


def _reload(call: Call, *, is_dry_run: bool) -> tuple[list[str], list[str]]:
    """Ask the supervisor; returns the changes and, when the configuration is wrong, its problems."""
    lines: list[str] = []

    def keep(line: str) -> None:
        if len(lines) < LINES_MAX:
            lines.append(line)

    request = {"do": "reload", "dry_run": is_dry_run}
    answer = client.call(call.site.socket, request, on_line=keep, timeout=RELOAD_SECONDS_MAX)
    if answer.get("exit_code"):
        return lines, str(answer.get("error") or "the reload failed: the supervisor's log says why").splitlines()
    return lines, []


ENTRIES = (
    Entry("GET", "/admin", users_page, Role.ADMIN),
    Entry("POST", "/admin/users", add_user, Role.ADMIN),
    Entry("POST", "/admin/users/{name}/role", set_role, Role.ADMIN),
    Entry("POST", "/admin/users/{name}/password", set_password, Role.ADMIN),
    Entry("POST", "/admin/users/{name}/remove", remove_user, Role.ADMIN),
    Entry("GET", "/admin/tokens", tokens_page, Role.ADMIN),
    Entry("POST", "/admin/tokens", create_token, Role.ADMIN),
    Entry("POST", "/admin/tokens/{name}/revoke", revoke_token, Role.ADMIN),
    Entry("GET", "/admin/audit", audit_page, Role.ADMIN),
    Entry("GET", "/admin/config", config_page, Role.ADMIN),
    Entry("POST", "/admin/config/look", look_at_reload, Role.ADMIN),
    Entry("POST", "/admin/config/reload", reload, Role.ADMIN),
)
