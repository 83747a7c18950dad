"""The long form of the tests of several machines: hosts and their database, broken in every way they may break.

    python -m tests.long.hosts [ORDEAL ...] [--hosts 2|4] [--at-once 3] [--keep FOLDER]

Needs root and the programs `ip` and `nft`. Each host is a network namespace with a whole `jobsup start` in it; the
checker judges each ordeal by what the jobs themselves wrote down. Each ordeal has a process of its own, and several
are undergone at once, for most of their time is waiting; those that promise a second have the machine to themselves.
An ordeal that fails or hangs ends no other one, and leaves its evidence and its logs in a folder that is named. In
the end a table tells how long take-over, the finding of lost work and recovery took; the exit code is 1 if anything
was not as promised.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support import cages, networks, ordeals
from tests.support.checker import FaultKind, History, JobLaw, explain, judge
from tests.support.fleet import REPLICA, Fleet, fleet
from tests.support.measures import NOTHING, Measures, measure, worst
from tests.support.ordeals import Ordeal
from tests.support.postgres import end_with_parent
from tests.support.workload import JOBS, LedgerJob

WARM_SECONDS = 5.0
ORDEAL_SECONDS_MAX = 420.0
"""The longest of them takes half of that; one that hangs is ended."""
CLEAR_SECONDS_MAX = 30.0
TWO, FOUR = ("one", "two"), ("one", "two", "three", "four")
BRIEF = (*JOBS[:3], LedgerJob(JobLaw("vigil", 10.0, lines=2), 8.0), *JOBS[-2:])
"""For ordeals that take no host away: no run has to outlast a lease, and the end comes the sooner."""


@dataclass(frozen=True)
class Case:
    """An ordeal, and what is promised of it in seconds; None: nothing of the kind."""

    title: str
    ordeal: Ordeal
    takeover: float | None = None
    closed: float | None = None
    hosts: tuple[str, ...] = TWO
    recovery: float = 10.0
    jobs: tuple[LedgerJob, ...] = JOBS

    @property
    def is_alone(self) -> bool:
        """What is promised within a second is measured with nothing beside it."""
        return self.takeover is not None and self.takeover <= 1


CASES = {
    "leader-cut-off": Case("leader's host cut off", ordeals.leader_cut_off, 10, 21),
    "worker-host-cut-off": Case("another host cut off", ordeals.worker_host_cut_off, closed=21),
    "leader-frozen": Case("leader's host frozen, thawed", ordeals.leader_frozen, 10, 21),
    "leader-host-killed": Case("everything on the leader's host killed", ordeals.leader_host_killed, 10, 21),
    "four-hosts-cut-off": Case("three of four hosts cut off in turn", ordeals.all_cut_off_in_turn, hosts=FOUR),
    "leader-stopped": Case("leader's host stopped in order", ordeals.leader_stopped, 1, jobs=BRIEF),
    "scheduler-crashed": Case("leading scheduler killed", ordeals.scheduler_crashed, 1, jobs=BRIEF),
    "database-cut-off-shortly": Case("database cut off for 9 s", ordeals.database_cut_off_shortly, jobs=BRIEF),
    "database-cut-off": Case("database cut off for 30 s", ordeals.database_cut_off),
    "database-frozen": Case("database frozen for 60 s", ordeals.database_frozen),
    "database-restarted": Case("database crashed every 10 s for 2 min", ordeals.database_restarted, jobs=BRIEF),
    "database-read-only": Case("database read-only for 15 s", ordeals.database_read_only, jobs=BRIEF),
    "connections-exhausted": Case("connections exhausted for 20 s", ordeals.connections_exhausted, jobs=BRIEF),
    "backends-terminated": Case("5 connections ended a second, for 60 s", ordeals.backends_terminated, jobs=BRIEF),
    "failover": Case("failover to a streaming replica", ordeals.failed_over, jobs=BRIEF),
}


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    measures: Measures
    runs: int
    problems: list[str]


def main() -> int:
    options = _options()
    if why := networks.why_not():
        print(f"cannot run here: {why}")
        return 2
    began = time.monotonic()
    names = options.ordeals or list(CASES)
    alone = [name for name in names if CASES[name].is_alone]
    others = [name for name in names if name not in alone]
    keep = options.keep or Path(tempfile.mkdtemp(prefix="jobsup-ordeals-"))
    found: dict[str, Outcome] = {}
    for crowd, at_once in ((alone, 1), (others, options.at_once)):
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            undergo = partial(_apart, hosts=options.hosts, keep=keep)
            found.update(zip(crowd, pool.map(undergo, crowd), strict=True))
    networks.sweep()
    cages.sweep()
    print("\n" + table([found[name] for name in names]))
    failed = [name for name in names if found[name].problems]
    print(f"\n{len(names)} ordeals in {time.monotonic() - began:.0f} s, {len(failed)} not as promised")
    if failed:
        print(f"evidence and logs: {keep}")
    elif options.keep is None:
        keep.rmdir()
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.long.hosts")
    parser.add_argument("ordeals", nargs="*", choices=[[], *CASES], metavar="ORDEAL", help=", ".join(CASES))
    parser.add_argument("--hosts", type=int, choices=(2, 4), help="how many, where the ordeal does not say")
    parser.add_argument("--at-once", type=int, default=3, help="how many ordeals side by side (3)")
    parser.add_argument("--keep", type=Path, help="where the evidence and the logs of what failed go")
    return parser.parse_args()


def _apart(name: str, *, hosts: int | None, keep: Path) -> Outcome:
    """Undergo an ordeal in a process of its own, which is ended when it hangs, and tell what came of it."""
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(name, hosts, keep, theirs))
    process.start()
    theirs.close()
    outcome = _heard(ours, CASES[name])
    process.join(CLEAR_SECONDS_MAX)
    if process.is_alive():  # what it leaves behind is swept away in the end
        process.kill()
    verdict = "as promised" if not outcome.problems else "NOT as promised"
    told = f"{name}: {verdict} ({outcome.runs} runs, {time.monotonic() - began:.0f} s)"
    print("\n".join([told, *outcome.problems]), flush=True)
    return outcome


def _heard(end: Connection, case: Case) -> Outcome:
    if not end.poll(ORDEAL_SECONDS_MAX):
        return Outcome(case, NOTHING, 0, [f"it was not over after {ORDEAL_SECONDS_MAX:g} s"])
    try:
        return Outcome(case, *end.recv())
    except EOFError:
        return Outcome(case, NOTHING, 0, ["its process ended without a word"])


def _report(name: str, hosts: int | None, keep: Path, end: Connection) -> None:
    """In the process of an ordeal: say what came of it, when all is cleared away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clear away as well when it is told to end
    end_with_parent(signal.SIGTERM)
    case = CASES[name]
    nodes = case.hosts if hosts is None else FOUR[:hosts]
    crowded = {"workers": 2} if len(nodes) == len(TWO) else {"workers": 1, "concurrency": 3}
    try:
        with fleet(*nodes, replica=name == "failover", jobs=_jobs(case, nodes), **crowded) as made:
            outcome = _undergo(name, case, made, keep)
    except Exception:  # told with the ordeal it belongs to; the others go on
        outcome = Outcome(case, NOTHING, 0, [traceback.format_exc()])
    end.send((outcome.measures, outcome.runs, outcome.problems))


def _jobs(case: Case, nodes: tuple[str, ...]) -> tuple[LedgerJob, ...]:
    """Return the jobs, with as many long ones as it takes that each host has one of them."""
    if len(nodes) == len(TWO) or case.jobs is BRIEF or case.hosts == FOUR:
        return case.jobs
    return (*case.jobs, *(LedgerJob(JobLaw(f"vigil-{number}", 30.0, lines=2), 24.0) for number in range(4, 7)))


def _undergo(name: str, case: Case, made: Fleet, keep: Path) -> Outcome:
    history: History | None = None
    try:
        ordeal: Callable[[Fleet], None] = case.ordeal
        if name == "failover":
            ordeal = partial(case.ordeal, replica=made.add_replica(REPLICA))
        made.start()
        for host in made.hosts:
            made.ask(host)
        ordeals.pause(WARM_SECONDS)
        ordeal(made)
        history = made.finish()
        outcome = _judge(case, history, made)
    except Exception:  # its logs are kept as those of one that was judged
        outcome = Outcome(case, NOTHING, 0, [traceback.format_exc()])
    if outcome.problems:
        _keep(keep, name, made, history, outcome.problems)
    return outcome


def _keep(folder: Path, name: str, made: Fleet, history: History | None, problems: list[str]) -> None:
    """Keep what was seen, what was logged, and what was found wrong with it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("\n\n".join(problems), encoding="utf-8")
    if history is not None:
        history.save(folder / f"{name}.json")
    for host in made.hosts:
        (folder / f"{name}-{host.node}.log").write_text(host.log, encoding="utf-8")
    (folder / f"{name}-server.log").write_bytes(made.server.log.read_bytes())


def _judge(case: Case, history: History, made: Fleet) -> Outcome:
    measures = worst([measure(history, made.terms, fault, made.beats) for fault in made.faults])
    problems = [explain(history, found)] if (found := judge(history)) else []
    for what, promised, took in (
        ("take-over", case.takeover, measures.takeover),
        ("lost work closed", case.closed, measures.closed),
        ("recovery", case.recovery, measures.recovery),
    ):
        if promised is not None and (took is None or took > promised):
            problems.append(f"{what}: {_shown(took)}, promised within {promised:g} s")
    is_frozen = any(fault.kind is FaultKind.FREEZE for fault in history.faults)
    if measures.margin is not None and measures.margin < 0 and not is_frozen:
        problems.append(f"a lost run lived on for {-measures.margin:.2f} s beside the next")
    return Outcome(case, measures, len({mark.run for mark in history.marks}), problems)


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a table in Markdown, as it stands in the README."""
    head = ("what happened", "take-over", "lost work closed", "begun anew", "dead before that", "recovery")
    lines = [head, ("---",) * len(head)]
    for each in outcomes:
        found = each.measures
        title = each.case.title if not each.problems else f"{each.case.title} (**not as promised**)"
        margin = found.margin
        dead = f"overlap of {-margin:.1f} s, told" if margin is not None and margin < 0 else _shown(margin)
        times = (_shown(found.takeover), _shown(found.closed), _shown(found.rerun), dead, _shown(found.recovery))
        lines.append((title, *times))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
