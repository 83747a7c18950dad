"""A thousand workers on one PostgreSQL server, and a hundred real ones.

    python -m tests.long.many_workers [--light 1000] [--runs 20000] [--real 100] [--real-runs 5000] [--processes 4]
        [--heartbeat 5]

First light clients, each registered and on a connection of its own, heartbeat, claim and finish all the runs beside a
real scheduler, and one run more is made to see how many of them it wakes. Then one `jobsup start` with real worker
processes does the same with real commands. The server has room for as many connections as that takes. A few minutes
in all; it ends with 1 when a worker was given up, a run was lost, done twice or failed, or more than a few woke.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from jobsup.model import Status
from jobsup.store import dispatches, overview, schema, workers
from jobsup.store.engine import Database
from jobsup.store.wake_channels import SPARE_OFFERS
from tests.support.hosts import SCHEMA, Host
from tests.support.light import LightWorker, serve
from tests.support.postgres import PostgresServer, running
from tests.support.waiting import until

JOBS = """
[[job]]
name = "light"
command = "true"
queue = "light"
overlap = "allow"
[[job]]
name = "real"
command = "true"
queue = "real"
overlap = "allow"
"""
SPARE_CONNECTIONS = 100
REGISTER_SECONDS = 600.0
DRAIN_SECONDS = 1800.0
CALM_SECONDS = 60.0


class BrokenPromiseError(Exception):
    """Something promised is not true."""


def demand(is_true: bool, what: str) -> None:
    if not is_true:
        raise BrokenPromiseError(what)


def main() -> int:
    wanted = _arguments()
    with running(f"max_connections={max(wanted.light, wanted.real) + SPARE_CONNECTIONS}") as server:
        try:
            if wanted.light:
                _light(server, wanted)
            if wanted.real:
                _real(server, wanted)
        except BrokenPromiseError as failure:
            print(f"FAILED: {failure}")
            return 1
    print("passed")
    return 0


def _light(server: PostgresServer, wanted: argparse.Namespace) -> None:
    host = Host(server, "here", JOBS, workers=0)
    try:
        database = _prepared(host, server)
        with ExitStack() as stack:
            stack.callback(database.close)
            crowd = _crowd(server, wanted, stack)
            registered = len(workers.list_workers(database))
            demand(registered == wanted.light, f"{registered} workers are registered")
            health = host.json("status")
            demand(not any("connections" in line for line in health["warnings"]), str(health["warnings"]))
            before = time.monotonic()
            _fill(server, "light", wanted.runs)
            _tell(crowd, "work")
            _await_done(database, "light", wanted.runs, crowd)
            seconds = time.monotonic() - before
            print(f"{wanted.runs} runs claimed and finished by {wanted.light} workers in {seconds:.1f} s")
            demand(_sessions(server, "worker") == wanted.light, "not one connection for each worker")
            rounds = _await_calm(database, crowd, wanted.heartbeat)
            dispatches.create_manual(database, "light", params={}, requested_by="test")
            _await_done(database, "light", wanted.runs + 1, crowd)
            woken = sum(answer["woken"] for answer in _ask(crowd, "count"))
            told = _ask(crowd, "stop")
            print(f"one run more: {woken} of {wanted.light} asked for it ({rounds} rounds before)")
            demand(1 <= woken <= 1 + SPARE_OFFERS, f"{woken} workers were woken for one run")
            demand(not any(each["errors"] for each in told), f"errors: {[each['errors'] for each in told]}")
            given_up, refused = (sum(each[what] for each in told) for what in ("expelled", "refused"))
            demand(not given_up and not refused, f"{given_up} workers were given up, {refused} results refused")
            claimed = sum(each["claimed"] for each in told)
            demand(claimed == wanted.runs + 1, f"{claimed} runs were claimed: some were lost, or done twice")
            _judge(server, "light", wanted.runs + 1)
    finally:
        host.close()
        server.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def _real(server: PostgresServer, wanted: argparse.Namespace) -> None:
    host = Host(server, "here", JOBS, workers=wanted.real)
    try:
        before = time.monotonic()
        database = _prepared(host, server)
        print(f"{wanted.real} real workers are up after {time.monotonic() - before:.1f} s")
        alive = {row.worker_id for row in workers.list_workers(database)}
        demand(len(alive) == wanted.real, f"{len(alive)} real workers are registered")
        before = time.monotonic()
        _fill(server, "real", wanted.real_runs)
        dispatches.create_manual(database, "real", params={}, requested_by="test")
        _await_done(database, "real", wanted.real_runs + 1, [])
        seconds = time.monotonic() - before
        print(f"{wanted.real_runs + 1} commands run by {wanted.real} workers in {seconds:.1f} s")
        demand(_sessions(server, "worker") == wanted.real, "not one connection for each real worker")
        demand({row.worker_id for row in workers.list_workers(database)} == alive, "a real worker was replaced")
        demand(host.cli("status").returncode == 0, "status is not healthy")
        _judge(server, "real", wanted.real_runs + 1)
        database.close()
        demand(host.stop() == 0, "the instance did not stop in order")
    except BrokenPromiseError:
        print("\n".join(line for line in host.log.splitlines() if " WARNING " in line or " ERROR " in line))
        raise
    finally:
        host.close()


def _prepared(host: Host, server: PostgresServer) -> Database:
    """Start the host, whose schema and definitions are there then."""
    host.settings = host.settings.replace("[worker]\n", '[worker]\nqueues = ["real"]\n')
    host.settings = host.settings.replace('level = "DEBUG"', 'level = "INFO"')
    host.write(JOBS)
    host.process = host.spawn("start")
    until(host._is_up, REGISTER_SECONDS, "the instance to come up", lambda: host.log[-3000:])
    database = Database(server.url(), schema=SCHEMA, kind="test")
    schema.ensure(database, migrate=False)
    return database


# The crowd, in processes of its own


def _crowd(server: PostgresServer, wanted: argparse.Namespace, stack: ExitStack) -> list[Connection]:
    context = multiprocessing.get_context("spawn")
    ends = []
    before = time.monotonic()
    for start in range(wanted.processes):
        numbers = range(start, wanted.light, wanted.processes)
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_serve, args=(server.url(), list(numbers), wanted.heartbeat, theirs), daemon=True
        )
        child.start()
        theirs.close()
        stack.callback(child.join, 60)
        ends.append(ours)
    for end in ends:
        demand(end.poll(REGISTER_SECONDS) and end.recv() == "ready", "the crowd did not come up")
    print(f"{wanted.light} light workers are registered after {time.monotonic() - before:.1f} s")
    return ends


def _serve(url: str, numbers: list[int], heartbeat: float, end: Connection) -> None:
    """Be some of the light workers, until told to stop; then say what they did."""
    crowd: list[LightWorker] = []
    for number in numbers:
        database = Database(url, schema=SCHEMA, kind="worker")
        crowd.append(LightWorker(database, number, queues=("light",), heartbeat=heartbeat))
        for worker in crowd:
            if worker.beat_at <= time.monotonic():  # those that are there must be heard of while others come
                worker.turn()
    end.send("ready")
    errors: list[str] = []
    known = [0] * len(crowd)

    def heard() -> bool:
        nonlocal known
        if not end.poll():
            return False
        word = end.recv()
        if word == "count":
            found = [worker.rounds for worker in crowd]
            woken = sum(now > then for now, then in zip(found, known, strict=True))
            known = found
            end.send({"woken": woken, "rounds": sum(found)})
        if word == "work":
            for worker in crowd:
                worker.ask()
        return bool(word == "stop")

    try:
        serve(crowd, heard, DRAIN_SECONDS)
    except Exception as error:
        errors.append(repr(error))
    end.send(
        {
            "claimed": sum(len(worker.claimed) for worker in crowd),
            "expelled": sum(worker.is_expelled for worker in crowd),
            "refused": sum(worker.refused for worker in crowd),
            "errors": errors,
        }
    )
    for worker in crowd:
        worker.close()


def _tell(crowd: list[Connection], word: str) -> None:
    for end in crowd:
        end.send(word)


def _ask(crowd: list[Connection], word: str) -> list[dict[str, Any]]:
    _tell(crowd, word)
    return [end.recv() for end in crowd]


# The work, and what became of it


def _fill(server: PostgresServer, job: str, count: int) -> None:
    server.execute(
        f"SET search_path = {SCHEMA}; INSERT INTO job_dispatch "
        "(job_id, source, status, queue, available_at, created_at, claim_rank) "
        f"SELECT j.id, 'manual', 'PENDING', j.queue, now(), now(), n FROM job j, generate_series(1, {count}) n "
        f"WHERE j.name = '{job}'"
    )


def _await_done(database: Database, job: str, count: int, crowd: list[Connection]) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while sum(overview.counts(database)[status] for status in Status if status.is_terminal) < count:
        demand(time.monotonic() < deadline, f"the runs of {job} were not done in {DRAIN_SECONDS:g} s")
        for end in crowd:
            demand(not end.poll(0.1), "a part of the crowd ended early")
        time.sleep(0.2)


def _await_calm(database: Database, crowd: list[Connection], heartbeat: float) -> int:
    """Wait until nobody asks any more and all are heard of in time; returns how many rounds there were.

    A crowd that shares a few processes is late while it works, and long busy with what it was woken for.
    """
    deadline = time.monotonic() + CALM_SECONDS
    before = -1
    while True:
        rounds = sum(answer["rounds"] for answer in _ask(crowd, "count"))
        now = database.now()
        oldest = max((now - row.last_heartbeat).total_seconds() for row in workers.list_workers(database))
        if rounds == before and oldest < 1.5 * heartbeat:
            return rounds
        demand(time.monotonic() < deadline, f"the crowd was not quiet after {CALM_SECONDS:g} s")
        before = rounds
        time.sleep(heartbeat)


def _judge(server: PostgresServer, job: str, count: int) -> None:
    rows = server.execute(
        f"SELECT status, count(*) FROM {SCHEMA}.job_dispatch d JOIN {SCHEMA}.job j ON j.id = d.job_id "
        f"WHERE j.name = '{job}' GROUP BY status"
    )
    demand(rows == [("COMPLETED", count)], f"not all runs of {job} are COMPLETED: {rows}")


def _sessions(server: PostgresServer, kind: str) -> int:
    name = f"jobsup/{kind}"
    return int(str(server.execute(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'")[0][0]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--light", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--real", type=int, default=100)
    parser.add_argument("--real-runs", type=int, default=5000)
    parser.add_argument("--heartbeat", type=float, default=5.0, help="Seconds; longer where the machine is busy.")
    parser.add_argument("--processes", type=int, default=4, help="Of the light workers.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
