"""Many workers on one server, each on one connection: none is lost, nothing is done twice, and few are woken for one.

The long form, with a thousand of them and a hundred real ones, is `python -m tests.long.many_workers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from jobsup.store import dispatches, jobs, overview, workers
from jobsup.store.engine import Database
from jobsup.store.wake_channels import SPARE_OFFERS
from tests.support.light import LightWorker, serve, twice
from tests.support.postgres import PostgresServer, open_schema, running, schema
from tests.support.store import job_spec

CROWD = 50
RUNS = 1000


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running(f"max_connections={CROWD + 20}") as server:
        yield server


@pytest.fixture
def db(server: PostgresServer) -> Iterator[Database]:
    with schema(server) as name:
        database = open_schema(server, name)
        yield database
        database.close()


@pytest.fixture
def crowd(server: PostgresServer, db: Database) -> Iterator[list[LightWorker]]:
    with ExitStack() as stack:
        found = []
        for number in range(CROWD):
            worker = LightWorker(open_schema(server, db.schema or "", kind="worker"), number)
            stack.callback(worker.close)
            found.append(worker)
        yield found


def connections(server: PostgresServer, kind: str) -> object:
    name = f"jobsup/{kind}"
    return server.execute(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'")[0][0]


def test_many_workers_drain_a_queue_and_one_run_wakes_only_a_few(
    server: PostgresServer, db: Database, crowd: list[LightWorker]
) -> None:
    jobs.sync(db, "default", [job_spec("a", overlap="allow")], content_hash="", node="", path="")
    server.execute(
        f"SET search_path = {db.schema}; INSERT INTO job_dispatch "
        "(job_id, source, status, queue, available_at, created_at, claim_rank) "
        f"SELECT 1, 'manual', 'PENDING', 'default', now(), now(), n FROM generate_series(1, {RUNS}) n"
    )
    for worker in crowd:
        worker.woken()
    serve(crowd, lambda: overview.counts(db)["COMPLETED"] == RUNS, 60)
    assert sum(len(worker.claimed) for worker in crowd) == RUNS
    assert twice(crowd) == []
    assert connections(server, "worker") == CROWD, "one for each, whatever it has done"
    before = {worker.worker_id: worker.rounds for worker in crowd}
    dispatches.create_manual(db, "a", params={}, requested_by="ann")
    serve(crowd, lambda: overview.counts(db)["COMPLETED"] == RUNS + 1, 30)
    asked = [worker for worker in crowd if worker.rounds > before[worker.worker_id]]
    assert 1 <= len(asked) <= 1 + SPARE_OFFERS
    assert len(workers.list_workers(db)) == CROWD
    assert not any(worker.is_expelled or worker.refused for worker in crowd)
