"""How long the portal's pages take on the server, and what they weigh, with much history.

    .venv/bin/python -m benchmarks.portal                 # 1,000 jobs, 1,000,000 runs
    .venv/bin/python -m benchmarks.portal --runs 100000   # less, sooner
    .venv/bin/python -m benchmarks.portal --folder /tmp/x # keep the filled database, and use it again

The application is asked in this process, without a network, by a user who is signed in. Judged is the time that the
server is busy with a page (all its threads, by the processor's clock), because that does not grow with what else the
machine does; the time on the wall stands beside it. The exit code is 1 when a page misses its target.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text
from starlette.types import Message

from benchmarks.figures import Figure, percentile, table
from jobsup.config.document import config_hash
from jobsup.config.settings import Config
from jobsup.errors import ConflictError
from jobsup.model import JobKind, JobSpec, Role, ScheduleSpec
from jobsup.portal.app import create, entries
from jobsup.portal.gate import COOKIE
from jobsup.portal.handles import Handles
from jobsup.portal.patience import settle
from jobsup.portal.site import Site
from jobsup.store import jobs, schema, users
from jobsup.store.engine import Database

JOBS, RUNS = 1000, 1_000_000
ROUNDS = 30
SPACING_SECONDS = 2.592
MILLISECONDS_MAX = 100.0
BYTES_MAX = 150_000.0
FAILED_EVERY = 400

PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "jobs, failing": "/jobs?state=failing",
    "jobs, last page": "/jobs?after=job-0950",
    "job": "/jobs/job-0500",
    "slots": "/jobs/job-0500/slots",
    "job's runs": "/jobs/job-0500/runs",
    "runs": "/runs",
    "runs, deep": "/runs?before={middle}",
    "runs, failed": "/runs?status=FAILED",
    "runs, cancelled (none)": "/runs?status=CANCELLED",
    "runs, timed out (none), of a job": "/runs?status=TIMEOUT&job=job-0500",
    "run": "/runs/{last}",
    "workers": "/workers",
    "timeline, 6 h": "/timeline?span=6h",
    "timeline, 7 d": "/timeline?span=7d",
    "calendar": "/calendar",
    "calendar of a job": "/calendar?job=job-0500",
    "a new job": "/jobs/new",
    "run now": "/jobs/job-0500/run",
    "settings": "/jobs/job-0500/config",
    "a job's audit": "/jobs/job-0500/audit",
    "audit": "/admin/audit",
    "users": "/admin",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    entries()  # what cannot be imported is told before the long work
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        is_filled = (folder / "jobsup.db").exists()
        database = stack.enter_context(closing(Database(f"sqlite:///{folder}/jobsup.db", synchronous="off")))
        began = time.perf_counter()
        if not is_filled:
            fill(database, given.jobs, given.runs)
        sys.stderr.write(f"filled in {time.perf_counter() - began:.0f} s\n")
        figures = measure(database, folder, given.runs)
    sys.stdout.write(table(figures) + "\n")
    return int(any(figure.verdict == "MISSED" for figure in figures))


def fill(database: Database, job_count: int, run_count: int) -> None:
    """Write so many jobs and runs, the newest ended just now: a million of them in thirty days."""
    schema.upgrade(database)
    specs = [
        JobSpec(
            f"job-{number:04}",
            JobKind.COMMAND,
            command="true",
            tags=("even",) if number % 2 == 0 else ("odd",),
            schedule=ScheduleSpec(cron=f"{number % 60} * * * *"),
        )
        for number in range(job_count)
    ]
    jobs.sync(database, "default", specs, content_hash=config_hash(specs[0]), node="here", path="/jobsup.toml")
    start = datetime.now(UTC) - timedelta(seconds=run_count * SPACING_SECONDS)
    shape = {"runs": run_count, "jobs": job_count, "start": start.strftime("%Y-%m-%d %H:%M:%S"), "bad": FAILED_EVERY}
    with database.write() as connection:
        connection.execute(text(_RUNS), shape)
        connection.execute(text(_LOGS))


_AT = f"strftime('%Y-%m-%d %H:%M:%f', :start, '+' || (n * {SPACING_SECONDS}) || ' seconds') || '000'"
_RUNS = f"""
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :runs)
INSERT INTO job_dispatch (id, job_id, source, scheduled_for, status, reason, queue, available_at, created_at,
                          claimed_at, started_at, completed_at, worker_id)
SELECT n, 1 + n % :jobs, 'schedule', at, CASE WHEN n % :bad THEN 'COMPLETED' ELSE 'FAILED' END,
       CASE WHEN n % :bad THEN '' ELSE 'exit_code' END, 'default', at, at, at, at, at, 'worker-aaaaa'
FROM (SELECT n, {_AT} AS at FROM number)
"""
_LOGS = """
INSERT INTO job_execution_log (dispatch_id, job_id, worker_id, host, run_time, finished_at, status, exit_code,
                               log_output, output_bytes, output_dropped, stream_marks, config_hash)
SELECT id, job_id, worker_id, 'here', started_at, completed_at, status, CASE status WHEN 'FAILED' THEN 1 ELSE 0 END,
       CAST('the output of a run' || char(10) AS BLOB), 20, 0, '[[20, 1]]', '0'
FROM job_dispatch
"""


def measure(database: Database, folder: Path, run_count: int) -> list[Figure]:
    """Ask for each page several times, after once for the caches."""
    with suppress(ConflictError):
        users.add(database, "ann", Role.ADMIN, "hash")
    cookie = users.begin_session(database, "ann", "hash", lifetime=timedelta(hours=1), address="", agent="")
    figures = []
    with _asker(database, folder, cookie) as ask:
        for name, path in PAGES.items():
            address = path.format(middle=run_count // 2, last=run_count)
            ask(address)
            took, busy, weighs = [], [], 0
            for _ in range(ROUNDS):
                began, worked = time.perf_counter(), time.process_time()
                weighs = ask(address)
                took.append((time.perf_counter() - began) * 1000)
                busy.append((time.process_time() - worked) * 1000)
            figures += [
                Figure(f"{name}: busy, p90", percentile(busy, 0.9), "ms", MILLISECONDS_MAX),
                Figure(f"{name}: on the wall, p50", percentile(took, 0.5), "ms", None),
                Figure(f"{name}: weight", weighs, "bytes", BYTES_MAX),
            ]
    return figures


@contextmanager
def _asker(database: Database, folder: Path, cookie: str) -> Iterator[Callable[[str], int]]:
    """Yield what asks the application for a page, straight, so that nobody's client is measured with it."""
    handles = Handles(lambda: Database(str(database.url)), count=2)
    site = Site(Config(path=str(folder / "jobsup.toml")), handles)
    site.buckets.take = lambda _address: 0.0  # type: ignore[method-assign]  # the rate of one address is not the point
    app = create(site)
    settle()
    with closing(handles), asyncio.Runner() as runner:

        async def get(path: str) -> int:
            name, _, query = path.partition("?")
            told: list[Message] = []

            async def receive() -> Message:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: Message) -> None:
                told.append(message)

            headers = [(b"host", b"127.0.0.1"), (b"cookie", f"{COOKIE}={cookie}".encode())]
            scope = {"type": "http", "method": "GET", "path": name, "query_string": query.encode(), "headers": headers}
            address = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "root_path": ""}
            await app({**scope, **address}, receive, send)
            body = b"".join(message.get("body", b"") for message in told)
            if told[0]["status"] != 200:
                raise SystemExit(f"{path}: {told[0]['status']}\n{body.decode()}")
            return len(body)

        yield lambda path: runner.run(get(path))


if __name__ == "__main__":
    sys.exit(main())
