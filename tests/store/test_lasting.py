"""What outlives a power cut on SQLite: everything but signs of life."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from jobsup.clock import SystemClock
from jobsup.model import Heartbeat, WorkerStatus
from jobsup.store import leases, rounds
from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.rounds import Round, Worker
from tests.support.store import add_dispatch, add_job, add_worker, create_database

pytestmark = pytest.mark.only("sqlite", "a server's own settings say what it waits for")

NORMAL, FULL = 1, 2
BEAT = Heartbeat(WorkerStatus.IDLE, 0, None)


@pytest.fixture
def lasting(backend: str, tmp_path: Path) -> Database:
    """A database whose commits wait for the disk."""
    assert backend == "sqlite"
    create_database(tmp_path / "jobsup.db").close()
    return Database(f"sqlite:///{tmp_path / 'jobsup.db'}", synchronous="full", clock=SystemClock())


def level(direct: Direct) -> int:
    found: int = direct.say("PRAGMA synchronous").fetchone()[0]
    return found


def test_only_a_transaction_that_says_so_does_not_wait_for_the_disk(lasting: Database) -> None:
    def fail(direct: Direct) -> None:
        assert level(direct) == NORMAL
        raise ZeroDivisionError

    with lasting.directly() as direct:
        assert level(direct) == FULL
    with lasting.directly(is_lasting=False) as direct:
        assert level(direct) == NORMAL
    with pytest.raises(ZeroDivisionError):
        lasting.transact_directly(fail, is_lasting=False)
    with lasting.directly() as direct:
        assert level(direct) == FULL
    with lasting.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == FULL
    lasting.close()


def test_heartbeats_and_renewals_do_not_wait_for_the_disk_and_all_else_does(lasting: Database) -> None:
    levels: list[int] = []

    def note(connection: Any, _: Any, statement: str, *__: Any) -> None:
        if statement.startswith(("UPDATE", "INSERT")):
            levels.append(connection.connection.dbapi_connection.execute("PRAGMA synchronous").fetchone()[0])

    worker = Worker(add_worker(lasting), "here")
    event.listen(lasting.engine, "before_cursor_execute", note)
    lease = leases.acquire(lasting, "me", "here", timedelta(seconds=8))
    assert lease is not None
    assert set(levels) == {FULL}
    levels.clear()
    assert leases.renew(lasting, lease, timedelta(seconds=8)) is not None
    assert rounds.exchange(lasting, worker, Round(heartbeat=BEAT)).is_registered
    assert rounds.exchange(lasting, worker, Round(heartbeat=BEAT, claim=1, is_poll=True)).claims == ()
    assert levels == [NORMAL, NORMAL, NORMAL]
    levels.clear()
    dispatch_id = add_dispatch(lasting, add_job(lasting))
    levels.clear()
    [claim] = rounds.exchange(lasting, worker, Round(heartbeat=BEAT, claim=1)).claims
    assert claim.dispatch_id == dispatch_id
    rounds.exchange(lasting, worker, Round(heartbeat=BEAT, release=(dispatch_id,)))
    assert levels
    assert set(levels) == {FULL}
    levels.clear()
    [claim] = rounds.exchange(lasting, worker, Round(heartbeat=BEAT, claim=1, is_poll=True)).claims
    assert levels[-1] == FULL, "what a poll finds is claimed as anything else is"
    lasting.close()
