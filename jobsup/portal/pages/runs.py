"""The list of runs, and what is done to several of them at once."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

from starlette.responses import Response

from jobsup.actions import runs as actions
from jobsup.errors import JobsupError, UsageError
from jobsup.model import Role, Source, Status
from jobsup.portal.call import Call
from jobsup.portal.pages.keys import neighbours, number
from jobsup.portal.routes import Entry
from jobsup.portal.views.runs import Filter, runs_of
from jobsup.portal.views.words import command, why
from jobsup.store.engine import Database

BULK_MAX = 500
TOLD_MAX = 5
"""Refusals that are told word by word."""


async def runs(call: Call) -> Response:
    """Show the runs that the address asks for."""
    wanted = Filter.of(call.query)
    before, after = number(call, "before"), number(call, "after")
    found = await call.look(lambda database: runs_of(database, wanted, before=before, after=after))
    return call.page(
        "runs.html",
        found=found,
        wanted=wanted,
        statuses=tuple(Status),
        sources=tuple(Source),
        why=why,
        command=command,
        **neighbours(call, found.page),
    )


async def bulk(call: Call) -> Response:
    """Retry or cancel the runs that are ticked; each is tried, and what was refused is told."""
    form = await call.form()
    ids = [int(text) for text in form.getlist("id") if isinstance(text, str) and actions.is_run_id(text)]
    verb = await call.field("verb", required=True)
    if verb not in {"retry", "cancel"}:
        raise UsageError(f"{verb!r} is nothing that can be done to runs: retry or cancel")
    if not ids:
        raise UsageError("no run is ticked")
    done, refused = [], []
    for run_id in list(dict.fromkeys(ids))[:BULK_MAX]:
        work = partial(_retry if verb == "retry" else _cancel, run_id=run_id, by=call.by)
        try:
            done.append(await call.act(f"run.{verb}", str(run_id), work))
        except JobsupError as error:
            refused.append(str(error))
    told = [", ".join(done)] if done else []
    return call.go(f"/runs?{urlencode(Filter.of(call.query).query())}", "\n".join([*told, *refused[:TOLD_MAX]]))


def _retry(database: Database, run_id: int, by: str) -> str:
    return f"run {run_id} is retried as {actions.retry(database, run_id, by)}"


def _cancel(database: Database, run_id: int, by: str) -> str:
    ended = actions.cancel(database, run_id, by) is Status.CANCELLED
    return f"run {run_id} is {'cancelled' if ended else 'being cancelled'}"


ENTRIES = (
    Entry("GET", "/runs", runs, Role.VIEWER),
    Entry("POST", "/runs/bulk", bulk, Role.OPERATOR),
)
