"""The hosts and their workers."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.pages.hosts import processes
from jobsup.portal.routes import Entry
from jobsup.portal.views.words import command
from jobsup.portal.views.workers import workers_of


async def workers(call: Call) -> Response:
    """Show who leads, who works, and this host's processes with their restarts."""
    found = await call.ask(workers_of)
    answer = await asyncio.to_thread(processes, call)
    return call.page(
        "workers.html",
        found=found,
        children=answer.get("children", []),
        supervisor=answer.get("supervisor", {}),
        command=command,
    )


ENTRIES = (Entry("GET", "/workers", workers, Role.VIEWER),)
