"""Queries that run often, or over much, go by an index: a table of a million runs must not slow them down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from jobsup.model import Status
from jobsup.store import (
    claiming,
    dispatches,
    jobs,
    overview,
    rescue,
    retention,
    rounds,
    ticks,
    workers,
)
from jobsup.store.engine import Database
from tests.support.store import START, add_dispatch, add_job, add_worker

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
    with database.write() as connection:
        claiming.claim(
            connection, worker_id=WORKER.worker_id, node="here", queues=("default",), limit=1, now=database.now()
        )


OFTEN: dict[str, Callable[[Database], object]] = {
    "claim": claim,
    "due": lambda db: ticks.due(db, 500),
    "next due": ticks.next_due_at,
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


def test_a_claim_takes_its_rows_in_the_order_of_the_claimable_index(db: Database) -> None:
    add_dispatch(db, add_job(db))
    with plans(db) as steps:
        claim(db)
    assert steps[0] == "SCAN job_dispatch USING INDEX ix_job_dispatch_claimable"
    assert not any("TEMP B-TREE" in step for step in steps)


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
