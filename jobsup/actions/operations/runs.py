"""Runs: listing them, one with its story, ending and repeating them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from jobsup.actions import prune
from jobsup.actions import runs as actions
from jobsup.actions.documents import run_document
from jobsup.actions.operations.base import Desk, Given, Operation, flag, instant, numbers, several, text, whole
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.actions.serving import lacks
from jobsup.config import durations
from jobsup.errors import JobsupError, NotFoundError, UsageError
from jobsup.model import Role, Status
from jobsup.store import history, jobs, overview, slots

LAST_DEFAULT = 50
LAST_MAX = 10_000
BULK_MAX = 500
AGE_SECONDS_MAX = 100 * 366 * 86400


def list_runs(desk: Desk, given: Given) -> dict[str, Any]:
    """List runs, the newest first, and where the next page begins."""
    job = given["job"]
    wanted = history.Wanted(
        job_id=jobs.get_job(desk.database, job).job_id if job else None,
        statuses=frozenset(Status(each) for each in given["status"] or ()),
        since=given["since"],
    )
    found, older = [], given["before"]
    left = given["last"] or LAST_DEFAULT
    while left > 0:
        page = history.page(desk.database, wanted, before=older, rows=min(left, history.PAGE_ROWS_MAX))
        ids = [run.id for run in page.runs]
        found += overview.runs(desk.database, ids=ids, last=len(ids)) if ids else []
        left, older = left - len(ids), page.older
        if older is None:
            break
    missing = lacks(desk.database, found)
    return {"runs": [run_document(run, missing.get(run.id)) for run in found], "before": older}


def show_run(desk: Desk, given: Given) -> dict[str, Any]:
    run = actions.get(desk.database, _number(given))
    lack = lacks(desk.database, [run]).get(run.id)
    return {"run": run_document(run, lack), "attempts": list(slots.attempts(desk.database, run.id))}


def find_run(desk: Desk, given: Given) -> dict[str, Any]:
    """Find the run that a number or a job's name means: the job's last one that has, or will have, output."""
    number = actions.find(desk.database, given["target"] or "", to_follow=bool(given["follow"]))
    return show_run(desk, {"id": number})


def cancel_run(desk: Desk, given: Given) -> dict[str, Any]:
    number = _number(given)
    before = actions.get(desk.database, number).status
    after = actions.cancel(desk.database, number, desk.by)
    desk.detail = {"before": before, "after": after}
    return {"run": run_document(actions.get(desk.database, number))}


def retry_run(desk: Desk, given: Given) -> dict[str, Any]:
    new = actions.retry(desk.database, _number(given), desk.by)
    desk.detail = {"run": new}
    return {"run": run_document(actions.get(desk.database, new))}


def cancel_runs(desk: Desk, given: Given) -> dict[str, Any]:
    return _each(desk, given, lambda number: _cancelled(desk, number))


def retry_runs(desk: Desk, given: Given) -> dict[str, Any]:
    return _each(desk, given, lambda number: actions.retry(desk.database, number, desk.by))


def prune_runs(desk: Desk, given: Given) -> dict[str, Any]:
    """Delete runs that ended long ago, or (`dry_run`) count them."""
    if given["older_than_seconds"] is None:
        raise UsageError("older_than_seconds is missing: how long ago the runs that go have ended")
    age, dry_run = timedelta(seconds=given["older_than_seconds"]), bool(given["dry_run"])
    desk.subjects, desk.detail = [f"older than {durations.format_duration(age)}"], {"dry_run": dry_run}
    done = prune.Pruned(0, prune.count(desk.database, age)) if dry_run else prune.prune(desk.database, age)
    desk.detail |= {"deleted": done.deleted, "left": done.left}
    return {"deleted": done.deleted, "left": done.left}


def _cancelled(desk: Desk, number: int) -> int:
    actions.cancel(desk.database, number, desk.by)
    return number


def _each(desk: Desk, given: Given, act: Callable[[int], int]) -> dict[str, Any]:
    """Do the same to each run; one that refuses is told and does not hold up the others."""
    done, refused = [], []
    if not given["ids"]:
        raise UsageError("ids is missing: the numbers of the runs")
    for number in dict.fromkeys(given["ids"]):
        desk.subjects.append(str(number))
        try:
            done.append(run_document(actions.get(desk.database, act(number))))
        except JobsupError as error:
            refused.append({"id": number, "detail": str(error), "exit_code": int(error.exit_code)})
    desk.detail = {"refused": [each["id"] for each in refused]}
    return {"runs": done, "refused": refused}


def _number(given: Given) -> int:
    number: int = given["id"]
    if number > RUN_ID_MAX:
        raise NotFoundError(f"no run {str(number)[:40]}: see `jobsup runs`")
    return number


IDS = {"ids": numbers("The numbers of the runs.", most=BULK_MAX, largest=RUN_ID_MAX)}

LIST_RUNS = Operation(
    "listRuns",
    "GET",
    "/runs",
    list_runs,
    "List runs, the newest first.",
    Role.VIEWER,
    "read",
    query={
        "job": text("Only of this job."),
        "status": several("Only in these states.", words=tuple(Status)),
        "since": instant("Only those made since this instant."),
        "before": whole("Only those with a lower number: the next page.", 1, RUN_ID_MAX),
        "last": whole("How many.", 1, LAST_MAX, default=LAST_DEFAULT),
    },
)
FIND_RUN = Operation(
    "findRun",
    "GET",
    "/runs/find",
    find_run,
    "Find a run by its number, or the last run of a job by the job's name.",
    Role.VIEWER,
    "read",
    query={
        "target": text("A run's number, or a job's name."),
        "follow": flag("Rather one that goes on, or will."),
    },
)
SHOW_RUN = Operation(
    "showRun", "GET", "/runs/{id:int}", show_run, "Show a run, and which its attempts are.", Role.VIEWER, "read"
)
CANCEL_RUN = Operation(
    "cancelRun",
    "POST",
    "/runs/{id:int}/cancel",
    cancel_run,
    "End a run.",
    Role.OPERATOR,
    "cancel",
    verb="run.cancel",
    subject="id",
)
RETRY_RUN = Operation(
    "retryRun",
    "POST",
    "/runs/{id:int}/retry",
    retry_run,
    "Run it once more; a retry that waits for its time starts now.",
    Role.OPERATOR,
    "run",
    verb="run.retry",
    subject="id",
    status=201,
)
CANCEL_RUNS = Operation(
    "cancelRuns",
    "POST",
    "/runs/cancel",
    cancel_runs,
    "End several runs; each is tried, and what was refused is told.",
    Role.OPERATOR,
    "cancel",
    body=IDS,
    verb="run.cancel",
)
RETRY_RUNS = Operation(
    "retryRuns",
    "POST",
    "/runs/retry",
    retry_runs,
    "Run several once more; each is tried, and what was refused is told.",
    Role.OPERATOR,
    "run",
    body=IDS,
    verb="run.retry",
)
PRUNE_RUNS = Operation(
    "pruneRuns",
    "POST",
    "/runs/prune",
    prune_runs,
    "Delete runs that ended long ago, with their output; `left` says how many are to be deleted by asking again.",
    Role.ADMIN,
    "manage",
    body={
        "older_than_seconds": whole("How long ago they ended.", 0, AGE_SECONDS_MAX),
        "dry_run": flag("Only count them, as `left`."),
    },
    verb="runs.prune",
)
OPERATIONS = (LIST_RUNS, FIND_RUN, SHOW_RUN, CANCEL_RUN, RETRY_RUN, CANCEL_RUNS, RETRY_RUNS, PRUNE_RUNS)
