"""The whole: whether all is well, who works, and what the supervisor is asked to do."""

from __future__ import annotations

from typing import Any

from jobsup.actions import health
from jobsup.actions.documents import status_document, worker_document
from jobsup.actions.operations.base import CLI, Desk, Given, Operation, flag, whole
from jobsup.clock import rfc3339
from jobsup.errors import DatabaseError, ExitCode, JobsupError, UnreachableError, error_of
from jobsup.model import Role
from jobsup.store import workers

WORKERS_MAX = 1024
STATUS_SECONDS_MAX = 5.0
"""How long a supervisor may take to describe itself; a healthy one takes milliseconds."""
RELOAD_SECONDS_MAX = 300.0
LINES_MAX = 2000


def list_workers(desk: Desk, given: Given) -> dict[str, Any]:
    rows = workers.list_workers(desk.database, include_offline=bool(given["all"]))
    return {"at": rfc3339(desk.database.now()), "workers": [worker_document(row) for row in rows]}


def status(desk: Desk, _given: Given) -> dict[str, Any]:
    """Judge by this host's supervisor and the database; that one of them does not answer is part of the answer."""
    supervisor = _described(desk)
    try:
        found = health.judge(supervisor, desk.database, set_name=desk.set_name)
    except (DatabaseError, UnreachableError) as error:
        found = health.judge(supervisor, None, set_name=desk.set_name, trouble=str(error))
    return status_document(found, desk.config_path)


def scale(desk: Desk, given: Given) -> dict[str, Any]:
    desk.subjects, desk.detail = ["workers"], {"asked": given["workers"] or 0}
    answer = _asked(desk, {"do": "scale", "kind": "worker", "count": given["workers"] or 0})
    desk.detail.update({key: answer[key] for key in ("before", "after") if key in answer})
    return answer


def reload(desk: Desk, given: Given) -> dict[str, Any]:
    desk.subjects, desk.detail = [desk.config_path], {"dry_run": bool(given["dry_run"])}
    return _asked(desk, {"do": "reload", "dry_run": bool(given["dry_run"])})


def _described(desk: Desk) -> dict[str, Any]:
    if not desk.socket.exists():
        return {}
    try:
        answer = desk.supervisor({"do": "status"}, STATUS_SECONDS_MAX)
    except JobsupError:
        return {}
    return dict(answer.get("status") or answer)


def _asked(desk: Desk, request: dict[str, Any]) -> dict[str, Any]:
    """Have the supervisor do something; returns what it told and said, or raises what it refused with."""
    lines: list[str] = []
    told = desk.on_line

    def keep(line: str) -> None:
        if len(lines) < LINES_MAX:
            lines.append(line)
        told(line)

    desk.on_line = keep
    answer = desk.supervisor(request, RELOAD_SECONDS_MAX)
    code = int(answer.get("exit_code", ExitCode.OK))
    desk.detail["lines"] = lines[:50]
    if code:
        error = error_of(code, "\n".join(lines) or str(answer.get("error") or "the supervisor refused it"))
        error.is_told = bool(lines) and desk.origin == CLI
        raise error
    return {"lines": lines, **{key: value for key, value in answer.items() if key not in ("done", "exit_code")}}


LIST_WORKERS = Operation(
    "listWorkers",
    "GET",
    "/workers",
    list_workers,
    "List the workers of all hosts.",
    Role.VIEWER,
    "read",
    query={"all": flag("Also those OFFLINE.")},
)
STATUS = Operation("status", "GET", "/status", status, "Say whether all is well.", Role.VIEWER, "read")
SCALE = Operation(
    "scale",
    "POST",
    "/scale",
    scale,
    "Change the number of workers of the portal's host.",
    Role.ADMIN,
    "manage",
    body={"workers": whole("How many.", 0, WORKERS_MAX)},
    verb="workers.scale",
    asks_database=False,
)
RELOAD = Operation(
    "reload",
    "POST",
    "/reload",
    reload,
    "Take over the changed configuration of the portal's host; one that is wrong changes nothing.",
    Role.ADMIN,
    "manage",
    body={"dry_run": flag("Validate and tell the changes; change nothing.")},
    verb="config.reload",
    asks_database=False,
)
OPERATIONS = (LIST_WORKERS, STATUS, SCALE, RELOAD)
