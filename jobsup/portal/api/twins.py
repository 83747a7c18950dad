"""What only the pages show, as documents: the overview, a job's slots, the timeline, the calendar, what is kept."""

from __future__ import annotations

import asyncio
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from typing import Any

from starlette.responses import Response

from jobsup.actions.explain import explain_one
from jobsup.actions.operations.base import instant, several, text, whole
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.clock import rfc3339
from jobsup.errors import UsageError
from jobsup.model import Role
from jobsup.portal.api.documents import check_text, document, read_body, read_query
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.calendar import YEAR_MAX, YEAR_MIN, year_of
from jobsup.portal.views.job import settings_of, slots_of
from jobsup.portal.views.overview import overview_of
from jobsup.portal.views.retention import DAYS_MAX, retention_of
from jobsup.store import history, job_lines, jobs
from jobsup.store.engine import Database

PLACES = {
    "before": whole("Only those with a lower number: the next page.", 1, RUN_ID_MAX),
    "after": whole("Only those with a higher number: the page before.", 1, RUN_ID_MAX),
}
KINDS = ("cron", "on_calendar", "at", "anchor", "timezone", "dst")
EXPRESSION_CHARS_MAX = 1000
N_SHOWN_MAX = 1000
TIMELINE = {
    "from": instant("Its beginning; else four hours before its end."),
    "to": instant("Its end; else now."),
    "jobs": several("Only of these jobs."),
}
CALENDAR = {
    "year": whole("Which; else the present one.", YEAR_MIN, YEAR_MAX),
    "job": text("Only of this job."),
}
RETENTION = {"days": whole("Count the runs that ended longer ago; else those past their time.", 0, DAYS_MAX)}
DAY_COUNTS = ("good", "bad", "other", "due")
EXPLAIN = {
    **{key: text(f"As in a [[job]] table: {key}.", most=EXPRESSION_CHARS_MAX) for key in KINDS},
    "every": text('An interval, such as "90s".'),
    "calendar": {"type": "object", "description": "As in a [[job]] table."},
    "schedules": {
        "type": "array",
        "items": {"type": "object"},
        "maxItems": 100,
        "description": "Further ones.",
    },
    "after": text("Instants after this one; else after now."),
    "n": whole("How many.", 0, N_SHOWN_MAX),
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


async def settings(call: Call) -> Response:
    """Answer with every setting of a job's definition, and who says it: the job, `[defaults]` or nobody."""
    read_query(call.request, {})
    name = check_text(call.path["name"], "name")
    facts = await call.ask(lambda database: jobs.get_job(database, name))
    found = settings_of(facts.spec, call.site.config.defaults)
    return document({"job": facts.name, "config_hash": facts.config_hash, "settings": plain(found)})


async def retention(call: Call) -> Response:
    """Answer with how much history there is, and how much of it is past a number of days."""
    days = read_query(call.request, RETENTION).get("days")
    keep = call.site.config.scheduler.cleanup_retention_days
    return document(plain(await call.ask(lambda database: retention_of(database, keep, days))))


async def timeline(call: Call) -> Response:
    """Answer with the runs that were under way in a stretch of time."""
    given = read_query(call.request, TIMELINE)
    names = set(given.get("jobs", ()))

    def read(database: Database) -> dict[str, Any]:
        end = given.get("to") or database.now()
        start = given.get("from") or end - TIMELINE_DEFAULT
        if start >= end:
            raise UsageError("from must lie before to")
        known = job_lines.names(database)
        ids = [number for number, name in known.items() if name in names] if names else None
        runs, is_cut = history.window(database, start, end, job_ids=ids)
        shown = [{**plain(run), "job": known.get(run.job_id)} for run in runs]
        return {"from": rfc3339(start), "to": rfc3339(end), "runs": shown, "is_cut": is_cut}

    return document(await call.ask(read))


async def calendar(call: Call) -> Response:
    """Answer with the days of a year: what ended on each, well or not, and for one job what is due."""
    given = read_query(call.request, CALENDAR)
    year, tallies = given.get("year") or call.site.clock.now().year, call.site.tallies
    found = await call.ask(lambda database: year_of(database, tallies, year, given.get("job", "")))
    days = [{key: plain(getattr(day, key)) for key in ("date", *DAY_COUNTS)} for day in found.days]
    return document({"year": year, "job": found.job, "days": days})


async def explain(call: Call) -> Response:
    """Answer with what a schedule means, when it fires next, and what is odd about it."""
    asked = await read_body(call.request, EXPLAIN)
    return document(await asyncio.to_thread(explain_one, asked, call.site.clock.now()))


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
    if isinstance(value, date):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value


ENTRIES = (
    Entry("GET", "/api/v1/overview", overview, Role.VIEWER, "Say what fails, is late, runs.", "read", "overview"),
    Entry("GET", "/api/v1/jobs/{name}/slots", slots, Role.VIEWER, "List a job's ticks.", "read", "listSlots", PLACES),
    Entry("GET", "/api/v1/jobs/{name}/config", settings, Role.VIEWER, "Show a job's settings.", "read", "showSettings"),
    Entry(
        "GET", "/api/v1/retention", retention, Role.ADMIN, "Tell how much is kept.", "manage", "retention", RETENTION
    ),
    Entry("GET", "/api/v1/timeline", timeline, Role.VIEWER, "List what ran when.", "read", "timeline", TIMELINE),
    Entry("GET", "/api/v1/calendar", calendar, Role.VIEWER, "Count what ended, by day.", "read", "calendar", CALENDAR),
    Entry(
        "POST",
        "/api/v1/explain",
        explain,
        Role.VIEWER,
        "Say what a schedule means, and when it fires.",
        "read",
        "explain",
        body=EXPLAIN,
    ),
)
