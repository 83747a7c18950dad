"""The long form of the kills: 200 places and moments on each database, in under a quarter of an hour.

    python -m tests.long.failpoints [--points N] [--seed S] [--keep FOLDER]

Instances on SQLite and on a PostgreSQL server of their own are killed side by side; each lives through POINTS_A_LIFE
kills and is judged by what its jobs wrote down. It ends with 1 if anything was lost or doubled, and names the seed
that shows it again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.checker import explain, judge
from tests.support.postgres import PostgresServer, running, schema
from tests.support.sweep import sweep

POINTS = 200
POINTS_A_LIFE = 10
"""More in a row and the supervisor takes it for a crash loop, and its time between two starts."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long.failpoints")
    parser.add_argument("--points", type=int, default=POINTS, help=f"on each database (default: {POINTS})")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the first one; each life has the next")
    parser.add_argument("--keep", type=Path, help="keep the evidence of what failed in this folder")
    options = parser.parse_args()
    began = time.monotonic()
    context = multiprocessing.get_context("fork")
    sides = [context.Process(target=side, args=(options,)) for side in (_on_sqlite, _on_postgres)]
    for process in sides:
        process.start()
    for process in sides:
        process.join()
    print(f"{time.monotonic() - began:.0f} s")
    return int(any(process.exitcode for process in sides))


def _on_sqlite(options: Any) -> None:
    sys.exit(_all("SQLite", options, lambda seed, points: sweep(points, seed)))


def _on_postgres(options: Any) -> None:
    with running("max_connections=60") as server:
        sys.exit(_all("PostgreSQL", options, lambda seed, points: _on_server(server, seed, points)))


def _on_server(server: PostgresServer, seed: int, points: int) -> Any:
    with schema(server, with_tables=False) as name:
        return sweep(points, seed, server, name)


def _all(where: str, options: Any, live: Callable[[int, int], Any]) -> int:
    """Live through all the kills on one database; returns 1 when a life was not as promised."""
    struck: Counter[str] = Counter()
    failed = 0
    for seed, points in _lives(options.seed, options.points):
        try:
            history, places = live(seed, points)
        except (AssertionError, OSError) as error:  # one life that cannot be judged costs no other
            failed += 1
            print(f"{where}, seed {seed}: {error}", flush=True)
            continue
        struck.update(places)
        found = judge(history)
        runs = len(history.starts)
        print(f"{where}, seed {seed}: {len(places)} kills, {runs} runs began, {len(found)} violations", flush=True)
        if found:
            failed += 1
            print(explain(history, found), flush=True)
            if options.keep:
                history.save(options.keep / f"{where}-{seed}.json")
    told = ", ".join(f"{place} {times}" for place, times in sorted(struck.items()))
    print(f"{where}: {struck.total()} kills, {failed} lives not as promised\n  {told}", flush=True)
    return int(failed > 0)


def _lives(seed: int, points: int) -> Iterator[tuple[int, int]]:
    while points > 0:
        yield seed, min(points, POINTS_A_LIFE)
        points -= POINTS_A_LIFE
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
