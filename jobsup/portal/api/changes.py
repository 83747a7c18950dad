"""What programs may do."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from jobsup.actions import jobs as job_actions
from jobsup.actions import runs as actions
from jobsup.actions.documents import job_document, run_document
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.errors import DeniedError, NotFoundError, UsageError
from jobsup.model import Role
from jobsup.portal.api.documents import document, instant, read_body, texts
from jobsup.portal.call import Call, Visitor
from jobsup.portal.routes import Entry
from jobsup.store import requests, tokens
from jobsup.store.engine import Database

REASON_CHARS_MAX = 200
IDEMPOTENCY_HEADER = "idempotency-key"

RUN_BODY: dict[str, dict[str, Any]] = {
    "params": {"type": "object", "description": "The job's parameters."},
    "at": {"type": "string", "format": "date-time", "description": "When it starts; else now."},
    "force": {"type": "boolean", "description": "Also when the job is paused or disabled."},
    "reason": {"type": "string", "description": "Why; it is written beside the name."},
    "on": {"type": "string", "description": "The host it runs on; else where its definition says."},
}
HOOK_BODY = {"params": RUN_BODY["params"]}
PAUSE_BODY: dict[str, dict[str, Any]] = {
    "until": {"type": "string", "format": "date-time", "description": "When it ends by itself."},
    "reason": {"type": "string", "description": "Why."},
}


async def run_job(call: Call) -> Response:
    """Run a job now; with an Idempotency-Key the same request makes one run, however often it comes."""
    body = await read_body(call.request, RUN_BODY)
    return await _run(call, call.path["name"], body, 201)


async def hook(call: Call) -> Response:
    """Start the one job of a hook's token."""
    secret = call.path["token"]
    wait = call.site.tries.wait(call.address)
    if wait > 0:
        raise DeniedError(f"too many wrong tokens: try again in {int(wait) + 1} s")
    token = await call.ask(lambda database: tokens.find(database, secret))
    if token is None or token.job is None:
        call.site.tries.failed(call.address)
        raise NotFoundError("no job has this address")
    call.visitor = Visitor(token.name, Role.VIEWER, "hook", job=token.job)
    return await _run(call, token.job, await read_body(call.request, HOOK_BODY), 202)


async def cancel(call: Call) -> Response:
    number = _run_id(call)
    by = call.by
    await call.act("run.cancel", str(number), lambda database: actions.cancel(database, number, by))
    return await _shown(call, number)


async def retry(call: Call) -> Response:
    number = _run_id(call)
    by = call.by
    new = await call.act("run.retry", str(number), lambda database: actions.retry(database, number, by))
    return await _shown(call, new, 201)


async def pause(call: Call) -> Response:
    body = await read_body(call.request, PAUSE_BODY)
    name, by, until, reason = call.path["name"], call.by, instant(body.get("until"), "until"), _reason(body)
    detail = {"until": body.get("until"), "reason": reason}

    def work(database: Database) -> dict[str, Any]:
        found = job_actions.pause(database, [name], by=by, reason=reason, until=until)
        return job_document(found[0], database.now())

    return document({"job": await call.act("job.pause", name, work, detail=detail)})


async def resume(call: Call) -> Response:
    name = call.path["name"]

    def work(database: Database) -> list[dict[str, Any]]:
        return [job_document(each, database.now()) for each in job_actions.resume(database, [name])]

    return document({"jobs": await call.act("job.resume", name, work)})


async def _run(call: Call, name: str, body: dict[str, Any], status: int) -> Response:
    params, at, reason = texts(body.get("params", {})), instant(body.get("at"), "at"), _reason(body)
    by = f"{call.by} ({reason})" if reason else call.by
    key = call.request.headers.get(IDEMPOTENCY_HEADER, "")
    if len(key) > requests.KEY_CHARS_MAX:
        raise UsageError(f"an idempotency key has at most {requests.KEY_CHARS_MAX} characters")

    def work(database: Database) -> tuple[dict[str, Any], bool]:
        def make() -> int:
            force, on = bool(body.get("force", False)), str(body.get("on", ""))
            return actions.run(database, name, params, by=by[:255], at=at, force=force, on=on).dispatch_id

        if key:
            asked = json.dumps([name, body], sort_keys=True)
            made, is_new = requests.once(database, f"{call.by}/{key}", asked, make)
        else:
            made, is_new = make(), True
        return run_document(actions.get(database, made)), is_new

    run, is_new = await call.act("job.run", name, work, detail={"params": sorted(params), "reason": reason})
    where = call.url(f"/api/v1/runs/{run['id']}")
    return document({"run": run}, status if is_new else 200, Location=where)


async def _shown(call: Call, number: int, status: int = 200) -> Response:
    run = await call.ask(lambda database: actions.get(database, number))
    return document({"run": run_document(run)}, status)


def _run_id(call: Call) -> int:
    number: int = call.path["id"]
    if number > RUN_ID_MAX:
        raise UsageError(f"no run has so high a number: {str(number)[:40]}")
    return number


def _reason(body: dict[str, Any]) -> str | None:
    reason: str | None = body.get("reason") or None
    if reason is not None and len(reason) > REASON_CHARS_MAX:
        raise UsageError(f"reason has at most {REASON_CHARS_MAX} characters")
    return reason


ENTRIES = (
    Entry(
        "POST", "/api/v1/jobs/{name}/run", run_job, Role.OPERATOR, "Run a job now.", "run", body=RUN_BODY, status=201
    ),
    Entry("POST", "/api/v1/jobs/{name}/pause", pause, Role.OPERATOR, "Pause a job.", "pause", body=PAUSE_BODY),
    Entry("POST", "/api/v1/jobs/{name}/resume", resume, Role.OPERATOR, "Resume a paused job.", "pause"),
    Entry("POST", "/api/v1/runs/{id:int}/cancel", cancel, Role.OPERATOR, "End a run.", "cancel"),
    Entry("POST", "/api/v1/runs/{id:int}/retry", retry, Role.OPERATOR, "Run it once more.", "run", status=201),
    Entry("POST", "/hook/{token}", hook, None, "Start the job of a hook's token.", "hook", body=HOOK_BODY, status=202),
)
