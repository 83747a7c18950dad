"""Measure the engine beside the machine's own limit: `python -m benchmarks.engine [--peers] [--only PART,...]`.

All in one run, so that ratios count and not a machine. Each throughput is told with the limit just before and after it.
What fails is told, and costs no other figure; what was measured so far is in the results whenever the run ends.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.deadline import within
from benchmarks.figures import MeasureError, table
from benchmarks.parts import PARTS
from benchmarks.results import Results

RESULTS = Path(__file__).with_name("results")
ARM_SECONDS_MAX = 240.0
"""For one figure or a few that are measured together; of a peer, its installation included."""
PEERS = "peers"


def main(arguments: Sequence[str]) -> int:
    """Measure the parts that are asked for; the exit code is 1 when a part fails or a figure misses its target."""
    options = _options(arguments)
    results = Results(options.results, machine.facts(options.folder))
    ends_at = time.monotonic() + 60 * options.minutes
    with ExitStack() as stack:
        bench = Bench(options, stack)
        for part in options.only:
            _measure(bench, part, results, ends_at)
    print(results.told())
    print(f"\nwritten to {results.json} and {results.picture}")
    return int(results.has_failed)


def _measure(bench: Bench, part: str, results: Results, ends_at: float) -> None:
    began = time.monotonic()
    for name, arm in PARTS[part](bench):
        left = ends_at - time.monotonic()
        print(f"measuring {part}: {name} ({left / 60:.1f} minutes are left) ...", file=sys.stderr, flush=True)
        if left <= 0:
            results.fail(part, name, "no time was left: allow more --minutes")
            continue
        try:
            with within(min(left, ARM_SECONDS_MAX), name):
                figures = arm()
        except MeasureError as error:
            results.fail(part, name, str(error))
        except Exception as error:  # whatever it is, the others are measured all the same
            traceback.print_exc()
            results.fail(part, name, repr(error))
        else:
            print(table(figures), file=sys.stderr, flush=True)
            results.add(part, figures)
    results.took(part, time.monotonic() - began)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    usual = [part for part in PARTS if part != PEERS]
    parser.add_argument("--only", type=_parts, metavar="PART,...", help=f"of {', '.join(PARTS)} (all but {PEERS})")
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument("--minutes", type=float, help="what is not begun by then is left out (15, with peers 40)")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS / f"engine-{datetime.now(UTC).date()}",
        metavar="PATH",
        help="where the figures and the picture go: PATH.json and PATH.svg",
    )
    parser.add_argument("--places", type=_words, default=["full", "normal", "postgres"], metavar="PLACE,...")
    parser.add_argument("--runs", type=int, default=5_000, help="how many commands a heap has (5000)")
    parser.add_argument("--calls", type=int, default=20_000, help="how many callables a heap has (20000)")
    parser.add_argument("--latencies", type=int, default=150, help="how many single runs are timed (150)")
    parser.add_argument("--due", type=_numbers, default=[1000, 10_000], help="how many jobs come due (1000,10000)")
    parser.add_argument("--seconds", type=float, default=45, help="how long to watch the idle tree (45)")
    parser.add_argument("--finished", type=int, default=1_000_000, help="rows in the big table (1000000)")
    parser.add_argument("--peer-folder", type=Path, metavar="FOLDER", help="where the peers' environments are kept")
    parser.add_argument("--peer-python", metavar="PROGRAM", help="a Python 3.12 for the peers that need one")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the databases lie")
    options = parser.parse_args(arguments)
    options.only = options.only or (list(PARTS) if options.peers else usual)
    options.minutes = options.minutes or (40 if PEERS in options.only else 15)
    return options


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def _parts(words: str) -> list[str]:
    if unknown := [part for part in words.split(",") if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return words.split(",")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
