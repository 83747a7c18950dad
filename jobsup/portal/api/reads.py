"""What programs may look at."""

from __future__ import annotations

from starlette.responses import Response

from jobsup.actions import health, why
from jobsup.actions import runs as actions
from jobsup.actions.documents import (
    definition,
    job_document,
    job_state,
    run_document,
    summary_document,
    worker_document,
)
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.clock import rfc3339
from jobsup.control import client
from jobsup.errors import JobsupError, UsageError
from jobsup.model import Role, Status
from jobsup.portal.api.documents import LAST_DEFAULT, LAST_MAX, document, instant, whole
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.store import history, jobs, output, overview, workers
from jobsup.store.engine import Database

SUPERVISOR_SECONDS = 5.0
OUTPUT_BYTES_MAX = 1 << 20


async def list_jobs(call: Call) -> Response:
    tag, state = call.query.get("tag"), call.query.get("state")

    def read(database: Database) -> list[dict[str, object]]:
        now = database.now()
        found = jobs.list_jobs(database, tag=tag)
        return [job_document(each, now) for each in found if state in (None, "", job_state(each, now))]

    return document({"jobs": await call.ask(read)})


async def one_job(call: Call) -> Response:
    name = call.path["name"]

    def read(database: Database) -> dict[str, object]:
        facts = jobs.get_job(database, name)
        return {**job_document(facts, database.now()), "definition": definition(facts)}

    return document({"job": await call.ask(read)})


async def why_job(call: Call) -> Response:
    name, at = call.path["name"], instant(call.query.get("at"), "at")
    story = await call.ask(
        lambda database: why.about_job(database, name) if at is None else why.about_instant(database, name, at)
    )
    return document(
        {
            "job": story.job,
            "at": rfc3339(story.at),
            "outcome": story.outcome,
            "sentences": list(story.sentences),
            "runs": [run_document(run) for run in story.runs],
            "next_run": rfc3339(story.next_run),
        }
    )


async def list_runs(call: Call) -> Response:
    """Answer with a page of runs, the newest first, and where the next one begins."""
    rows = whole(call.query.get("last"), "last", LAST_DEFAULT, LAST_MAX)
    before_text = call.query.get("before")
    before = whole(before_text, "before", 1, RUN_ID_MAX) if before_text else None
    statuses, since = _statuses(call.query.get("status", "")), instant(call.query.get("since"), "since")
    job = call.query.get("job")

    def read(database: Database) -> tuple[list[dict[str, object]], int | None]:
        job_id = jobs.get_job(database, job).job_id if job else None
        wanted = history.Wanted(job_id=job_id, statuses=statuses, since=since)
        page = history.page(database, wanted, before=before, rows=rows)
        found = overview.runs(database, ids=[run.id for run in page.runs], last=rows) if page.runs else []
        return [run_document(run) for run in found], page.older

    found, older = await call.ask(read)
    return document({"runs": found, "before": older})


async def one_run(call: Call) -> Response:
    number = _run_id(call)
    run = await call.ask(lambda database: actions.get(database, number))
    return document({"run": run_document(run)})


async def run_output(call: Call) -> Response:
    """Answer with the very bytes that are kept of a run's output, from an offset on."""
    number = _run_id(call)
    start = whole(call.query.get("from"), "from", 0, RUN_ID_MAX, least=0)
    length = whole(call.query.get("len"), "len", OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX)
    found = await call.ask(lambda database: output.read(database, number))
    piece = found.output.data[start : start + length]
    return Response(
        piece,
        media_type="application/octet-stream",
        headers={
            "Jobsup-Output-Total": str(found.output.total),
            "Jobsup-Output-Dropped": str(found.output.dropped),
            "Jobsup-Output-Final": "true" if found.is_final else "false",
            "Content-Disposition": f'attachment; filename="run-{number}.log"',
        },
    )


async def list_workers(call: Call) -> Response:
    everything = call.query.get("all") == "true"
    found = await call.ask(lambda database: workers.list_workers(database, include_offline=everything))
    return document({"workers": [worker_document(row) for row in found]})


async def status(call: Call) -> Response:
    """Answer with what `jobsup status` judges by: this host's supervisor, and the database."""
    config, socket = call.site.config, call.site.socket

    def judge(database: Database) -> health.Health:
        supervisor: dict[str, object] = {}
        try:
            supervisor = client.call(socket, {"do": "status"}, timeout=SUPERVISOR_SECONDS)["status"]
        except (JobsupError, KeyError):
            supervisor = {}
        return health.judge(supervisor, database, set_name=config.set)

    found = await call.ask(judge)
    return document(
        {
            "state": found.state,
            "healthy": found.is_healthy,
            "problems": list(found.problems),
            "warnings": list(found.warnings),
            "work": None if found.work is None else summary_document(found.work),
        }
    )


def _run_id(call: Call) -> int:
    number: int = call.path["id"]
    if number > RUN_ID_MAX:
        raise UsageError(f"no run has so high a number: {str(number)[:40]}")
    return number


def _statuses(text: str) -> frozenset[Status]:
    """Read `FAILED,TIMEOUT`."""
    words = [word.strip().upper() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in Status.__members__]
    if unknown:
        raise UsageError(f"unknown status {unknown[0][:40]!r}: {', '.join(Status)}")
    return frozenset(Status(word) for word in words)


ENTRIES = (
    Entry(
        "GET",
        "/api/v1/jobs",
        list_jobs,
        Role.VIEWER,
        "List the jobs by name.",
        "read",
        {"tag": "Only jobs with this tag.", "state": "Only active, paused, disabled, manual or ended ones."},
    ),
    Entry("GET", "/api/v1/jobs/{name}", one_job, Role.VIEWER, "Show a job with its definition.", "read"),
    Entry(
        "GET",
        "/api/v1/jobs/{name}/why",
        why_job,
        Role.VIEWER,
        "Say why a job ran, or did not.",
        "read",
        {"at": "The instant of the tick; else what happened last."},
    ),
    Entry(
        "GET",
        "/api/v1/runs",
        list_runs,
        Role.VIEWER,
        "List runs, the newest first.",
        "read",
        {
            "job": "Only of this job.",
            "status": "Only these, with commas between them.",
            "since": "Only those made since this instant.",
            "before": "Only those with a lower number: the next page.",
            "last": f"How many, at most {LAST_MAX}.",
        },
    ),
    Entry("GET", "/api/v1/runs/{id:int}", one_run, Role.VIEWER, "Show a run.", "read"),
    Entry(
        "GET",
        "/api/v1/runs/{id:int}/output",
        run_output,
        Role.VIEWER,
        "Get the bytes of a run's output.",
        "read",
        {"from": "The first byte.", "len": f"How many bytes, at most {OUTPUT_BYTES_MAX}."},
    ),
    Entry(
        "GET",
        "/api/v1/workers",
        list_workers,
        Role.VIEWER,
        "List the workers of all hosts.",
        "read",
        {"all": "`true`: also those OFFLINE."},
    ),
    Entry("GET", "/api/v1/status", status, Role.VIEWER, "Say whether all is well.", "read"),
)
