"""The list of jobs, and what is done to several of them at once."""

from __future__ import annotations

from functools import partial
from typing import Protocol
from urllib.parse import urlencode

from starlette.responses import Response

from jobsup.actions import jobs as actions
from jobsup.actions import runs, standings
from jobsup.errors import JobsupError, UsageError
from jobsup.model import Role, Status
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.jobs import STATES, Filter, jobs_of
from jobsup.portal.views.words import REASONS, command
from jobsup.store.engine import Database

BULK_MAX = 500
"""Jobs that one form can change."""
TOLD_MAX = 5
"""Refusals that are told word by word."""


class Work(Protocol):
    """What is done to one job; it says what came of it."""

    def __call__(self, database: Database, name: str) -> str: ...


async def jobs(call: Call) -> Response:
    """Show the jobs that the address asks for."""
    wanted = Filter.of(call.query)
    found = await call.look(lambda database: jobs_of(database, wanted))
    more = f"/jobs?{urlencode({**wanted.query(), 'after': found.more_after})}" if found.more_after else ""
    return call.page("jobs.html", found=found, wanted=wanted, more=more, states=STATES, command=command)


async def bulk(call: Call) -> Response:
    """Run, pause or resume the jobs that are ticked; each is tried, and what was refused is told."""
    form = await call.form()
    names = list(dict.fromkeys(name for name in form.getlist("name") if isinstance(name, str)))[:BULK_MAX]
    verb = await call.field("verb", required=True)
    reason = await call.field("reason")
    if not names:
        raise UsageError("no job is ticked")
    work = _work(verb, call.by, reason)
    detail = {"reason": reason} if reason else {}
    done, refused = [], []
    for name in names:
        try:
            standing = None if verb == "run" else standings.of_job
            act = call.act(f"job.{verb}", name, partial(work, name=name), detail=detail, standing=standing)
            done.append(await act)
        except JobsupError as error:
            refused.append(str(error))
    told = [f"{len(done)} done: {', '.join(done)}"] if done else []
    told += refused[:TOLD_MAX]
    return call.go(f"/jobs?{urlencode(Filter.of(dict(call.query)).query())}", "\n".join(told))


def _work(verb: str, by: str, reason: str) -> Work:
    def run(database: Database, name: str) -> str:
        made = runs.run(database, name, {}, by=by)
        if made.status is Status.SKIPPED:
            return f"{name} skipped ({made.message or REASONS.get(made.reason, made.reason)})"
        return f"run {made.dispatch_id} of {name}"

    def pause(database: Database, name: str) -> str:
        actions.pause(database, [name], by=by, reason=reason or None)
        return name

    def resume(database: Database, name: str) -> str:
        actions.resume(database, [name])
        return name

    verbs: dict[str, Work] = {"run": run, "pause": pause, "resume": resume}
    if verb not in verbs:
        raise UsageError(f"{verb!r} is nothing that can be done to jobs: one of {', '.join(verbs)}")
    return verbs[verb]


ENTRIES = (
    Entry("GET", "/jobs", jobs, Role.VIEWER),
    Entry("POST", "/jobs/bulk", bulk, Role.OPERATOR),
)
