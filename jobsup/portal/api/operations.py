"""What the command line can ask for too: each operation of the table as a way in."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from jobsup.actions.operations.base import Desk, Operation, perform
from jobsup.actions.operations.jobs import RUN_JOB
from jobsup.actions.operations.table import OPERATIONS
from jobsup.errors import UsageError
from jobsup.portal.api.documents import check_text, document, read_body, read_query
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry, Handler
from jobsup.store import requests
from jobsup.store.engine import Database

API = "/api/v1"
IDEMPOTENCY_HEADER = "idempotency-key"


def desk_of(call: Call, database: Database) -> Desk:
    """Return the desk at which a request is worked on."""
    visitor = call.visitor
    return Desk(
        lambda: database,
        actor=visitor.name if visitor is not None else "",
        by=call.by,
        origin=visitor.origin if visitor is not None else "api",
        address=call.address,
        set_name=call.site.config.set,
        config_path=call.site.config.path,
        socket=call.site.socket,
        config=lambda: call.site.config,
    )


async def answer(call: Call, operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
    """Perform an operation in a thread."""
    if operation.has_key:
        given = {**given, "key": _key(call)}
    see = call.look if operation.method == "GET" else call.ask
    return await see(lambda database: perform(desk_of(call, database), operation, given))


def of_path(call: Call) -> dict[str, Any]:
    """Return the values in the path."""
    return {name: check_text(value, name) if isinstance(value, str) else value for name, value in call.path.items()}


def run_made(call: Call, made: dict[str, Any], status: int) -> Response:
    """Answer with a run, and where it is found; 200 for one that this key has made before."""
    where = call.url(f"{API}/runs/{made['run']['id']}")
    return document(made, status if made["created"] else 200, Location=where)


def _handler(operation: Operation) -> Handler:
    async def handle(call: Call) -> Response:
        given = {**read_query(call.request, operation.query), **of_path(call)}
        if operation.method == "POST":
            given = {**await read_body(call.request, operation.body), **given}
        found = await answer(call, operation, given)
        return run_made(call, found, operation.status) if operation is RUN_JOB else document(found, operation.status)

    return handle


def _key(call: Call) -> str:
    key = check_text(call.request.headers.get(IDEMPOTENCY_HEADER, ""), "the idempotency key")
    if len(key) > requests.KEY_CHARS_MAX:
        raise UsageError(f"an idempotency key has at most {requests.KEY_CHARS_MAX} characters")
    return key


def _entry(operation: Operation) -> Entry:
    return Entry(
        operation.method,
        f"{API}{operation.path}",
        _handler(operation),
        operation.role,
        operation.summary,
        operation.scope,
        name=operation.name,
        query=operation.query,
        body=operation.body,
        status=operation.status,
        has_key=operation.has_key,
    )


ENTRIES = tuple(_entry(operation) for operation in OPERATIONS)
