"""What one run waits for: on an idle system, and behind a million others."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.figures import Figure, percentile
from benchmarks.instance import Instance, Place
from benchmarks.throughput import fill
from jobsup.model import JobKind, JobSpec, Overlap, WorkerFacts
from jobsup.store import definitions, dispatches, rounds, schema, workers
from jobsup.store.engine import Database

NO_POLLS = (
    '[scheduler]\npoll_interval = "3600s"\n[worker]\npoll_interval = "3600s"\nmax_poll_interval = "3600s"\ncount = 10\n'
)
JOB = '[[job]]\nname = "work"\ncommand = ["/bin/true"]\noverlap = "allow"\n'
REST_SECONDS = 0.05
WAIT_SECONDS_MAX = 10.0
CLAIMS = 300
ROWS_AT_ONCE = 20_000
FACTS: dict[str, Any] = {"boot_id": "", "pid_namespace": "", "process_id": 1, "process_started": 0}


def run_now(place: Place, *, runs: int, parent: Path) -> list[Figure]:
    """Ask for one run after the other of ten idle workers: from the return of the commit to `started_at`."""
    took: list[float] = []
    with Instance(NO_POLLS, JOB, place=place, parent=parent) as instance, closing(instance.open()) as database:
        for _ in range(runs):
            made = dispatches.create_manual(database, "work", params={}, requested_by="bench")
            committed = datetime.now(UTC)
            query = f"SELECT started_at FROM job_dispatch WHERE id = {made.dispatch_id} AND completed_at IS NOT NULL"
            instance.wait(lambda query=query: instance.rows(query), WAIT_SECONDS_MAX, "the run", look=0.01)
            took.append((instance.instant(query) - committed).total_seconds() * 1000)
            time.sleep(REST_SECONDS)
    is_server = place.server is not None
    return [
        Figure(f"run now, {place.name}: committed -> started, p50", percentile(took, 0.5), "ms", 5 if is_server else 3),
        Figure(f"run now, {place.name}: committed -> started, p99", percentile(took, 0.99), "ms", 15),
    ]


def claims(place: Place, *, finished: int, pending: int, parent: Path) -> list[Figure]:
    """Time claims of one run each in an empty table, and in one with so many that ended and that wait."""
    url = place.server or f"sqlite:///{parent}/claims.db"
    database = Database(url, synchronous=place.synchronous, schema=f"claims_{time.time_ns()}", kind="bench")
    with closing(database):
        schema.upgrade(database)
        spec = JobSpec("work", JobKind.COMMAND, command=("/bin/true",), overlap=Overlap.ALLOW)
        definitions.sync(database, "default", [spec], content_hash="", node="here", path="")
        empty = _claim_times(database)
        for rows in _portions(pending):
            fill(database, rows)
        for rows in _portions(finished):
            with database.write() as connection:
                connection.execute(_FINISHED, {"runs": rows})
        if place.server:
            with database.write() as connection:
                connection.execute(text("ANALYZE job_dispatch"))
        full = _claim_times(database)
    before, after = percentile(empty, 0.99), percentile(full, 0.99)
    return [
        Figure(f"claim, {place.name}: empty table, p50", percentile(empty, 0.5), "ms"),
        Figure(f"claim, {place.name}: empty table, p99", before, "ms"),
        Figure(f"claim, {place.name}: {finished} finished + {pending} pending, p50", percentile(full, 0.5), "ms"),
        Figure(f"claim, {place.name}: {finished} finished + {pending} pending, p99", after, "ms", 2 * before),
    ]


def _portions(rows: int) -> list[int]:
    """Part many rows into as many as a server writes within the time that a statement may take."""
    return [min(ROWS_AT_ONCE, rows - start) for start in range(0, rows, ROWS_AT_ONCE)]


def _claim_times(database: Database) -> list[float]:
    facts = WorkerFacts(node="here", heartbeat_interval=timedelta(seconds=5), concurrency=1, queues=(), **FACTS)
    worker = rounds.Worker(workers.register(database, facts, "bench"), "here")
    fill(database, CLAIMS)
    took: list[float] = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        answer = rounds.exchange(database, worker, rounds.Round(claim=1))
        took.append((time.perf_counter() - began) * 1000)
        assert len(answer.claims) == 1
    return took


_FINISHED = text(
    """
INSERT INTO job_dispatch (job_id, source, status, queue, available_at, created_at, claimed_at, started_at, completed_at,
                          worker_id, claim_rank)
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :runs)
SELECT id, 'manual', 'COMPLETED', queue, updated_at, updated_at, updated_at, updated_at, updated_at, 'worker-00000', n
FROM number, job WHERE name = 'work'
"""
)
