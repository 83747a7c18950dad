"""What only the pages show, as documents: the overview, a job's slots, the timeline, the configuration."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from jobsup.actions.operations.base import instant, several, whole
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.clock import rfc3339
from jobsup.config.show import effective
from jobsup.errors import UsageError
from jobsup.model import Role
from jobsup.portal.api.documents import check_text, document, read_query
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.job import slots_of
from jobsup.portal.views.overview import overview_of
from jobsup.store import history, job_lines
from jobsup.store.engine import Database

PLACES = {
    "before": whole("Only those with a lower number: the next page.", 1, RUN_ID_MAX),
    "after": whole("Only those with a higher number: the page before.", 1, RUN_ID_MAX),
}
TIMELINE = {
    "from": instant("Its beginning; else four hours before its end."),
    "to": instant("Its end; else now."),
    "jobs": several("Only of these jobs."),
}
TIMELINE_DEFAULT = timedelta(hours=4)


async def overview(call: Call) -> Response:
    """Answer with what fails, what is late, what runs and what comes next."""
    return document({"overview": plain(await call.ask(overview_of))})


async def slots(call: Call) -> Response:
    """Answer with a page of a job's ticks: those that ran, and those that did not, with the reason."""
    places, name = read_query(call.request, PLACES), check_text(call.path["name"], "name")
    before, after = places.get("before"), places.get("after")
    _, page = await call.ask(lambda database: slots_of(database, name, before=before, after=after))
    return document({"slots": plain(page.runs), "older": page.older, "newer": page.newer})


async def timeline(call: Call) -> Response:
    """Answer with the runs that were under way in a stretch of time."""
    given = read_query(call.request, TIMELINE)
    names = set(given.get("jobs", ()))

    def read(database: Database) -> dict[str, Any]:
        end = given.get("to") or database.now()
        start = given.get("from") or end - TIMELINE_DEFAULT
        if start >= end:
            raise UsageError("from must lie before to")
        known = {line.id: line.name for line in job_lines.job_lines(database)}
        ids = [number for number, name in known.items() if name in names] if names else None
        runs, is_cut = history.window(database, start, end, job_ids=ids)
        shown = [{**plain(run), "job": known.get(run.job_id)} for run in runs]
        return {"from": rfc3339(start), "to": rfc3339(end), "runs": shown, "is_cut": is_cut}

    return document(await call.ask(read))


async def config(call: Call) -> Response:
    """Answer with every setting in force, and where it is from; secrets are masked."""
    keys = ("key", "value", "origin")
    settings = [dict(zip(keys, row, strict=True)) for row in effective(call.site.config)]
    return document({"path": call.site.config.path, "settings": settings})


def plain(value: Any) -> Any:
    """Return a value as JSON has it: instants as RFC 3339, lengths of time in seconds, dataclasses as objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return rfc3339(value)
    return value.total_seconds() if isinstance(value, timedelta) else value


ENTRIES = (
    Entry("GET", "/api/v1/overview", overview, Role.VIEWER, "Say what fails, is late, runs.", "read", "overview"),
    Entry("GET", "/api/v1/jobs/{name}/slots", slots, Role.VIEWER, "List a job's ticks.", "read", "listSlots", PLACES),
    Entry("GET", "/api/v1/timeline", timeline, Role.VIEWER, "List what ran when.", "read", "timeline", TIMELINE),
    Entry("GET", "/api/v1/config", config, Role.ADMIN, "Show the settings in force.", "manage", "showConfig"),
)
