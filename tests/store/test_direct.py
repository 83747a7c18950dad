"""Statements on the driver itself and statements of Core's in one transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from jobsup.store.direct import Direct
from jobsup.store.engine import Database
from jobsup.store.rows import Job
from tests.support.store import add_job, connect


def written(db: Database) -> tuple[int, str]:
    with db.read() as connection:
        return tuple(connection.execute(select(Job.priority, Job.queue)).one())


def test_core_joins_the_very_first_transaction_on_the_driver(db: Database) -> None:
    add_job(db, priority=1, queue="before")
    fresh = connect(db)
    with fresh.directly() as direct:
        direct.say("UPDATE job SET priority = 7")
        direct.core.execute(update(Job).values(queue="after"))
    assert written(db) == (7, "after")
    fresh.close()


def test_what_both_wrote_is_undone_together(db: Database) -> None:
    add_job(db, priority=1, queue="before")
    fresh = connect(db)

    def fail(direct: Direct) -> None:
        direct.say("UPDATE job SET priority = 7")
        direct.core.execute(update(Job).values(queue="after"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fresh.transact_directly(fail)
    assert written(db) == (1, "before")
    with fresh.directly() as direct:
        direct.say("UPDATE job SET priority = 8")
    assert written(db) == (8, "before")
    fresh.close()
