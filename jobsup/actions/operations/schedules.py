"""Time: what comes next, why something ran or did not, what is ahead, what a schedule means."""

from __future__ import annotations

from typing import Any

from jobsup.actions import jobs as actions
from jobsup.actions import why
from jobsup.actions.documents import run_document
from jobsup.actions.forecast import Outlook, outlook
from jobsup.actions.operations.base import Desk, Given, Operation, instant, several, whole
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.actions.why import Story
from jobsup.clock import rfc3339
from jobsup.errors import NotFoundError
from jobsup.model import Role

TICKS_MAX = 10_000
TICKS_DEFAULT = 10
DAYS_MAX, DAYS_DEFAULT = 366, 7
DIGITS = 3


def next_ticks(desk: Desk, given: Given) -> dict[str, Any]:
    now = desk.database.now()
    names = given["jobs"] or ()
    count = given["n"] or TICKS_DEFAULT
    ticks = actions.next_ticks(desk.database, names, after=given["after"] or now, count=count)
    return {
        "at": rfc3339(now),
        "next": [
            {
                "job": tick.job,
                "at": rfc3339(tick.at),
                "starts": rfc3339(tick.starts),
                "note": tick.note or None,
                "hosts": None if tick.hosts is None else list(tick.hosts),
            }
            for tick in ticks
        ],
        "waits": actions.waits_for(desk.database, names),
    }


def why_job(desk: Desk, given: Given) -> dict[str, Any]:
    name, at = given["name"], given["at"]
    return _story(why.about_job(desk.database, name) if at is None else why.about_instant(desk.database, name, at))


def why_run(desk: Desk, given: Given) -> dict[str, Any]:
    if given["id"] > RUN_ID_MAX:
        raise NotFoundError(f"no run {str(given['id'])[:40]}: see `jobsup runs`")
    return _story(why.about_run(desk.database, given["id"]))


def forecast(desk: Desk, given: Given) -> dict[str, Any]:
    days = given["days"] or DAYS_DEFAULT
    return _forecast(outlook(desk.database, days=days, names=given["jobs"] or ()), days)


def _story(story: Story) -> dict[str, Any]:
    return {
        "job": story.job,
        "at": rfc3339(story.at),
        "outcome": story.outcome,
        "why": list(story.sentences),
        "runs": [run_document(run) for run in story.runs],
        "next_run": rfc3339(story.next_run),
    }


def _forecast(found: Outlook, days: int) -> dict[str, Any]:
    told = found.forecast
    return {
        "start": rfc3339(told.start),
        "days": days,
        "jobs": found.jobs,
        "peak": round(told.peak, DIGITS),
        "running": [round(value, DIGITS) for value in told.running],
        "starts": [round(value, DIGITS) for value in told.starts],
        "collisions": [{"at": rfc3339(each.at), "starts": each.starts} for each in told.collisions],
        "pools": [{"pool": pool, "places": places} for pool, places in found.pools.items()],
        "overloads": [
            {
                "pool": each.pool,
                "places": each.places,
                "start": rfc3339(each.start),
                "end": rfc3339(each.end),
                "peak": round(each.peak, DIGITS),
            }
            for each in told.overloads
        ],
        "notes": [{"at": rfc3339(each.at), "job": each.job, "note": each.note} for each in told.notes],
        "blackouts": [
            {"name": each.name, "policy": each.policy, "start": rfc3339(each.start), "end": rfc3339(each.end)}
            for each in found.blackouts
        ],
        "unknown_durations": list(found.unknown),
    }


NEXT_TICKS = Operation(
    "nextTicks",
    "GET",
    "/next",
    next_ticks,
    "List the next ticks of all jobs, the soonest first.",
    Role.VIEWER,
    "read",
    query={
        "jobs": several("Only of these jobs."),
        "n": whole("How many.", 1, TICKS_MAX, default=TICKS_DEFAULT),
        "after": instant("Those after this instant; else after now."),
    },
)
WHY_JOB = Operation(
    "whyJob",
    "GET",
    "/jobs/{name}/why",
    why_job,
    "Say why a job ran, or did not.",
    Role.VIEWER,
    "read",
    query={"at": instant("The instant of the tick; else what happened last.")},
)
WHY_RUN = Operation("whyRun", "GET", "/runs/{id:int}/why", why_run, "Say why a run is what it is.", Role.VIEWER, "read")
FORECAST = Operation(
    "forecast",
    "GET",
    "/forecast",
    forecast,
    "Tell how many runs will go on, minute by minute.",
    Role.VIEWER,
    "read",
    query={
        "jobs": several("Only of these jobs."),
        "days": whole("How far ahead.", 1, DAYS_MAX, default=DAYS_DEFAULT),
    },
)
OPERATIONS = (NEXT_TICKS, WHY_JOB, WHY_RUN, FORECAST)
