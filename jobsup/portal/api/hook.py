"""The address of a hook: whoever knows it starts one job, and can do nothing else."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from jobsup.actions.operations.jobs import PARAMS, RUN_JOB
from jobsup.errors import NotFoundError, UsageError
from jobsup.model import Role
from jobsup.portal.api.documents import check_text, document, read_body
from jobsup.portal.api.operations import answer
from jobsup.portal.call import Call, Visitor
from jobsup.portal.limits import TooOftenError
from jobsup.portal.routes import Entry
from jobsup.store import tokens

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
BODY = {"params": PARAMS}


async def hook(call: Call) -> Response:
    """Start the one job of a hook's token, with parameters from a JSON object or the fields of a form."""
    secret = call.path["token"]
    wait = call.site.tries.wait(call.address)
    if wait > 0:
        raise TooOftenError("too many wrong tokens", wait)
    token = await call.ask(lambda database: tokens.find(database, secret))
    if token is None or token.job is None:
        call.site.tries.failed(call.address)
        raise NotFoundError("no job has this address")
    call.visitor = Visitor(token.name, Role.VIEWER, "hook", job=token.job)
    if call.request.query_params:
        raise UsageError("a hook takes its parameters from the body: an address is written into logs")
    wait = call.site.hooks.take(token.name)
    if wait:
        raise TooOftenError(f"hook {token.name!r} is called too often", wait)
    made = await answer(call, RUN_JOB, {"name": token.job, "params": await _params(call)})
    return document({key: made[key] for key in ("run", "created")}, 202 if made["created"] else 200)


async def _params(call: Call) -> dict[str, Any]:
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in FORMS:
        return {
            check_text(name, "a field"): check_text(value, name)
            for name, value in (await call.form()).multi_items()
            if isinstance(value, str)
        }
    found: dict[str, Any] = (await read_body(call.request, BODY)).get("params", {})
    return found


ENTRIES = (
    Entry(
        "POST",
        "/hook/{token}",
        hook,
        None,
        "Start the job of a hook's token.",
        "hook",
        name="hook",
        body=BODY,
        status=202,
        has_key=True,
    ),
)
