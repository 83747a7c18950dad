"""Work on a server is offered to a few idle workers by name, not cried out to all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from jobsup.model import On, WorkerStatus
from jobsup.store import dispatches, notifier, rescue
from jobsup.store.engine import Database
from jobsup.store.news import Offer
from jobsup.store.wake_channels import FEW, SPARE_OFFERS
from tests.support.clock import FakeClock
from tests.support.postgres import PostgresServer, open_schema, schema
from tests.support.store import add_job, add_worker
from tests.support.waiting import PATIENCE, until

WORKERS = 20
ANY = Offer("default")


@pytest.fixture
def db(postgres: PostgresServer) -> Iterator[Database]:
    with schema(postgres) as name:
        database = open_schema(postgres, name)
        yield database
        database.close()


@pytest.fixture
def ears(db: Database) -> Iterator[dict[str, notifier.Listener]]:
    """Many workers that listen, by name; they may share a connection, which changes nothing of what each hears."""
    with ExitStack() as stack:
        names = [add_worker(db, f"worker-{number:05d}") for number in range(WORKERS)]
        found = {name: notifier.Listener(db, "worker", name) for name in names}
        for ear in found.values():
            stack.callback(ear.close)
        yield found


def heard(ears: dict[str, notifier.Listener]) -> set[str]:
    """Who was told something, once the first has been."""
    names: set[str] = set()
    until(
        lambda: names.update(name for name, ear in ears.items() if ear.drain()) or names,
        PATIENCE,
        "somebody to be told",
    )
    return names | {name for name, ear in ears.items() if ear.drain()}


def run(db: Database, name: str = "a") -> None:
    dispatches.create_manual(db, name, params={}, requested_by="ann")


def test_one_run_is_offered_to_a_few(db: Database, ears: dict[str, notifier.Listener]) -> None:
    add_job(db, "a")
    run(db)
    told = heard(ears)
    assert len(told) == 1 + SPARE_OFFERS
    assert all(ears[name].decline() for name in told), "an offer, which a worker that is full by now leaves to others"


def test_many_runs_are_offered_to_as_many_and_more_than_there_are_to_all(
    db: Database, ears: dict[str, notifier.Listener]
) -> None:
    notifier.offer(db, ANY, 7)
    assert len(heard(ears)) == 7 + SPARE_OFFERS
    notifier.offer(db, ANY, WORKERS)
    assert len(heard(ears)) == WORKERS


def test_only_idle_workers_that_were_heard_of_lately_are_chosen(
    db: Database, ears: dict[str, notifier.Listener]
) -> None:
    names = list(ears)
    with db.write() as connection:
        connection.exec_driver_sql(
            "UPDATE worker_registration SET status = 'BUSY' WHERE worker_id = ANY(%(busy)s)", {"busy": names[:6]}
        )
        connection.exec_driver_sql(
            "UPDATE worker_registration SET last_heartbeat = last_heartbeat - interval '1 minute' "
            "WHERE worker_id = ANY(%(silent)s)",
            {"silent": names[6:12]},
        )
    notifier.offer(db, ANY, 5)
    assert heard(ears) < set(names[12:])


def test_when_few_are_idle_all_are_asked_that_may_have_a_slot(db: Database, ears: dict[str, notifier.Listener]) -> None:
    idle = list(ears)[:FEW]
    with db.write() as connection:
        connection.exec_driver_sql(
            "UPDATE worker_registration SET status = 'BUSY' WHERE worker_id <> ALL(%(idle)s)", {"idle": idle}
        )
    notifier.offer(db, ANY, 1)
    assert heard(ears) == set(ears)


def test_work_is_offered_only_to_workers_that_may_take_it(db: Database, ears: dict[str, notifier.Listener]) -> None:
    slow = [f"worker-slow{number}" for number in range(6)]
    with ExitStack() as stack:
        special = dict(ears)
        for number, name in enumerate(slow):
            add_worker(db, name, node=f"s{number}", queues=["slow"], tags=[f"host:s{number}", "gpu"])
            special[name] = stack.enter_context(closing(notifier.Listener(db, "worker", name)))
        notifier.offer(db, ANY, 3)
        assert not heard(special) & set(slow), "they serve another queue"
        notifier.offer(db, Offer("slow"), 2)
        assert len(heard(special)) == 2 + SPARE_OFFERS
        notifier.offer(db, Offer("slow", target="s3"))
        assert heard(special) == {"worker-slow3"}
        notifier.offer(db, Offer("slow", requires="gpu host:s1"))
        assert heard(special) == {"worker-slow1"}
        notifier.offer(db, Offer("slow", requires="gpu"), 2)
        told = heard(special)
        assert (len(told), told < set(slow)) == (2 + SPARE_OFFERS, True)


def test_a_job_that_runs_on_each_host_wakes_one_worker_of_each(
    db: Database, ears: dict[str, notifier.Listener]
) -> None:
    with ExitStack() as stack:
        for node in ("db1", "db2"):
            name = add_worker(db, f"worker-{node}", node=node)
            ears[name] = stack.enter_context(closing(notifier.Listener(db, "worker", name)))
        with db.write() as connection:
            connection.exec_driver_sql("DELETE FROM worker_registration WHERE node = 'here'")
        add_job(db, "a", on=On.EACH)
        run(db)
        assert heard(ears) == {"worker-db1", "worker-db2"}
        for name in ("worker-db1", "worker-db2"):
            ears.pop(name)


def test_news_are_for_all_and_so_is_the_loss_of_a_worker(
    db: Database, clock: FakeClock, ears: dict[str, notifier.Listener]
) -> None:
    notifier.wake(db, "worker")
    assert heard(ears) == set(ears)
    lost = add_worker(db, "worker-lost1", status=WorkerStatus.IDLE)
    rescue.close_lost(db, [lost])
    told = heard(ears)
    assert told == set(ears)
    assert not any(ears[name].decline() for name in told), "it may have been offered what now waits for others"
