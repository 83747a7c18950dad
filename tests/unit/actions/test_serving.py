"""A run that no worker can take never waits in silence: `why`, `status` and the portal say what is missing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobsup.actions import serving, why
from jobsup.actions.health import judge
from jobsup.model import Heartbeat, WorkerStatus
from jobsup.portal.views.overview import overview_of
from jobsup.store import rounds, workers
from jobsup.store.engine import Database
from jobsup.store.waiting import Asked
from tests.support.clock import FakeClock
from tests.support.store import WORKER_ID, add_dispatch, add_job, add_worker

UP = {"state": "running", "children": []}


def lack(db: Database, **asked: Any) -> str | None:
    return serving.lack(workers.list_workers(db), Asked(**{"queue": "default", **asked}))


def test_what_is_missing_is_named(db: Database) -> None:
    assert lack(db) == "no worker is running"
    add_worker(db, "worker-1", queues=["slow"], tags=["host:here", "gpu"])
    add_worker(db, "worker-2", node="there")
    assert lack(db) is None
    assert lack(db, queue="slow", requires=("gpu",)) is None
    assert lack(db, target="there") is None
    assert lack(db, target="away") == "no worker is running on away"
    assert lack(db, queue="slow", requires=("gpu", "ssd")) == (
        'no worker of the queue "slow" has all the tags gpu, ssd'
    )
    assert lack(db, requires=("gpu",)) == 'no worker of the queue "default" has the tag gpu'
    assert lack(db, target="here") == 'no worker on here serves the queue "default"'
    assert lack(db, requires=("host:there",), target="there") is None


def test_only_a_queue_that_nobody_serves_is_missing(db: Database) -> None:
    add_worker(db, queues=["slow"])
    assert lack(db) == 'no worker serves the queue "default"'


def test_a_worker_that_drains_takes_nothing_more(db: Database) -> None:
    add_worker(db, status=WorkerStatus.DRAINING)
    assert lack(db) == "no worker is running"


def test_a_host_that_is_silent_serves_nothing(db: Database, clock: FakeClock) -> None:
    add_worker(db, tags=["host:here", "gpu"])
    add_dispatch(db, add_job(db, requires=("gpu",)))
    assert serving.unserved(db) == []
    clock.advance(21)
    [found] = serving.unserved(db)
    assert found.lack == "no worker is running"


@pytest.mark.parametrize(
    ("definition", "missing"),
    [
        ({"requires": ("gpu",)}, 'no worker of the queue "default" has the tag gpu'),
        ({"queue": "heavy", "requires": ("host:here",)}, 'no worker serves the queue "heavy"'),
        ({"requires": ("host:away",)}, 'no worker of the queue "default" has the tag host:away'),
    ],
)
def test_every_view_says_what_a_run_waits_for(
    db: Database, clock: FakeClock, definition: dict[str, Any], missing: str
) -> None:
    add_worker(db, queues=["default"])
    run = add_dispatch(db, add_job(db, "train", **definition))
    assert f"It waits for a worker: {missing}." in why.about_run(db, run).sentences
    health = judge(UP, db, set_name="default")
    assert health.is_healthy, "a moment of it is usual"
    assert f"run {run} waits for a worker: {missing}" in health.warnings[0]
    clock.advance(31)
    rounds.exchange(db, rounds.Worker(WORKER_ID, "here"), rounds.Round(heartbeat=Heartbeat(WorkerStatus.IDLE, 0, None)))
    health = judge(UP, db, set_name="default")
    assert (health.state, len(health.problems)) == ("degraded", 1)
    assert [each.lack for each in health.unserved] == [missing]
    assert any(missing in problem for problem in overview_of(db).problems)


def test_runs_that_ask_the_same_are_told_of_together_and_later_ones_not_yet(db: Database) -> None:
    add_worker(db)
    job = add_job(db, requires=("gpu",), overlap="allow")
    first = add_dispatch(db, job)
    add_dispatch(db, job)
    add_dispatch(db, job, available_at=db.now() + timedelta(hours=1))
    [found] = serving.unserved(db)
    assert (found.runs.count, found.runs.first_id) == (2, first)
    assert serving.unserved_words(found).startswith(f"2 runs wait, from run {first} on, for a worker: no worker of")
