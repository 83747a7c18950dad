"""Queries that run often, or over much, go by an index: a table of a million runs must not slow them down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from psycopg.pq import ExecStatus
from sqlalchemy import event

from jobsup.model import Reason, RunResult, Status, TickPlan
from jobsup.store import (
    claiming,
    dispatches,
    jobs,
    leases,
    overview,
    rescue,
    retention,
    rounds,
    ticks,
    workers,
)
from jobsup.store.engine import Database
from tests.support.postgres import PostgresServer, open_schema, schema
from tests.support.store import START, FakeClock, add_dispatch, add_job, add_worker

WORKER = rounds.Worker("worker-aaaaa", "here")


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """Collect how SQLite goes about each statement, one line a step."""
    steps: list[str] = []

    def explain(connection: Any, _: Any, statement: str, parameters: Any, __: Any, is_many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            values = parameters[0] if is_many else parameters
            raw = connection.connection.dbapi_connection
            steps.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    event.listen(database.engine, "before_cursor_execute", explain)
    yield steps
    event.remove(database.engine, "before_cursor_execute", explain)


def claim(database: Database) -> None:
    with database.directly() as direct:
        claiming.claim(
            direct, worker_id=WORKER.worker_id, node="here", queues=("default",), limit=1, now=database.now()
        )


def dispatch(database: Database) -> None:
    lease = leases.acquire(database, "me", "here", timedelta(seconds=8))
    assert lease is not None
    job_id = jobs.get_job(database, "job").job_id
    ticks.dispatch(database, lease, [TickPlan(job_id, START, None, (START,))])


OFTEN: dict[str, Callable[[Database], object]] = {
    "claim": claim,
    "poll": lambda db: rounds.exchange(db, WORKER, rounds.Round(claim=1, is_poll=True)),
    "due": lambda db: ticks.due(db, 500),
    "next due": ticks.next_due_at,
    "dispatch": dispatch,
    "cancels": lambda db: rounds.exchange(db, WORKER, rounds.Round(watch_cancels=True)),
    "run now": lambda db: dispatches.create_manual(db, "job", params={}, requested_by="ann"),
    "lost": lambda db: rescue.close_lost(db, ["worker-bbbbb"]),
    "overdue": lambda db: rescue.close_overdue(db, timedelta(seconds=10)),
    "ownerless": lambda db: rescue.close_ownerless(db, timedelta(seconds=600)),
    "stale": lambda db: workers.mark_stale_offline(db, timedelta(seconds=180)),
    "counts": overview.counts,
    "live runs": lambda db: overview.runs(db, status=(Status.PENDING, Status.IN_PROGRESS)),
    "runs of a job": lambda db: overview.runs(db, job="job"),
    "newest runs": overview.runs,
    "last runs": overview.last_runs,
    "expired": lambda db: retention.delete_ended(db, START, 500),
    "removed job": lambda db: jobs.sync(db, "default", [], content_hash="", node="", path=""),
}


@pytest.mark.only("sqlite", "the server's plans are looked at below")
@pytest.mark.parametrize("name", OFTEN)
def test_no_frequent_query_walks_all_the_runs(db: Database, name: str) -> None:
    job = add_job(db, "job", next_run=START)
    add_worker(db)
    for status in (Status.COMPLETED, Status.FAILED, Status.IN_PROGRESS, Status.PENDING):
        add_dispatch(db, job, status)
    with plans(db) as steps:
        OFTEN[name](db)
    assert steps
    walks = [step for step in steps if step.startswith("SCAN job_dispatch")]
    # A walk along a partial index meets its few rows only; from the newest row on, the limit ends it.
    allowed = ("ix_job_dispatch_claimable", "ix_job_dispatch_live", "ix_job_dispatch_ended")
    assert [step for step in walks if not step.endswith(allowed)] == (
        ["SCAN job_dispatch"] if name == "newest runs" else []
    )


@pytest.mark.only("sqlite", "the server's plans are looked at below")
def test_a_claim_takes_its_rows_in_the_order_of_the_claimable_index(db: Database) -> None:
    add_dispatch(db, add_job(db))
    with plans(db) as steps:
        claim(db)
    assert steps[0] == "SCAN job_dispatch USING INDEX ix_job_dispatch_claimable"
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.only("sqlite", "the server's plans are looked at below")
def test_due_jobs_are_read_in_the_order_of_their_index(db: Database) -> None:
    add_job(db, next_run=START)
    with plans(db) as steps:
        ticks.due(db, 500)
        ticks.next_due_at(db)
    assert steps == [
        "SEARCH job USING INDEX ix_job_due (next_run<?)",
        "SCAN job_set",
        "SEARCH job USING INDEX ix_job_due",
    ]


@pytest.fixture(scope="module")
def crowded(postgres: PostgresServer) -> Iterator[Database]:
    """A schema with many runs that have ended and a few that live, as the planner sees one that was used for weeks."""
    with schema(postgres) as name:
        database = open_schema(postgres, name, clock=FakeClock())
        job = add_job(database, "job", next_run=START, overlap="allow")
        for number in range(200):
            add_job(database, f"job-{number}", next_run=START + timedelta(hours=1))
        add_worker(database)
        postgres.execute(f"SET search_path = {name}; {_MANY}")
        for status in (Status.IN_PROGRESS, Status.PENDING):
            add_dispatch(database, job, status)
        postgres.execute(f"ANALYZE {name}.job, {name}.job_dispatch, {name}.job_execution_log")
        yield database
        database.close()


_MANY = """
INSERT INTO job_dispatch (job_id, source, status, retry_count, priority, claim_rank, queue, available_at, created_at,
                          claimed_at, started_at, completed_at, worker_id)
SELECT 1 + n % 200, 'manual', (ARRAY['COMPLETED', 'FAILED', 'TIMEOUT'])[1 + n % 3], 0, 0, 0, 'default', at, at, at, at,
       at, 'worker-aaaaa'
FROM generate_series(1, 20000) n, LATERAL (SELECT timestamptz '2029-12-01 00:00:00Z' + n * interval '1 minute' AS at) i;
INSERT INTO job_execution_log (dispatch_id, job_id, worker_id, host, run_time, finished_at, status, log_output,
                               output_bytes, output_dropped, stream_marks, config_hash)
SELECT id, job_id, worker_id, 'here', started_at, completed_at, status, '', 0, 0, '[]', '' FROM job_dispatch
"""


@contextmanager
def server_plans(database: Database) -> Iterator[list[str]]:
    """Collect how PostgreSQL goes about each statement: by its words alone, or by its values where that is better."""
    steps: list[str] = []

    def explain(connection: Any, _: Any, statement: str, parameters: Any, __: Any, is_many: bool) -> None:
        if not statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            return
        names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
        numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement)
        raw = connection.connection.dbapi_connection
        rows = raw.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN) {numbered.replace('%%', '%')}".encode())
        assert rows.status == ExecStatus.TUPLES_OK, rows.error_message
        generic = [(rows.get_value(row, 0) or b"").decode() for row in range(rows.ntuples)]
        values = parameters[0] if is_many else parameters
        custom = [row[0] for row in raw.execute(f"EXPLAIN {statement}", values)]
        steps.extend(min(generic, custom, key=lambda plan: sum("Seq Scan" in step for step in plan)))

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield steps
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("name", OFTEN)
def test_no_frequent_query_on_postgresql_reads_the_whole_table(crowded: Database, name: str) -> None:
    with server_plans(crowded) as steps:
        OFTEN[name](crowded)
    assert steps
    assert [step for step in steps if "Seq Scan on job_dispatch" in step or "Seq Scan on job_exec" in step] == []


def test_a_claim_on_postgresql_stops_at_the_first_row_of_its_index(crowded: Database) -> None:
    with server_plans(crowded) as steps:
        claim(crowded)
    plan = "\n".join(steps)
    assert "Index Scan using ix_job_dispatch_claimable on job_dispatch" in plan
    assert "LockRows" in plan
    assert "Seq Scan on job_dispatch" not in plan


def test_due_jobs_on_postgresql_come_by_their_index(crowded: Database) -> None:
    with server_plans(crowded) as steps:
        ticks.due(crowded, 500)
        ticks.next_due_at(crowded)
    plan = "\n".join(steps)
    assert plan.count("ix_job_due on job") == 2


def test_a_worker_on_a_new_postgresql_goes_by_indexes_from_its_first_round(postgres: PostgresServer) -> None:
    with schema(postgres) as name:
        database = Database(postgres.url(), schema=name, clock=FakeClock(), kind="worker")
        run = add_dispatch(database, add_job(database), Status.IN_PROGRESS)
        add_worker(database)
        end = RunResult(run, Status.COMPLETED, Reason.NONE, finished_at=START, started_at=START)
        with server_plans(database) as steps:
            rounds.exchange(database, WORKER, rounds.Round(results=[end], claim=1))
        database.close()
    assert sum("Index Scan using pk_job_dispatch on job_dispatch" in step for step in steps) == 3
    assert [step for step in steps if re.search(r"Seq Scan on (job_dispatch|job|worker_registration)\b", step)] == []
