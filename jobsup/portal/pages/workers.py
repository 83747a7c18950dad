"""The hosts and their workers."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from jobsup.control import client
from jobsup.errors import JobsupError
from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.words import command
from jobsup.portal.views.workers import workers_of

ANSWER_SECONDS_MAX = 0.5
"""The page waits no longer than this for the supervisor of its host."""


async def workers(call: Call) -> Response:
    """Show who leads, who works, and this host's processes with their restarts."""
    found = await call.ask(workers_of)
    answer = await asyncio.to_thread(_processes, call)
    return call.page(
        "workers.html",
        found=found,
        children=answer.get("children", []),
        supervisor=answer.get("supervisor", {}),
        command=command,
    )


def _processes(call: Call) -> dict[str, Any]:
    """Return what the supervisor of this host says of its processes; nothing when none answers."""
    if not call.site.socket.exists():
        return {}
    try:
        answer = client.call(call.site.socket, {"do": "status"}, timeout=ANSWER_SECONDS_MAX)
    except (JobsupError, OSError):
        return {}
    return dict(answer.get("status") or answer)


ENTRIES = (Entry("GET", "/workers", workers, Role.VIEWER),)
