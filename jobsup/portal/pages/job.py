"""One job: its parts, and what is done to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from jobsup.actions import jobs as actions
from jobsup.actions import runs, standings
from jobsup.config import durations
from jobsup.errors import UsageError
from jobsup.model import Role, Status
from jobsup.portal.call import Call
from jobsup.portal.pages.keys import neighbours, number
from jobsup.portal.routes import Entry
from jobsup.portal.views import job as views
from jobsup.portal.views.words import REASONS, command, on_clock, told, why
from jobsup.store import audit, history, hosts
from jobsup.store.engine import Database
from jobsup.store.history import Wanted

PARAM_PREFIX = "param."
REASON_CHARS_MAX = 200


async def summary(call: Call) -> Response:
    """Show where the job stands and when it runs next."""
    found = await call.look(lambda database: views.summary_of(database, _name(call)))
    return call.page("job.html", found=found, **_context(found.head))


async def slots(call: Call) -> Response:
    """Show what became of each tick, and why."""
    before, after = number(call, "before"), number(call, "after")
    head, page = await call.ask(lambda database: views.slots_of(database, _name(call), before=before, after=after))
    return call.page("job_slots.html", page=page, **neighbours(call, page), **_context(head))


async def job_runs(call: Call) -> Response:
    """Show the job's runs, the newest first."""
    before, after = number(call, "before"), number(call, "after")

    def read(database: Database) -> tuple[views.Head, history.Page]:
        head = views.head_of(database, _name(call))
        return head, history.page(database, Wanted(job_id=head.facts.job_id), before=before, after=after)

    head, page = await call.ask(read)
    return call.page("job_runs.html", page=page, **neighbours(call, page), **_context(head))


async def config(call: Call) -> Response:
    """Show the whole definition, defaults filled in."""
    head = await call.ask(lambda database: views.head_of(database, _name(call)))
    settings = views.settings_of(head.facts.spec, call.site.config.defaults)
    return call.page("job_config.html", settings=settings, **_context(head))


async def job_audit(call: Call) -> Response:
    """Show who did what to the job."""

    def read(database: Database) -> tuple[views.Head, list[audit.AuditRow]]:
        head = views.head_of(database, _name(call))
        return head, audit.entries(database, subject=head.name)

    head, rows = await call.ask(read)
    return call.page("job_audit.html", rows=rows, **_context(head))


async def run_form(call: Call) -> Response:
    """Ask for the parameters of a run."""
    return await _run_form(call, {}, "")


async def _run_form(call: Call, given: Mapping[str, str], error: str) -> Response:
    head, nodes = await call.ask(lambda database: (views.head_of(database, _name(call)), hosts.known(database)))
    status = 422 if error else 200
    return call.page("job_run.html", status=status, given=given, error=error, nodes=nodes, **_context(head))


async def run_now(call: Call) -> Response:
    """Make a run and go to it; wrong parameters bring the form back with what was typed."""
    name = _name(call)
    form = await call.form()
    given = {
        key.removeprefix(PARAM_PREFIX): value
        for key, value in form.items()
        if key.startswith(PARAM_PREFIX) and isinstance(value, str) and value != ""
    }
    reason = (await call.field("reason"))[:REASON_CHARS_MAX]
    by = f"{call.by} ({reason})" if reason else call.by
    is_forced, node = await call.field("force") == "yes", await call.field("on")
    try:
        made = await call.act(
            "job.run",
            name,
            lambda database: runs.run(database, name, given, by=by[:255], force=is_forced, on=node),
            detail={"params": sorted(given), "reason": reason, "on": node or None},
        )
    except UsageError as error:
        return await _run_form(call, given, str(error))
    if made.others:
        numbers = ", ".join(str(each.dispatch_id) for each in (made, *made.others))
        return call.go(f"{_path(name)}/runs", f"One run for each host: {numbers}.")
    said = f"Skipped: {made.message}" if made.status is Status.SKIPPED and made.message else ""
    return call.go(f"/runs/{made.dispatch_id}", said)


async def pause(call: Call) -> Response:
    """Pause the job: for a time, or until somebody resumes it."""
    name = _name(call)
    reason = (await call.field("reason"))[:REASON_CHARS_MAX]
    length = _duration(await call.field("for"))

    def work(database: Database) -> None:
        until = None if length is None else database.now() + length
        actions.pause(database, [name], by=call.by, reason=reason or None, until=until)

    await call.act("job.pause", name, work, standing=standings.of_job)
    return call.go(_path(name), f"{name} is paused.")


async def resume(call: Call) -> Response:
    """Let the job run by its schedule again."""
    name = _name(call)
    resumed = await call.act(
        "job.resume", name, lambda database: actions.resume(database, [name]), standing=standings.of_job
    )
    return call.go(_path(name), f"{name} runs again." if resumed else f"{name} was not paused.")


def _duration(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        return durations.parse(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"for: {error}") from None


def _name(call: Call) -> str:
    return str(call.path["name"])


def _path(name: str) -> str:
    return f"/jobs/{quote(name, safe='')}"


def _context(head: views.Head) -> dict[str, Any]:
    path = _path(head.name)
    parts = (("", "Summary"), ("/slots", "Slots"), ("/runs", "Runs"), ("/config", "Config"), ("/audit", "Audit"))
    tabs = [(f"{path}{part}", label) for part, label in parts]
    words = {"command": command, "reasons": REASONS, "why": why, "told": told, "on_clock": on_clock}
    return {"head": head, "job_path": path, "tabs": tabs, **words}


ENTRIES = (
    Entry("GET", "/jobs/{name}", summary, Role.VIEWER),
    Entry("GET", "/jobs/{name}/slots", slots, Role.VIEWER),
    Entry("GET", "/jobs/{name}/runs", job_runs, Role.VIEWER),
    Entry("GET", "/jobs/{name}/config", config, Role.VIEWER),
    Entry("GET", "/jobs/{name}/audit", job_audit, Role.VIEWER),
    Entry("GET", "/jobs/{name}/run", run_form, Role.OPERATOR),
    Entry("POST", "/jobs/{name}/run", run_now, Role.OPERATOR),
    Entry("POST", "/jobs/{name}/pause", pause, Role.OPERATOR),
    Entry("POST", "/jobs/{name}/resume", resume, Role.OPERATOR),
)
