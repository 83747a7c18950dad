"""The long form of the tests of several machines: hosts and their database, broken in every way they may break.

    python -m tests.long.hosts [ORDEAL ...] [--hosts 2|4] [--keep FOLDER]

Needs root, the programs `ip` and `nft`, and about half an hour. Each host is a network namespace with a whole
`jobsup start` in it; the checker judges each ordeal by what the jobs themselves wrote down. It prints how long
take-over, the finding of lost work and recovery took, and ends with 1 if anything was not as promised.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.support import networks, ordeals
from tests.support.checker import FaultKind, History, explain, judge
from tests.support.checker.runs import overlaps_after_freeze
from tests.support.fleet import REPLICA, Fleet, fleet
from tests.support.measures import Measures, measure, worst
from tests.support.ordeals import Ordeal
from tests.support.postgres import PostgresServer

WARM_SECONDS = 5.0
TWO, FOUR = ("one", "two"), ("one", "two", "three", "four")


@dataclass(frozen=True)
class Case:
    """An ordeal, and what is promised of it; None: nothing of the kind."""

    title: str
    ordeal: Ordeal
    takeover: float | None = None
    closed: float | None = None
    hosts: tuple[str, ...] = TWO
    recovery: float | None = 10.0


CASES = {
    "leader-cut-off": Case("leader's host cut off", ordeals.leader_cut_off, 10, 21),
    "worker-host-cut-off": Case("another host cut off", ordeals.worker_host_cut_off, closed=21),
    "leader-frozen": Case("leader's host frozen, thawed", ordeals.leader_frozen, 10, 21),
    "leader-host-killed": Case("everything on the leader's host killed", ordeals.leader_host_killed, 10, 21),
    "four-hosts-cut-off": Case("three of four hosts cut off in turn", ordeals.all_cut_off_in_turn, hosts=FOUR),
    "leader-stopped": Case("leader's host stopped in order", ordeals.leader_stopped, 1),
    "scheduler-crashed": Case("leading scheduler killed", ordeals.scheduler_crashed, 1),
    "database-cut-off": Case("database cut off for 30 s", ordeals.database_cut_off),
    "database-cut-off-shortly": Case("database cut off for 9 s", ordeals.database_cut_off_shortly),
    "database-frozen": Case("database frozen for 60 s", ordeals.database_frozen),
    "database-restarted": Case("database crashed every 10 s for 2 min", ordeals.database_restarted),
    "database-read-only": Case("database read-only for 15 s", ordeals.database_read_only),
    "connections-exhausted": Case("connections exhausted for 20 s", ordeals.connections_exhausted),
    "backends-terminated": Case("5 connections ended a second, for 60 s", ordeals.backends_terminated),
    "failover": Case("failover to a streaming replica", lambda _: None),
}


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    measures: Measures
    runs: int
    overlaps: int
    problems: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long.hosts")
    parser.add_argument("ordeals", nargs="*", choices=[[], *CASES], metavar="ORDEAL", help=", ".join(CASES))
    parser.add_argument("--hosts", type=int, choices=(2, 4), help="how many, where the ordeal does not say")
    parser.add_argument("--keep", type=Path, help="keep the evidence and the logs of what failed in this folder")
    options = parser.parse_args()
    if why := networks.why_not():
        print(f"cannot run here: {why}")
        return 2
    outcomes = []
    for name in options.ordeals or CASES:
        began = time.monotonic()
        case = CASES[name] if options.hosts is None else replace(CASES[name], hosts=FOUR[: options.hosts])
        outcome = _run(name, case, options.keep)
        outcomes.append(outcome)
        verdict = "as promised" if not outcome.problems else "NOT as promised"
        print(f"{name}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
        for problem in outcome.problems:
            print(problem, flush=True)
    print("\n" + table(outcomes))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def _run(name: str, case: Case, keep: Path | None) -> Outcome:
    if name == "failover":
        return _with_replica(name, case, keep)
    with fleet(*case.hosts, workers=2 if case.hosts == TWO else 1) as made:
        return _undergo(name, case, made, case.ordeal, keep)


def _with_replica(name: str, case: Case, keep: Path | None) -> Outcome:
    """Give the fleet a second server that follows the first, and a URL that names both."""
    with fleet(*case.hosts, replica=True) as made:
        replica = made.add_replica(REPLICA)
        try:
            return _undergo(name, case, made, partial(_fail_over, replica=replica), keep)
        finally:
            replica.remove()


def _fail_over(made: Fleet, *, replica: PostgresServer) -> None:
    ordeals.failed_over(made, replica)


def _undergo(name: str, case: Case, made: Fleet, ordeal: Callable[[Fleet], None], keep: Path | None) -> Outcome:
    history: History | None = None
    try:
        made.start()
        for host in made.hosts:
            made.ask(host)
        ordeals.pause(WARM_SECONDS)
        ordeal(made)
        history = made.finish()
        outcome = _judge(case, history, made)
    except Exception:  # told with the ordeal it belongs to, and the next one is begun
        outcome = Outcome(case, Measures(None, None, None, None, None, 0), 0, 0, [traceback.format_exc()])
    if outcome.problems and keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if history is not None:
            history.save(keep / f"{name}.json")
        for host in made.hosts:
            (keep / f"{name}-{host.node}.log").write_text(host.log, encoding="utf-8")
    return outcome


def _judge(case: Case, history: History, made: Fleet) -> Outcome:
    measures = worst([measure(history, made.terms, fault) for fault in made.faults])
    problems = [explain(history, found)] if (found := judge(history)) else []
    for what, promised, took in (
        ("take-over", case.takeover, measures.takeover),
        ("lost work closed", case.closed, measures.closed),
        ("recovery", case.recovery, measures.recovery),
    ):
        if promised is not None and (took is None or took > promised):
            problems.append(f"{what}: {_shown(took)}, promised within {promised:g} s")
    overlaps = overlaps_after_freeze(history)
    is_frozen = any(fault.kind is FaultKind.FREEZE for fault in history.faults)
    if measures.margin is not None and measures.margin < 0 and not is_frozen:
        problems.append(f"a lost run lived on for {-measures.margin:.2f} s beside the next")
    return Outcome(case, measures, len({mark.run for mark in history.marks}), overlaps, problems)


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a table in Markdown."""
    head = ("what happened", "take-over", "lost work closed", "begun anew", "dead before that", "recovery", "runs", "")
    lines = [head, ("---",) * len(head)]
    for each in outcomes:
        found = each.measures
        verdict = "as promised" if not each.problems else "**not as promised**"
        margin = found.margin
        dead = f"overlap of {-margin:.1f} s, told" if margin is not None and margin < 0 else _shown(margin)
        times = (_shown(found.takeover), _shown(found.closed), _shown(found.rerun), dead, _shown(found.recovery))
        lines.append((each.case.title, *times, str(each.runs), verdict))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
