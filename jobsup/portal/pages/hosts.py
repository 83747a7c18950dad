"""What is asked of this host's supervisor: how many workers it keeps."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from jobsup.control import client
from jobsup.errors import ConflictError, JobsupError, UsageError
from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry

WORKERS_MAX = 1024
SCALE_SECONDS_MAX = 20.0
ANSWER_SECONDS_MAX = 0.5
"""A page waits no longer than this for the supervisor of its host."""


async def scale(call: Call) -> Response:
    """Let this host have so many workers; those that are too many finish what they run."""
    text = await call.field("count", required=True)
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= WORKERS_MAX):
        raise UsageError(f"the workers must be a whole number from 0 to {WORKERS_MAX}, not {text[:20]!r}")
    request = {"do": "scale", "kind": "worker", "count": int(text)}
    children = (await asyncio.to_thread(processes, call)).get("children", [])
    before = sum(child.get("kind") == "worker" for child in children)

    def work(_: object) -> None:
        answer = client.call(call.site.socket, request, timeout=SCALE_SECONDS_MAX)
        if answer.get("exit_code"):
            raise ConflictError(str(answer.get("error") or "the supervisor refuses: its log says why"))

    await call.act("workers.scale", call.site.node, work, detail={"before": before, "after": int(text)})
    return call.go("/workers", f"{call.site.node}: {before} workers before, {text} from now on.")


def processes(call: Call) -> dict[str, Any]:
    """Return what the supervisor of this host says of its processes; nothing when none answers."""
    if not call.site.socket.exists():
        return {}
    try:
        answer = client.call(call.site.socket, {"do": "status"}, timeout=ANSWER_SECONDS_MAX)
    except (JobsupError, OSError):
        return {}
    return dict(answer.get("status") or answer)


ENTRIES = (Entry("POST", "/workers/scale", scale, Role.ADMIN),)
