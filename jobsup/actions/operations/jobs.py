"""Jobs: listing them, running one, pausing and resuming."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

from jobsup.actions import backfill as backfills
from jobsup.actions import define, runs, serving, standings
from jobsup.actions import jobs as actions
from jobsup.actions.accounts import day_document
from jobsup.actions.documents import definition, job_document, run_document
from jobsup.actions.operations.base import (
    CLI,
    Desk,
    Given,
    Operation,
    flag,
    instant,
    several,
    text,
    whole,
)
from jobsup.clock import rfc3339
from jobsup.errors import ConfigError, NotFoundError, UsageError
from jobsup.model import Origin, Role, Status
from jobsup.store import job_days, jobs, overview, requests, slots
from jobsup.store.jobs import JobFacts

LAST_RUNS = 5
DAYS_SHOWN = timedelta(days=30)
"""Runs that are shown with a job."""
REASON_CHARS_MAX = 200
PAUSE_REASON_CHARS_MAX = 1000
PARALLEL_MAX = 256
TOML_CHARS_MAX = 1 << 20


def list_jobs(desk: Desk, given: Given) -> dict[str, Any]:
    now = desk.database.now()
    found = jobs.list_jobs(desk.database, tag=given["tag"], include_retired=bool(given["all"]))
    if given["paused"]:
        found = [facts for facts in found if facts.is_paused(now)]
    documents = [job_document(facts, now) for facts in found]
    wanted = given["state"]
    return {"jobs": [each for each in documents if wanted in (None, each["state"])]}


def show_job(desk: Desk, given: Given) -> dict[str, Any]:
    facts = jobs.get_job(desk.database, given["name"])
    document = job_document(facts, desk.database.now())
    starts = slots.dependents(desk.database, facts.job_id)
    last = overview.runs(desk.database, job=facts.name, last=LAST_RUNS)
    days = job_days.read(desk.database, facts.job_id, since=(desk.database.now() - DAYS_SHOWN).date())
    return {
        "job": {**document, "starts": starts, "definition": definition(facts)},
        "runs": [run_document(run) for run in last],
        "days": [day_document(day) for day in days],
    }


def run_job(desk: Desk, given: Given) -> dict[str, Any]:
    """Make a run; with a key the same request makes one, however often it comes."""
    name, reason = given["name"], given["reason"]
    params = _texts(given["params"] or {})
    desk.detail = {"params": sorted(params), "reason": reason}
    force, on = bool(given["force"]), given["on"] or ""
    others: list[int] = []

    def make() -> int:
        by = desk.because(reason)
        made = runs.run(desk.database, name, params, by=by, at=given["at"], force=force, on=on)
        others.extend(each.dispatch_id for each in made.others)
        return made.dispatch_id

    if given["key"]:
        asked = json.dumps([name, params, rfc3339(given["at"]), force, reason, on], sort_keys=True)
        first, is_new = requests.once(desk.database, f"{desk.by}/{given['key']}", asked, make)
    else:
        first, is_new = make(), True
    desk.detail["runs"] = [first, *others]
    made = [_made(desk, number) for number in (first, *others)]
    return {"run": made[0], "others": made[1:], "created": is_new}


def pause_job(desk: Desk, given: Given) -> dict[str, Any]:
    return {"job": _pause(desk, given, [given["name"]])[0]}


def pause_jobs(desk: Desk, given: Given) -> dict[str, Any]:
    return {"jobs": _pause(desk, given, _chosen(desk, given))}


def resume_job(desk: Desk, given: Given) -> dict[str, Any]:
    _resume(desk, [given["name"]])
    return {"job": job_document(jobs.get_job(desk.database, given["name"]), desk.database.now())}


def resume_jobs(desk: Desk, given: Given) -> dict[str, Any]:
    return {"jobs": _resume(desk, _chosen(desk, given))}


def save_job(desk: Desk, given: Given) -> dict[str, Any]:
    """Save the TOML of one job that stands in no file, or (`dry_run`) only look at it."""
    if not given["toml"]:
        raise UsageError("toml is missing: one [[job]] table")
    config, database = desk.config(), desk.database
    name = define.known_name(database, given["toml"])
    draft = define.look(database, config, given["toml"], name=name)
    if draft.spec is None:
        raise ConfigError(draft.problems)
    desk.subjects = [draft.spec.name]
    desk.detail = {"changes": list(draft.changes), "dry_run": bool(given["dry_run"])}
    if not given["dry_run"]:
        is_cli = desk.origin == CLI
        define.save_job(
            database,
            config,
            given["toml"],
            origin=Origin.CLI if is_cli else Origin.PORTAL,
            name=name,
            replaces=given["replaces"],
            may_change_work=is_cli or config.portal.allow_edit_commands,
        )
    return {
        "job": draft.spec.name,
        "changes": list(draft.changes),
        "warnings": [str(warning) for warning in draft.warnings],
        "saved": not given["dry_run"],
    }


def remove_job(desk: Desk, given: Given) -> dict[str, Any]:
    define.remove_job(desk.database, given["name"])
    return {"job": given["name"], "removed": True}


def backfill_job(desk: Desk, given: Given) -> dict[str, Any]:
    """Make a run for each tick of a time gone by that has none, or (`dry_run`) tell which those are."""
    if given["from"] is None:
        raise UsageError("from is missing: the first tick to run")
    limit = given["limit"] or backfills.LIMIT_DEFAULT
    found = backfills.survey(desk.database, given["name"], given["from"], given["to"], limit=limit)
    told = {"job": found.job.name, "already_run": found.done, "left": found.left}
    if given["dry_run"]:
        desk.detail["dry_run"] = True
        return {**told, "ticks": [rfc3339(tick) for tick in found.ticks], "runs": []}
    parallel = given["max_parallel"] or 1
    made = backfills.fill(desk.database, found, by=desk.by, max_parallel=parallel) if found.ticks else []
    desk.detail.update({"from": rfc3339(found.start), "to": rfc3339(found.end), "runs": len(made)})
    return {**told, "ticks": [rfc3339(tick) for tick in found.ticks], "runs": made}


def cancel_backfill(desk: Desk, given: Given) -> dict[str, Any]:
    count = backfills.cancel(desk.database, given["name"], desk.by)
    desk.detail["cancelled"] = count
    return {"job": given["name"], "cancelled": count}


def _chosen(desk: Desk, given: Given) -> list[str]:
    desk.subjects = actions.choose(desk.database, given["jobs"] or (), every=bool(given["all"]), tag=given["tag"])
    return desk.subjects


def _pause(desk: Desk, given: Given, names: list[str]) -> list[dict[str, Any]]:
    _tell_before(desk, names)
    paused = actions.pause(desk.database, names, by=desk.by, reason=given["reason"] or None, until=given["until"])
    return _tell_after(desk, paused)


def _resume(desk: Desk, names: list[str]) -> list[dict[str, Any]]:
    _tell_before(desk, names)
    return _tell_after(desk, actions.resume(desk.database, names))


def _tell_before(desk: Desk, names: list[str]) -> None:
    with suppress(NotFoundError):  # what follows says so
        found = jobs.find_jobs(desk.database, names)
        desk.details = {facts.name: {"before": standings.of_pause(facts)} for facts in found}


def _tell_after(desk: Desk, changed: list[JobFacts]) -> list[dict[str, Any]]:
    for facts in changed:
        desk.details.setdefault(facts.name, {})["after"] = standings.of_pause(facts)
    return [job_document(facts, desk.database.now()) for facts in changed]


def _texts(params: Given) -> dict[str, str]:
    """Return a run's parameters as the text that the command line would be given."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, list | dict) or value is None:
            raise UsageError(f"parameter {name} must be a text, a number, true or false")
        found[name] = value if isinstance(value, str) else json.dumps(value)
    return found


def _made(desk: Desk, number: int) -> dict[str, Any]:
    """Return a new run, and what is missing when nobody is there to take it, also when it starts later."""
    run = runs.get(desk.database, number)
    is_waiting = run.status is Status.PENDING
    lack = serving.lack(serving.living(desk.database), serving.asked_by(run)) if is_waiting else None
    return run_document(run, lack)


STATES = ("active", "paused", "disabled", "manual", "ended", "removed")
CHOICE = {
    "jobs": several("These jobs."),
    "all": flag("All jobs."),
    "tag": text("All jobs with this tag."),
}
PAUSE = {
    "until": instant("When it ends by itself."),
    "reason": text("Why.", most=PAUSE_REASON_CHARS_MAX),
}
PARAMS = {"type": "object", "description": "The job's parameters.", "maxProperties": 200}

LIST_JOBS = Operation(
    "listJobs",
    "GET",
    "/jobs",
    list_jobs,
    "List the jobs by name.",
    Role.VIEWER,
    "read",
    query={
        "tag": text("Only jobs with this tag."),
        "state": text("Only those in this state.", enum=list(STATES)),
        "paused": flag("Only paused ones."),
        "all": flag("Also those that were removed from their file."),
    },
)
SHOW_JOB = Operation(
    "showJob", "GET", "/jobs/{name}", show_job, "Show a job with its definition and last runs.", Role.VIEWER, "read"
)
RUN_JOB = Operation(
    "runJob",
    "POST",
    "/jobs/{name}/run",
    run_job,
    "Run a job now.",
    Role.OPERATOR,
    "run",
    body={
        "params": PARAMS,
        "at": instant("When it starts; else now."),
        "force": flag("Also when the job is paused or disabled."),
        "on": text("The host it runs on; else where its definition says."),
        "reason": text("Why; it is written beside the name.", most=REASON_CHARS_MAX),
    },
    verb="job.run",
    subject="name",
    status=201,
    has_key=True,
)
PAUSE_JOB = Operation(
    "pauseJob",
    "POST",
    "/jobs/{name}/pause",
    pause_job,
    "Pause a job.",
    Role.OPERATOR,
    "pause",
    body=PAUSE,
    verb="job.pause",
    subject="name",
)
PAUSE_JOBS = Operation(
    "pauseJobs",
    "POST",
    "/jobs/pause",
    pause_jobs,
    "Pause several jobs, all or none.",
    Role.OPERATOR,
    "pause",
    body={**CHOICE, **PAUSE},
    verb="job.pause",
)
RESUME_JOB = Operation(
    "resumeJob",
    "POST",
    "/jobs/{name}/resume",
    resume_job,
    "Resume a paused job.",
    Role.OPERATOR,
    "pause",
    verb="job.resume",
    subject="name",
)
RESUME_JOBS = Operation(
    "resumeJobs",
    "POST",
    "/jobs/resume",
    resume_jobs,
    "Resume several jobs; answers with those that were paused.",
    Role.OPERATOR,
    "pause",
    body=CHOICE,
    verb="job.resume",
)
BACKFILL_JOB = Operation(
    "backfillJob",
    "POST",
    "/jobs/{name}/backfill",
    backfill_job,
    "Run a job for ticks of a time gone by.",
    Role.OPERATOR,
    "run",
    body={
        "from": instant("The first tick at this time, or after."),
        "to": instant("The last one; else now."),
        "limit": whole("Runs made at most.", 1, backfills.LIMIT_MAX),
        "max_parallel": whole("Runs at a time.", 1, PARALLEL_MAX),
        "dry_run": flag("Only tell what would run."),
    },
    verb="job.backfill",
    subject="name",
)
CANCEL_BACKFILL = Operation(
    "cancelBackfill",
    "POST",
    "/jobs/{name}/backfill/cancel",
    cancel_backfill,
    "End what waits of a job's backfills.",
    Role.OPERATOR,
    "cancel",
    verb="job.backfill_cancel",
    subject="name",
)
SAVE_JOB = Operation(
    "saveJob",
    "POST",
    "/jobs",
    save_job,
    "Save a job that stands in no file, new or changed.",
    Role.AUTHOR,
    "edit",
    body={
        "toml": text("One [[job]] table.", most=TOML_CHARS_MAX),
        "replaces": text("The config_hash it must have had; else any."),
        "dry_run": flag("Only tell what would change."),
    },
    verb="job.save",
)
REMOVE_JOB = Operation(
    "removeJob",
    "DELETE",
    "/jobs/{name}",
    remove_job,
    "Take a job that stands in no file out of service; its history stays.",
    Role.AUTHOR,
    "edit",
    verb="job.remove",
    subject="name",
)
OPERATIONS = (
    LIST_JOBS,
    SHOW_JOB,
    SAVE_JOB,
    REMOVE_JOB,
    RUN_JOB,
    PAUSE_JOB,
    PAUSE_JOBS,
    RESUME_JOB,
    RESUME_JOBS,
    BACKFILL_JOB,
    CANCEL_BACKFILL,
)
