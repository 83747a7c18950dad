"""The parts of the engine's benchmark: each names its arms, which are measured one after the other and alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchmarks import latency, main_job, others, throughput
from benchmarks.bench import PLACES, Bench
from benchmarks.figures import Figure, MeasureError

Arms = Iterator[tuple[str, Callable[[], list[Figure]]]]

SHAPES = ((2, 8), (4, 4), (10, 1))
CALL_SHAPES = ((2, 50), *SHAPES)
SHARES = {"full": 0.70, "normal": 0.75, "postgres": 0.55}
"""Of the limit, with 2 workers of 8 slots."""
SHARE_OF_TEN = 0.45
"""Of the limit on SQLite, with 10 workers of one slot."""
CALLS = {"full": 20_000, "normal": 20_000, "postgres": 17_000}
"""A second, with 2 workers of 50 slots."""
CALLS_OF_TEN = 10_000
IDLE_TARGETS = {"idle tree: CPU": 0.3}
DUE_TARGETS = {
    1_000: {"lateness, p99": 250},
    10_000: {"all dispatched and visible after": 0.5, "lateness of the first": 30},
}
"""What the main job's own benchmark asks for more loosely, by what the figures' names end with."""


def _limit(bench: Bench) -> Arms:
    """Tell what the machine can do."""

    def measure() -> list[Figure]:
        found = bench.limit.measure()
        if found is None:
            raise MeasureError(bench.limit.why_not)
        return [Figure("limit: C posix_spawn, 10 processes", found, "/s")]

    yield "C posix_spawn", measure


def _commands(bench: Bench) -> Arms:
    """Run `/bin/true` as a job, its output captured, each run written down."""
    for place in bench.options.places:
        for shape in SHAPES:
            wanted = (
                SHARES[place] if shape == (2, 8) else SHARE_OF_TEN if shape[1] == 1 and place != "postgres" else None
            )
            yield _name(place, shape), partial(_commands_of, bench, place, shape, wanted)


def _commands_of(bench: Bench, place: str, shape: tuple[int, int], wanted: float | None) -> list[Figure]:
    rate = _rate(bench, place, throughput.COMMAND, shape, bench.options.runs, with_limit=True)
    name = f"commands, {_name(place, shape)}"
    figures = [Figure(name, rate.per_second, "/s"), Figure(f"{name}: CPU a run", rate.cpu_seconds * 1e6, "us")]
    if rate.share is not None and rate.limit is not None:
        figures += [
            Figure(f"{name}: the limit beside it", rate.limit, "/s"),
            Figure(f"{name}: share of the limit", rate.share, "", wanted, is_least=True),
        ]
    return figures


def _callables(bench: Bench) -> Arms:
    """Call a Python function as a job, each call written down."""
    for place in bench.options.places:
        for shape in CALL_SHAPES:
            wanted = CALLS[place] if shape == (2, 50) else CALLS_OF_TEN if shape[1] == 1 else None
            yield _name(place, shape), partial(_callables_of, bench, place, shape, wanted)


def _callables_of(bench: Bench, place: str, shape: tuple[int, int], wanted: float | None) -> list[Figure]:
    rate = _rate(bench, place, throughput.CALLABLE, shape, bench.options.calls, with_limit=False)
    name = f"callables, {_name(place, shape)}"
    return [
        Figure(name, rate.per_second, "/s", wanted, is_least=True),
        Figure(f"{name}: CPU a call", rate.cpu_seconds * 1e6, "us"),
    ]


def _rate(
    bench: Bench, place: str, job: str, shape: tuple[int, int], runs: int, *, with_limit: bool
) -> throughput.Rate:
    return throughput.measure(
        bench.place(place),
        job,
        workers=shape[0],
        slots=shape[1],
        runs=runs,
        limit=bench.limit if with_limit else None,
        parent=bench.scratch,
    )


def _run_now(bench: Bench) -> Arms:
    """Time single runs on an idle system."""
    for place in bench.options.places:
        yield PLACES[place], partial(_run_now_on, bench, place)


def _run_now_on(bench: Bench, place: str) -> list[Figure]:
    return latency.run_now(bench.place(place), runs=bench.options.latencies, parent=bench.scratch)


def _due(bench: Bench) -> Arms:
    """Let many jobs come due in one second."""
    for jobs in bench.options.due:
        yield f"{jobs} jobs", partial(_due_of, bench, jobs)


def _due_of(bench: Bench, jobs: int) -> list[Figure]:
    figures = main_job.measure_due(argparse.Namespace(folder=bench.scratch, jobs=jobs))
    return _with_targets(figures, DUE_TARGETS.get(jobs, {}))


def _idle(bench: Bench) -> Arms:
    """Account an idle tree."""
    given = argparse.Namespace(folder=bench.scratch, seconds=bench.options.seconds)
    yield "CPU and memory", lambda: _with_targets(main_job.measure_idle(given), IDLE_TARGETS)
    yield "queries", lambda: main_job.measure_queries(given)


def _with_targets(figures: list[Figure], targets: dict[str, float]) -> list[Figure]:
    return [
        replace(
            figure, target=next((most for end, most in targets.items() if figure.name.endswith(end)), figure.target)
        )
        for figure in figures
    ]


def _claim(bench: Bench) -> Arms:
    """Time claims in a table with a million rows."""
    for place in bench.options.places:
        if place != "normal":
            yield PLACES[place], partial(_claim_on, bench, place)


def _claim_on(bench: Bench, place: str) -> list[Figure]:
    finished = bench.options.finished
    return latency.claims(bench.place(place), finished=finished, pending=finished // 10, parent=bench.scratch)


def _peers(bench: Bench) -> Arms:
    """Set others to the same work."""
    for peer in others.PEERS:
        for kind in ("call", "command"):
            yield f"{peer.name}, {kind}s", partial(_peer, bench, peer, kind)


def _peer(bench: Bench, peer: others.Peer, kind: str) -> list[Figure]:
    folder = bench.options.peer_folder or bench.scratch / "peers"
    try:
        program, version = others.install(peer, folder, bench.options.peer_python)
        rate, setting = others.measure(peer, program, kind, make_database=bench.new_database)
    except others.PeerError as error:
        raise MeasureError(str(error)) from None
    return [Figure(f"peer, {kind}s: {peer.name} {version} ({setting})", rate, "/s")]


def _name(place: str, shape: tuple[int, int]) -> str:
    return f"{PLACES[place]}, {shape[0]}x{shape[1]}"


PARTS: dict[str, Callable[[Bench], Arms]] = {
    "limit": _limit,
    "run": _run_now,
    "idle": _idle,
    "due": _due,
    "claim": _claim,
    "commands": _commands,
    "callables": _callables,
    "peers": _peers,
}
