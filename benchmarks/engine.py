"""Measure the engine beside the machine's own limit and beside others: `python -m benchmarks.engine [--only PART,...]`.

All in one run, so that ratios count and not a machine. Each throughput is told with the limit just before and after it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from benchmarks import latency, machine, main_job, others, picture, throughput
from benchmarks.figures import Figure, MeasureError, table
from benchmarks.instance import FULL, NORMAL, Place
from benchmarks.limit import Limit

SHAPES = ((2, 8), (4, 4), (10, 1))
CALL_SHAPES = (*SHAPES, (2, 50))
SHARES = {"SQLite FULL": 0.70, "SQLite NORMAL": 0.75, "PostgreSQL": 0.55}
"""Of the limit, with 2 workers of 8 slots."""
SHARE_OF_TEN = 0.45
"""Of the limit on SQLite, with 10 workers of one slot."""
CALLS = {"SQLite FULL": 20_000, "SQLite NORMAL": 20_000, "PostgreSQL": 17_000}
"""A second, with 2 workers of 50 slots."""
CALLS_OF_TEN = 10_000
SERVER = ("fsync=on", "full_page_writes=on", "shared_buffers=128MB", "max_wal_size=1GB", "max_connections=200")
"""PostgreSQL as it comes; the tests' server is quicker because its data need not last."""


class Bench:
    """One run of the benchmark: what is compiled, started and installed is so once."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self._stack = stack
        self.scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsup-bench-", dir=options.folder))
        )
        self.bars: list[tuple[str, float, bool]] = []
        """Commands a second, for the picture."""
        self.notes: list[str] = []
        """What could not be measured, and why."""

    @cached_property
    def limit(self) -> Limit:
        found = Limit(self.scratch)
        if found.why_not:
            self.notes.append(found.why_not)
        return found

    @cached_property
    def server(self) -> Place:
        from tests.support.postgres import running  # it brings the programs of a server, which nothing else here needs

        self._server = self._stack.enter_context(running(*SERVER))
        return Place("PostgreSQL", server=self._server.url())

    def new_database(self) -> str:
        """Make an empty database on the server and return its URL."""
        name = f"peer_{time.time_ns()}"
        self.server  # noqa: B018  (started now)
        self._server.execute(f"CREATE DATABASE {name}")
        return self._server.url(name)

    @property
    def places(self) -> list[Place]:
        wanted = {"full": lambda: FULL, "normal": lambda: NORMAL, "postgres": lambda: self.server}
        return [wanted[name]() for name in self.options.places]


def limit(bench: Bench) -> list[Figure]:
    """Tell what the machine can do."""
    found = bench.limit.measure()
    if found is None:
        return []
    bench.bars.append(("the machine's limit (C, posix_spawn)", found, False))
    return [Figure("limit: C posix_spawn, 10 processes", found, "/s")]


def commands(bench: Bench) -> list[Figure]:
    """Run `/bin/true` as a job, its output captured, each run written down."""
    figures: list[Figure] = []
    for place in bench.places:
        for workers, slots in SHAPES:
            rate = throughput.measure(
                place,
                throughput.COMMAND,
                workers=workers,
                slots=slots,
                runs=bench.options.runs,
                limit=bench.limit,
                parent=bench.scratch,
            )
            name = f"commands, {place.name}, {workers}x{slots}"
            bench.bars.append((f"jobsup: {name}", rate.per_second, True))
            figures.append(Figure(name, rate.per_second, "/s"))
            if rate.share is not None:
                wanted = SHARES[place.name] if (workers, slots) == (2, 8) else None
                if (workers, slots) == (10, 1) and place.server is None:
                    wanted = SHARE_OF_TEN
                figures.append(Figure("  share of the limit", rate.share, "", wanted, is_least=True))
    return figures


def callables(bench: Bench) -> list[Figure]:
    """Call a Python function as a job, each call written down."""
    figures = []
    for place in bench.places:
        for workers, slots in CALL_SHAPES:
            rate = throughput.measure(
                place,
                throughput.CALLABLE,
                workers=workers,
                slots=slots,
                runs=bench.options.runs,
                limit=None,
                parent=bench.scratch,
            )
            wanted = {(2, 50): CALLS[place.name], (10, 1): CALLS_OF_TEN}.get((workers, slots))
            name = f"callables, {place.name}, {workers}x{slots}"
            figures.append(Figure(name, rate.per_second, "/s", wanted, is_least=True))
    return figures


def run_now(bench: Bench) -> list[Figure]:
    """Time single runs on an idle system."""
    return [
        figure
        for place in bench.places
        for figure in latency.run_now(place, runs=bench.options.latencies, parent=bench.scratch)
    ]


def due(bench: Bench) -> list[Figure]:
    """Let 1,000 and 10,000 jobs come due in one second."""
    figures = []
    for jobs in bench.options.due:
        given = argparse.Namespace(folder=bench.scratch, jobs=jobs)
        figures += main_job.measure_due(given)
    return figures


def idle(bench: Bench) -> list[Figure]:
    """Account an idle tree."""
    given = argparse.Namespace(folder=bench.scratch, seconds=bench.options.seconds)
    return main_job.measure_idle(given) + main_job.measure_queries(given)


def claim(bench: Bench) -> list[Figure]:
    """Time claims in a table with a million rows."""
    return [
        figure
        for place in bench.places
        if place is not NORMAL
        for figure in latency.claims(
            place, finished=bench.options.finished, pending=bench.options.finished // 10, parent=bench.scratch
        )
    ]


def peers(bench: Bench) -> list[Figure]:
    """Set others to the same work."""
    figures = []
    folder = bench.options.peers or bench.scratch / "peers"
    for peer in others.PEERS:
        for kind in ("call", "command"):
            try:
                program, version = others.install(peer, folder, bench.options.peer_python)
                rate, setting = others.measure(peer, program, kind, make_database=bench.new_database)
            except (others.PeerError, ValueError, KeyError, IndexError) as error:
                bench.notes.append(f"{peer.name}, {kind}s: {error}")
                continue
            print(f"    {peer.name} {version}, {kind}s: {rate:.0f}/s", file=sys.stderr, flush=True)
            if kind == "command":
                bench.bars.append((f"{peer.name} {version}: commands", rate, False))
            figures.append(Figure(f"{peer.name} {version}, {kind}s ({setting})", rate, "/s"))
    return figures


PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "limit": limit,
    "commands": commands,
    "callables": callables,
    "run": run_now,
    "due": due,
    "idle": idle,
    "claim": claim,
    "peers": peers,
}


def main(arguments: Sequence[str]) -> int:
    """Measure the parts that are asked for; the exit code is 1 when a part fails or a figure misses its target."""
    options = _options(arguments)
    facts = machine.facts(options.folder)
    figures: list[Figure] = []
    with ExitStack() as stack:
        bench = Bench(options, stack)
        for part in options.only:
            print(f"measuring {part} ...", file=sys.stderr, flush=True)
            try:
                found = PARTS[part](bench)
            except (MeasureError, RuntimeError) as error:
                bench.notes.append(f"{part}: {error}")
                continue
            print(table(found), file=sys.stderr, flush=True)
            figures += found
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), table(figures), sep="\n\n")
    print("".join(f"\nnot measured: {note}" for note in bench.notes))
    if options.json:
        told = [asdict(figure) | {"verdict": figure.verdict} for figure in figures]
        answer = {"schema": 1, "machine": facts, "figures": told, "not_measured": bench.notes}
        options.json.write_text(json.dumps(answer, indent=2) + "\n")
    if options.picture:
        options.picture.write_text(picture.bars("Commands a second, output captured", bench.bars, "/s"))
    return int(bool(bench.notes) or any(figure.verdict == "MISSED" for figure in figures))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the commands' rates there, as SVG")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--places",
        type=lambda text: text.split(","),
        default=["full", "normal", "postgres"],
        metavar="PLACE,...",
        help="of full, normal, postgres",
    )
    parser.add_argument("--runs", type=int, default=10_000, help="how many runs a heap has (10000)")
    parser.add_argument("--latencies", type=int, default=200, help="how many single runs are timed (200)")
    parser.add_argument("--due", type=_numbers, default=[1000, 10_000], help="how many jobs come due (1000,10000)")
    parser.add_argument("--seconds", type=float, default=60, help="how long to watch the idle tree (60)")
    parser.add_argument("--finished", type=int, default=1_000_000, help="rows in the big table (1000000)")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the peers' environments are kept")
    parser.add_argument("--peer-python", metavar="PROGRAM", help="a Python 3.12 for the peers that need one")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the databases lie")
    return parser.parse_args(arguments)


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def _parts(words: str) -> list[str]:
    if unknown := [part for part in words.split(",") if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return words.split(",")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
