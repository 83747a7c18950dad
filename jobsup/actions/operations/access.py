"""Who may come in: users and tokens; and what was done: the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jobsup.actions import passwords, standings
from jobsup.actions.documents import audit_document, token_document, user_document
from jobsup.actions.operations.base import Desk, Given, Operation, Schema, instant, several, text, whole
from jobsup.clock import rfc3339
from jobsup.errors import UsageError
from jobsup.model import Role
from jobsup.store import audit, jobs, tokens, users
from jobsup.store.engine import Database

PASSWORD_CHARS_MAX = 4096
AUDIT_DEFAULT, AUDIT_MAX = 50, 10_000
ID_MAX = (1 << 63) - 1


def list_users(desk: Desk, _given: Given) -> dict[str, Any]:
    return {"users": [user_document(each) for each in users.list_users(desk.database)]}


def add_user(desk: Desk, given: Given) -> dict[str, Any]:
    name, role = _wanted(given, "name"), Role(given["role"] or Role.VIEWER)
    kept = passwords.make_hash(_wanted(given, "password"))
    with _told(desk, standings.of_user, name):
        return {"user": user_document(users.add(desk.database, name, role, kept))}


def set_password(desk: Desk, given: Given) -> dict[str, Any]:
    kept = passwords.make_hash(_wanted(given, "password"))
    with _told(desk, standings.of_user, given["name"]):
        return {"user": user_document(users.set_password(desk.database, given["name"], kept))}


def set_role(desk: Desk, given: Given) -> dict[str, Any]:
    name, role = given["name"], Role(_wanted(given, "role"))
    with _told(desk, standings.of_user, name):
        return {"user": user_document(users.set_role(desk.database, name, role))}


def remove_user(desk: Desk, given: Given) -> dict[str, Any]:
    with _told(desk, standings.of_user, given["name"]):
        return {"user": user_document(users.remove(desk.database, given["name"]))}


def list_tokens(desk: Desk, _given: Given) -> dict[str, Any]:
    return {"tokens": [token_document(each) for each in tokens.list_tokens(desk.database)]}


def create_token(desk: Desk, given: Given) -> dict[str, Any]:
    name, scopes, job, expires = _wanted(given, "name"), given["scopes"] or [], given["job"], given["expires_at"]
    desk.detail = {"asked": {"scopes": list(scopes), "job": job, "expires_at": rfc3339(expires)}}
    if job:
        jobs.get_job(desk.database, job)
    with _told(desk, standings.of_token, name):
        secret = tokens.create(desk.database, name, scopes, by=desk.by, job=job or None, expires_at=expires)
    return {"name": name, "token": secret}


def revoke_token(desk: Desk, given: Given) -> dict[str, Any]:
    with _told(desk, standings.of_token, given["name"]):
        tokens.revoke(desk.database, given["name"])
    return {"name": given["name"]}


def list_audit(desk: Desk, given: Given) -> dict[str, Any]:
    wanted = {key: given[key] for key in ("since", "actor", "subject", "verb", "before")}
    found = audit.entries(desk.database, **wanted, last=given["last"] or AUDIT_DEFAULT)
    return {"audit": [audit_document(each) for each in found]}


@contextmanager
def _told(desk: Desk, standing: Callable[[Database, str], standings.Standing], name: str) -> Iterator[None]:
    """Tell the audit how something stands before and after what is done within."""
    desk.detail = {**desk.detail, "before": standing(desk.database, name)}
    yield
    desk.detail = {**desk.detail, "after": standing(desk.database, name)}


def _wanted(given: Given, name: str) -> str:
    value = given[name]
    if not value:
        raise UsageError(f"{name} is missing")
    return str(value)


PASSWORD: Schema = text("Shown nowhere again.", most=PASSWORD_CHARS_MAX, format="password")
ROLE: Schema = text("What they may do.", enum=[role.value for role in Role])

LIST_USERS = Operation("listUsers", "GET", "/users", list_users, "List the users.", Role.ADMIN, "manage")
ADD_USER = Operation(
    "addUser",
    "POST",
    "/users",
    add_user,
    "Make a user.",
    Role.ADMIN,
    "manage",
    body={"name": text("Their name.", most=64), "role": ROLE, "password": PASSWORD},
    verb="user.add",
    subject="name",
    status=201,
)
SET_PASSWORD = Operation(
    "setPassword",
    "POST",
    "/users/{name}/password",
    set_password,
    "Change a password; every session of the user ends.",
    Role.ADMIN,
    "manage",
    body={"password": PASSWORD},
    verb="user.passwd",
    subject="name",
)
SET_ROLE = Operation(
    "setRole",
    "POST",
    "/users/{name}/role",
    set_role,
    "Give a user another role; it holds at once.",
    Role.ADMIN,
    "manage",
    body={"role": ROLE},
    verb="user.role",
    subject="name",
)
REMOVE_USER = Operation(
    "removeUser",
    "DELETE",
    "/users/{name}",
    remove_user,
    "Delete a user; the last admin stays.",
    Role.ADMIN,
    "manage",
    verb="user.rm",
    subject="name",
)
LIST_TOKENS = Operation(
    "listTokens", "GET", "/tokens", list_tokens, "List the tokens, without what they are.", Role.ADMIN, "manage"
)
CREATE_TOKEN = Operation(
    "createToken",
    "POST",
    "/tokens",
    create_token,
    "Make a token; the answer shows it, and nothing does again.",
    Role.ADMIN,
    "manage",
    body={
        "name": text("Its name.", most=64),
        "scopes": several("What it may do: scopes, or a role's name for all that the role may.", most=20),
        "job": text("Only start this job, by POST /hook/TOKEN."),
        "expires_at": instant("When it ends."),
    },
    verb="token.create",
    subject="name",
    status=201,
)
REVOKE_TOKEN = Operation(
    "revokeToken",
    "DELETE",
    "/tokens/{name}",
    revoke_token,
    "Delete a token: it is good for nothing from now on.",
    Role.ADMIN,
    "manage",
    verb="token.revoke",
    subject="name",
)
LIST_AUDIT = Operation(
    "listAudit",
    "GET",
    "/audit",
    list_audit,
    "List who did what, the newest first.",
    Role.ADMIN,
    "manage",
    query={
        "since": instant("Only since then."),
        "actor": text("Only what one did."),
        "subject": text("Only what was done to one job, run, user or token."),
        "verb": text("Only this, such as job.run."),
        "before": whole("Only those with a lower number: the next page.", 1, ID_MAX),
        "last": whole("How many.", 1, AUDIT_MAX, default=AUDIT_DEFAULT),
    },
)
OPERATIONS = (
    LIST_USERS,
    ADD_USER,
    SET_PASSWORD,
    SET_ROLE,
    REMOVE_USER,
    LIST_TOKENS,
    CREATE_TOKEN,
    REVOKE_TOKEN,
    LIST_AUDIT,
)
