"""What may befall a server, and the way to it: every call ends in time, nothing is done twice, work goes on after."""

from __future__ import annotations

import gc
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobsup import events
from jobsup.actions import health
from jobsup.clock import SystemClock
from jobsup.errors import DatabaseError, DatabaseUnavailableError
from jobsup.model import Heartbeat, OutputChunk, Overlap, Reason, RunResult, Status, TickPlan, WorkerStatus
from jobsup.store import dispatches, leases, notifier, server_facts, ticks
from jobsup.store.engine import Database
from jobsup.store.faults import CommitUnknownError
from jobsup.store.rounds import Round, Worker, exchange
from tests.support.postgres import PostgresServer, open_schema, schema
from tests.support.store import (
    WORKER_ID,
    add_dispatch,
    add_job,
    add_worker,
    dispatch_row,
    dispatches_of,
    job_row,
    log_row,
)
from tests.support.waiting import until
from tests.support.wire import Line, line_to, pooler_to

ME = Worker(WORKER_ID, "here")
PATIENCE = timedelta(seconds=1)
CONNECT_SECONDS = 2.0
"""The shortest time-out that the driver has for connecting."""


@pytest.fixture
def db(own_server: PostgresServer) -> Iterator[Database]:
    """A database on a server that may be stopped and frozen, by the server's own clock."""
    with schema(own_server) as name:
        database = open_schema(own_server, name, timeout=PATIENCE)
        yield database
        database.close()


@pytest.fixture
def line(own_server: PostgresServer) -> Iterator[Line]:
    with line_to(own_server.port) as found:
        yield found


@pytest.fixture
def far(own_server: PostgresServer, db: Database, line: Line) -> Iterator[Database]:
    """The same database, reached over a line that can fail."""
    database = Database(own_server.url(port=line.port), schema=db.schema or "", timeout=PATIENCE, kind="test")
    yield database
    database.close()


def ask(database: Database) -> object:
    with database.read() as connection:
        return connection.execute(text("SELECT 1")).scalar_one()


def result(database: Database, dispatch_id: int, status: Status = Status.COMPLETED) -> RunResult:
    now = database.now()
    return RunResult(dispatch_id, status, Reason.NONE, finished_at=now, started_at=now, exit_code=0)


def test_a_frozen_server_is_given_up_in_time_and_used_again_when_it_goes_on(
    own_server: PostgresServer, db: Database
) -> None:
    ask(db)
    own_server.freeze()
    try:
        began = time.monotonic()
        signs: list[float] = []
        db.while_waiting(lambda: signs.append(time.monotonic()))
        with pytest.raises(DatabaseUnavailableError, match="no answer for 1 s"):
            ask(db)
        assert time.monotonic() - began < 2 * PATIENCE.total_seconds()
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="timeout"):
            ask(db)  # a new connection: the kernel takes it, and nobody answers
        assert time.monotonic() - began < CONNECT_SECONDS + 1
        assert signs, "whoever watches the one that waits is told that it does"
    finally:
        own_server.thaw()
    assert ask(db) == 1


def test_a_server_that_was_restarted_is_found_again_without_an_error(own_server: PostgresServer, db: Database) -> None:
    ask(db)
    own_server.restart()
    assert ask(db) == 1


def test_a_server_that_is_down_is_told_at_once(own_server: PostgresServer, db: Database) -> None:
    ask(db)
    own_server.stop()
    try:
        with pytest.raises(DatabaseUnavailableError, match="refused"):
            ask(db)
        with pytest.raises(DatabaseUnavailableError, match="refused"):
            exchange(db, ME, Round(heartbeat=Heartbeat(WorkerStatus.IDLE, 0, None)))
    finally:
        own_server.start()
    assert ask(db) == 1


def test_a_server_that_takes_calls_and_never_answers_leaves_no_socket_behind() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"postgresql://jobsup@127.0.0.1:{deaf.getsockname()[1]}/postgres"
        database = Database(url, timeout=timedelta(seconds=1), kind="test")
        gc.collect()
        gc.disable()  # in an idle process it is long until the next collection
        try:
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            for _ in range(2):
                with pytest.raises(DatabaseUnavailableError, match="timeout"):
                    ask(database)
            assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        finally:
            gc.enable()
            database.close()


def test_a_connection_that_ends_in_the_middle_of_a_transaction_leaves_nothing_written(
    own_server: PostgresServer, db: Database
) -> None:
    add_job(db, "a")

    def break_off() -> None:
        with db.write() as connection:
            connection.execute(text("DELETE FROM job"))
            own_server.execute(f"SELECT pg_terminate_backend({_pid(db)})")
            connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailableError, match="ended the connection"):
        break_off()
    assert job_row(db, "a")["name"] == "a"


def _pid(database: Database) -> int:
    return int(database.backend._link.info.backend_pid)


def test_a_listener_hears_at_once_that_its_connection_is_gone_and_listens_again(
    own_server: PostgresServer, db: Database
) -> None:
    listener = notifier.Listener(db, "worker")
    assert not listener.drain()
    own_server.execute(f"SELECT pg_terminate_backend({_pid(db)})")
    assert select.select([listener], [], [], 5)[0]
    # Whoever listens must look, for it may have missed something.
    until(listener.drain, 60, "the listener to be told that the line has ended")
    assert not select.select([listener], [], [], 0)[0], "and is not told again and again"
    ask(db)
    other = open_schema(own_server, db.schema or "")
    listener.drain()
    notifier.wake(other, "worker")
    assert select.select([listener], [], [], 5)[0]
    assert listener.drain()
    other.close()
    listener.close()


def test_a_line_that_went_silent_is_found_out_and_replaced(
    own_server: PostgresServer, line: Line, far: Database
) -> None:
    add_worker(far)
    listener = notifier.Listener(far, "worker")
    line.fault = "silence"
    notifier_of_others = open_schema(own_server, far.schema or "")
    notifier.wake(notifier_of_others, "worker")
    assert not select.select([listener], [], [], 0.2)[0], "a half-open line tells nothing"
    line.fault = ""
    beat = Round(heartbeat=Heartbeat(WorkerStatus.IDLE, 0, None))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="no answer"):
        exchange(far, ME, beat)
    assert time.monotonic() - began < 2 * PATIENCE.total_seconds()
    assert exchange(far, ME, beat).is_registered
    assert listener.drain(), "what was told meanwhile may have been missed"
    notifier.wake(notifier_of_others, "worker")
    assert select.select([listener], [], [], 5)[0]
    assert listener.drain()
    notifier_of_others.close()
    listener.close()


@pytest.mark.parametrize("fault", ["lose the commit", "lose the answer"])
def test_a_round_whose_commit_has_no_answer_is_done_once_however_it_ended(
    line: Line, far: Database, db: Database, fault: str
) -> None:
    add_worker(db)
    failing = add_job(db, max_retries=3)
    ended, lost = add_dispatch(db, failing, Status.IN_PROGRESS), add_dispatch(db, add_job(db))
    request = Round(
        results=[result(db, ended, Status.FAILED)],
        chunks=[OutputChunk(ended, 0, 1, db.now(), b"text")],
        claim=1,
        known=frozenset({ended}),
    )
    line.fault = fault
    with pytest.raises(CommitUnknownError):
        exchange(far, ME, request)
    assert line.cuts == 1
    answer = exchange(far, ME, replace(request, is_repeated=True))
    assert answer.refused == frozenset()
    assert [claim.dispatch_id for claim in answer.claims] == [lost]
    assert dispatch_row(db, lost)["worker_id"] == WORKER_ID
    assert [row["status"] for row in dispatches_of(db, failing)] == [Status.FAILED, Status.PENDING]
    assert log_row(db, ended) is not None
    with db.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM job_output_chunk")).scalar_one() == 0


@pytest.mark.parametrize("fault", ["lose the commit", "lose the answer"])
def test_run_now_makes_one_run_though_its_commit_has_no_answer(
    line: Line, far: Database, db: Database, fault: str
) -> None:
    job = add_job(db, "a")
    ask(far)
    line.fault = fault
    created = dispatches.create_manual(far, "a", params={}, requested_by="ann")
    assert line.cuts == 1
    assert [row["id"] for row in dispatches_of(db, job)] == [created.dispatch_id]
    assert created.status is Status.PENDING
    line.fault = fault
    assert dispatches.cancel(far, created.dispatch_id, "ann") is Status.CANCELLED
    line.fault = fault
    again = dispatches.retry(far, created.dispatch_id, "ann")
    assert line.cuts == 3
    assert [row["id"] for row in dispatches_of(db, job)] == [created.dispatch_id, again]


@pytest.mark.parametrize("fault", ["lose the commit", "lose the answer"])
def test_a_tick_is_dispatched_once_though_its_commit_has_no_answer(
    line: Line, far: Database, db: Database, fault: str
) -> None:
    tick = datetime(2030, 1, 1, tzinfo=UTC)
    job = add_job(db, next_run=tick)
    lease = leases.acquire(far, "me", "here", timedelta(seconds=8))
    assert lease is not None
    plan = TickPlan(job.job_id, tick, tick + timedelta(hours=1), (tick,))
    line.fault = fault
    with pytest.raises(CommitUnknownError):
        ticks.dispatch(far, lease, [plan])
    ticks.dispatch(far, lease, [plan])
    assert [row["scheduled_for"] for row in dispatches_of(db, job)] == [tick]


def test_a_lock_that_is_held_for_ever_ends_the_wait_and_keeps_the_connection(
    own_server: PostgresServer, db: Database
) -> None:
    add_job(db, "a")
    holder = open_schema(own_server, db.schema or "")
    with holder.write() as connection:
        connection.execute(text("SELECT * FROM job FOR UPDATE"))
        pid = _pid(db)
        with pytest.raises(DatabaseUnavailableError, match="a lock was held for too long"):
            dispatches.create_manual(db, "a", params={}, requested_by="ann")
        assert _pid(db) == pid
    holder.close()


def test_two_transactions_that_wait_for_each_other_both_succeed_in_the_end(
    own_server: PostgresServer, db: Database
) -> None:
    first, second = add_job(db, "first"), add_job(db, "second")
    meeting = threading.Barrier(2)
    tries: list[str] = []

    def touch(*names: str) -> None:
        own = open_schema(own_server, db.schema or "", timeout=timedelta(seconds=10))

        def work(connection: Any) -> None:
            tries.append(names[0])
            for name in names:
                connection.execute(
                    text("UPDATE job SET description = :by WHERE name = :name"), {"by": names[0], "name": name}
                )
                if name == names[0] and tries.count(name) == 1:
                    meeting.wait(10)

        own.transact(work)
        own.close()

    threads = [
        threading.Thread(target=touch, args=names) for names in ((first.name, second.name), (second.name, first.name))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tries) > 2, "one of them was chosen to begin anew"
    assert all(not thread.is_alive() for thread in threads)
    assert job_row(db, "first")["description"] == job_row(db, "second")["description"] != ""


def test_a_session_of_ours_has_the_servers_deadlines_and_a_name(own_server: PostgresServer, db: Database) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    with db.read() as connection:
        found = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert found == ["900ms", "500ms", "1s", "jobsup/test"]


def test_a_transaction_that_its_process_left_open_is_ended_by_the_server(
    own_server: PostgresServer, db: Database
) -> None:
    add_job(db, "a")

    def linger() -> None:
        with db.write() as connection:
            connection.execute(text("SELECT * FROM job FOR UPDATE"))
            until(lambda: not _sessions_in_transaction(own_server), 60, "the server to end the transaction")
            connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailableError, match="ended the connection"):
        linger()
    assert ask(db) == 1


def _sessions_in_transaction(server: PostgresServer) -> list[tuple[object, ...]]:
    return server.execute("SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'")


def test_no_connection_left_and_a_standby_are_told_as_something_that_passes(
    own_server: PostgresServer, db: Database
) -> None:
    own_server.execute("CREATE ROLE poor LOGIN CONNECTION LIMIT 0")
    poor = Database(own_server.url().replace("jobsup@", "poor@"), timeout=PATIENCE)
    with pytest.raises(DatabaseUnavailableError, match="no connection left"):
        ask(poor)
    poor.close()
    own_server.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        standby = open_schema(own_server, db.schema or "")
        with pytest.raises(DatabaseUnavailableError, match="does not write: it is a standby"):
            add_job(standby)
        told = health.judge({"state": "running"}, standby, set_name="default")
        assert told.state == "degraded", "though it reads as ever"
        assert "does not write: it is a standby, or set to read only" in told.problems[0]
        standby.close()
    finally:
        own_server.execute("BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT")
        own_server.execute("DROP ROLE poor")


def test_what_waiting_does_not_mend_is_told_as_such(own_server: PostgresServer) -> None:
    nowhere = Database(own_server.url("nowhere"), timeout=PATIENCE)
    with pytest.raises(DatabaseError, match="has no such database or user") as caught:
        ask(nowhere)
    assert not isinstance(caught.value, DatabaseUnavailableError)
    nowhere.close()
    empty = Database(own_server.url(), schema="nothing_here", timeout=PATIENCE)
    with pytest.raises(DatabaseError, match="run `jobsup db upgrade`") as caught:
        add_job(empty)
    assert not isinstance(caught.value, DatabaseUnavailableError)
    empty.close()


def test_of_several_hosts_the_one_that_answers_is_used(own_server: PostgresServer, db: Database) -> None:
    url = own_server.url().replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:")
    several = Database(f"{url}?target_session_attrs=read-write", schema=db.schema or "")
    assert ask(several) == 1
    several.close()


class WrongClock(SystemClock):
    """A host whose clock somebody set five minutes ahead."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=5)


def test_the_servers_clock_rules_whatever_this_hosts_clock_says(own_server: PostgresServer, db: Database) -> None:
    wrong = open_schema(own_server, db.schema or "", clock=WrongClock())
    assert abs(wrong.now() - datetime.now(UTC)) < timedelta(seconds=1)
    assert wrong.skew is not None
    assert abs(wrong.skew + timedelta(minutes=5)) < timedelta(seconds=1)
    assert abs(wrong.clock.now() - datetime.now(UTC)) < timedelta(seconds=1)
    wrong.close()


def test_a_pooling_proxy_is_found_out_said_once_and_worked_through(own_server: PostgresServer, db: Database) -> None:
    said: list[str] = []
    unsubscribe = events.subscribe(lambda name, _: said.append(name))
    with pooler_to(own_server.port) as pooler:
        pooled = Database(own_server.url(port=pooler.port), schema=db.schema or "", timeout=PATIENCE)
        listener = notifier.Listener(pooled, "worker")
        add_worker(pooled)
        job = add_job(pooled, overlap=Overlap.ALLOW)
        for number in range(8):  # more often than it takes for a statement to be prepared
            dispatch_id = add_dispatch(pooled, job, params={"n": number})
            answer = exchange(pooled, ME, Round(claim=1))
            assert [claim.dispatch_id for claim in answer.claims] == [dispatch_id]
        assert not listener.drain()
        listener.close()
        pooled.close()
    unsubscribe()
    assert said.count("database.pooled") == 1
    with db.read() as connection:
        assert connection.execute(text("SHOW search_path")).scalar_one() == f'"{db.schema}"'


def test_status_is_told_of_clocks_apart_and_of_connections_that_are_too_few(
    own_server: PostgresServer, db: Database
) -> None:
    wrong = open_schema(own_server, db.schema or "", clock=WrongClock())
    for number in range(20):
        add_worker(wrong, f"worker-{number:05d}", node=f"host-{number % 4}")
    facts = server_facts.read(wrong)
    assert facts is not None
    assert abs(facts.skew + timedelta(minutes=5)) < timedelta(seconds=1)
    assert (facts.connections_needed, facts.connections_max, facts.lacks_connections) == (28, 20, True)
    assert 10 <= facts.connections_left <= 17
    told = health.judge({}, wrong, set_name="default").warnings
    assert "the database server's clock is 300 s behind this host's" in "\n".join(told)
    assert "need 28 connections, and of the server's max_connections = 20" in "\n".join(told)
    wrong.close()
    assert not any("clock" in line for line in health.judge({}, db, set_name="default").warnings)
