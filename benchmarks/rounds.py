"""Measure the database's share of a run: `python -m benchmarks.rounds [--places full,normal,postgres] [--profile]`.

No worker, no process: one connection ends what it has claimed and claims as much again, a transaction a round, as a
busy worker does. Told is the CPU of the thread that asks and, for PostgreSQL, of the server's process that answers,
each for one run and for the round alone (what a round of no runs would cost, by the line through the sizes).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from benchmarks import tree
from benchmarks.bench import PLACES, Bench
from benchmarks.figures import Figure, table
from benchmarks.throughput import fill
from jobsup.clock import SystemClock
from jobsup.model import (
    CapturedOutput,
    Claim,
    JobKind,
    JobSpec,
    Origin,
    Overlap,
    Reason,
    RunResult,
    Status,
    WorkerFacts,
)
from jobsup.store import keeping, rounds, schema, workers
from jobsup.store.engine import Database
from jobsup.store.rounds import Round, Worker

SIZES = (1, 8, 50)
SLOTS = 64
MICROSECONDS = 1e6
PROFILE_LINES = 45


@dataclass(frozen=True, slots=True)
class Cost:
    """What some rounds of one size took, in seconds."""

    size: int
    rounds: int
    client: float
    server: float
    wall: float

    def per_round(self, seconds: float) -> float:
        return seconds / self.rounds


def main(arguments: Sequence[str]) -> int:
    """Measure each place; the exit code is 0."""
    options = _options(arguments)
    with ExitStack() as stack:
        bench = Bench(options, stack)
        for word in options.places:
            print(f"\n{PLACES[word]}")
            print(table(_measured(bench, word, options)), flush=True)
    return 0


def _measured(bench: Bench, word: str, options: argparse.Namespace) -> list[Figure]:
    with _database(bench, word) as (database, worker):
        _exchange(database, worker, size=8, count=20)
        if options.profile or options.statements:
            _look_closer(database, worker, options)
            return []
        costs = [_cost(database, worker, size, max(20, options.runs // max(8, size))) for size in options.sizes]
    figures = []
    for cost in costs:
        per_run = {name: getattr(cost, name) / cost.rounds / cost.size for name in ("client", "server", "wall")}
        figures += [
            Figure(f"rounds of {cost.size}: {name}", seconds * MICROSECONDS, "us a run")
            for name, seconds in per_run.items()
        ]
    return figures + _fixed(costs)


def _fixed(costs: Sequence[Cost]) -> list[Figure]:
    """Draw a line through the smallest size and the largest."""
    few, many = costs[0], costs[-1]
    if few.size == many.size:
        return []
    found = []
    for name in ("client", "server", "wall"):
        low, high = few.per_round(getattr(few, name)), many.per_round(getattr(many, name))
        slope = (high - low) / (many.size - few.size)
        found.append(Figure(f"a round alone: {name}", (low - slope * few.size) * MICROSECONDS, "us"))
        found.append(Figure(f"one more run: {name}", slope * MICROSECONDS, "us"))
    return found


def _cost(database: Database, worker: Worker, size: int, count: int) -> Cost:
    server = _server_pid(database)
    claims = _first(database, worker, size=size, count=count)
    wall, client, served = time.perf_counter(), time.thread_time(), tree.cpu_seconds(server)
    _go_on(database, worker, claims, count=count)
    return Cost(
        size,
        count,
        time.thread_time() - client,
        tree.cpu_seconds(server) - served,
        time.perf_counter() - wall,
    )


def _exchange(database: Database, worker: Worker, *, size: int, count: int) -> None:
    """Do `count` rounds of that size, and what comes before and after them."""
    _go_on(database, worker, _first(database, worker, size=size, count=count), count=count)


def _first(database: Database, worker: Worker, *, size: int, count: int) -> Sequence[Claim]:
    """Let enough runs wait for `count` rounds, and claim the first of them."""
    fill(database, size * (count + 1))
    return rounds.exchange(database, worker, Round(claim=size)).claims


def _go_on(database: Database, worker: Worker, claims: Sequence[Claim], *, count: int) -> None:
    """End what is claimed and claim as much, `count` times, and end what is left."""
    size = len(claims)
    for _ in range(count):
        assert len(claims) == size, f"{len(claims)} runs were claimed instead of {size}"
        request = rounds.ready(Round(results=_results(claims), claim=size))
        claims = rounds.exchange(database, worker, request).claims
    rounds.exchange(database, worker, Round(results=_results(claims)))


def _results(claims: Sequence[Claim]) -> list[RunResult]:
    """End what was claimed as calls of a Python function do."""
    now = _clock.now()
    return [
        RunResult(
            claim.dispatch_id,
            Status.COMPLETED,
            Reason.NONE,
            finished_at=now,
            started_at=now,
            pid=4711,
            output=_NO_OUTPUT,
            result="[2026, 11, 26, 12, 0, 0, 3, 330, 0]",
            cpu_user=0.000012,
            cpu_system=0.000001,
            max_rss=20 << 20,
            io_read=0,
            io_write=0,
            is_live=False,
        )
        for claim in claims
    ]


def _look_closer(database: Database, worker: Worker, options: argparse.Namespace) -> None:
    for size in options.sizes:
        count = max(20, options.runs // max(8, size))
        if options.statements:
            with _statements(database) as sent:
                _exchange(database, worker, size=size, count=1)
            print(f"-- rounds of {size}")
            for statement, times in sent.items():
                print(f"{times} x {statement}\n")
            continue
        profile = cProfile.Profile()
        profile.runcall(_exchange, database, worker, size=size, count=count)
        print(f"-- rounds of {size}, {count} of them")
        pstats.Stats(profile).sort_stats("tottime").print_stats(PROFILE_LINES)


@contextmanager
def _statements(database: Database) -> Iterator[Counter[str]]:
    sent: Counter[str] = Counter()

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent[statement] += 1

    event.listen(database.engine, "before_cursor_execute", count)
    yield sent
    event.remove(database.engine, "before_cursor_execute", count)


@contextmanager
def _database(bench: Bench, word: str) -> Iterator[tuple[Database, Worker]]:
    place = bench.place(word)
    url = place.server or f"sqlite:///{bench.scratch / word}.db"
    name = f"rounds_{time.time_ns()}"
    with closing(Database(url, schema=name, kind="bench")) as database:
        schema.upgrade(database)
        spec = JobSpec(name="work", kind=JobKind.PYTHON, python="time:gmtime", overlap=Overlap.ALLOW)
        keeping.save(database, spec, origin=Origin.CLI, set_name="default", replaces=None)
    with closing(Database(url, synchronous=place.synchronous, schema=name, kind="worker")) as database:
        yield database, _register(database)


def _register(database: Database) -> Worker:
    facts = WorkerFacts(
        node="here",
        boot_id="boot",
        pid_namespace="pid",
        process_id=1,
        process_started=1,
        heartbeat_interval=timedelta(seconds=5),
        concurrency=SLOTS,
        queues=(),
    )
    return Worker(workers.register(database, facts, "0"), "here")


def _server_pid(database: Database) -> list[int]:
    """Return the server's process that answers us; none on SQLite."""
    if database.is_sqlite:
        return []
    with database.read() as connection:
        return [connection.execute(text("SELECT pg_backend_pid()")).scalar_one()]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rounds", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--places", type=_words, default=["full", "normal", "postgres"], metavar="PLACE,...")
    parser.add_argument("--sizes", type=_numbers, default=list(SIZES), help="runs in a round (1,8,50)")
    parser.add_argument("--runs", type=int, default=10_000, help="about how many runs there are of each size (10000)")
    parser.add_argument("--profile", action="store_true", help="print where Python spends its time instead")
    parser.add_argument("--statements", action="store_true", help="print what is sent in a round instead")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the databases lie")
    return parser.parse_args(arguments)


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


_clock = SystemClock()
_NO_OUTPUT = CapturedOutput()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
