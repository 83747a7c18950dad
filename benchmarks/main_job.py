"""Measure the main job, end to end: `python -m benchmarks.main_job [--json FILE] [--only run,idle] [--seconds 60]`.

Each part starts an instance of its own in a temporary folder, measures from outside (the kernel's accounts, the tables,
the jobs' own clocks), and stops it. Nothing is asked of the instance while it is measured idle.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks import counted, machine, tree
from benchmarks.figures import Figure, MeasureError, percentile, table
from benchmarks.instance import JOBSUP, Instance, instant

MIB = 1 << 20
SETTLE_SECONDS = 3.0
"""What an instance is given after a start or a load before it counts as idle."""
REST_SECONDS = 0.1
"""Between two runs, so that each finds an idle system."""
DUE_LEAD_SECONDS = 20
"""How long before its jobs are due the instance with many jobs is started, and how much longer for each of them."""
DUE_LEAD_SECONDS_PER_JOB = 0.004
LOAD_SECONDS = 120.0
COMMAND_RUNS = 10

# Only wake-ups can make anything happen.
NO_POLLS = """
[scheduler]
poll_interval = "3600s"
[worker]
poll_interval = "3600s"
max_poll_interval = "3600s"
"""
SOME_JOBS = "\n".join(
    f'[[job]]\nname = "nightly-{number}"\ncommand = ["/bin/true"]\ncron = "{number} 3 29 2 *"' for number in range(10)
)
STAMP_JOB = '[[job]]\nname = "stamp"\ncommand = ["/bin/date", "+%s.%N"]'


def measure_run(options: argparse.Namespace) -> list[Figure]:
    """Time `jobsup run NAME`: from the return of its COMMIT to what the job's own process reads on the clock.

    The exec and start of `/bin/date` are in the figure, about a millisecond.
    """
    with Instance(NO_POLLS, STAMP_JOB, parent=options.folder) as instance:
        time.sleep(SETTLE_SECONDS)
        committed = [_run_stamp(instance) for _ in range(options.runs)]
        rows = instance.rows(
            "SELECT created_at, started_at, log_output FROM job_dispatch d"
            " JOIN job_execution_log l ON l.dispatch_id = d.id ORDER BY d.id"
        )
    created, started = ([instant(row[column]).timestamp() for row in rows] for column in (0, 1))
    stamped = [float(row[2]) for row in rows]
    total = _milliseconds(committed, stamped)
    return [
        Figure("run NAME: committed -> process started, p50", percentile(total, 0.5), "ms", 15),
        Figure("run NAME: committed -> process started, p99", percentile(total, 0.99), "ms"),
        Figure(
            "run NAME:   the same by the row's started_at, p50",
            percentile(_milliseconds(committed, started), 0.5),
            "ms",
        ),
        Figure(
            "run NAME:   before that, created_at -> committed, p50",
            percentile(_milliseconds(created, committed), 0.5),
            "ms",
        ),
    ]


def measure_idle(options: argparse.Namespace) -> list[Figure]:
    """Account an idle tree of a scheduler and 4 workers with default intervals; time restarts of killed workers."""
    with Instance(jobs=SOME_JOBS, parent=options.folder) as instance:
        time.sleep(SETTLE_SECONDS)
        pids = instance.members()
        memory = [tree.pss_bytes([pid]) / MIB for pid in pids]
        busy, woken, begun = [tree.cpu_seconds([pid]) for pid in pids], tree.wakeups(instance.pid), time.monotonic()
        time.sleep(options.seconds)
        took = time.monotonic() - begun
        shares = [100 * (tree.cpu_seconds([pid]) - before) / took for pid, before in zip(pids, busy, strict=True)]
        wakeups = (tree.wakeups(instance.pid) - woken) / took
        if instance.members() != pids:
            raise MeasureError(f"the idle tree changed while it was measured:\n{instance.said()}")
        for pid, size, share in zip(pids, memory, shares, strict=True):
            print(f"    {tree.name(pid):<16} {size:6.1f} MiB  {share:6.3f} % of a core", file=sys.stderr)
        restarts = [_restart_seconds(instance, slot) for slot in sorted(instance.workers())]
    return [
        Figure("start: command -> every child ready", instance.seconds_to_ready, "s"),
        Figure("idle tree: CPU", sum(shares), "% of a core", 0.5),
        Figure("idle supervisor: wake-ups", wakeups, "/s", 1),
        Figure("tree after start: PSS", sum(memory), "MiB", 70),
        Figure("tree after start: processes", len(pids), ""),
        Figure("crashed child: kill -> new process, median", 1000 * median(restarts), "ms", 50),
        Figure("crashed child: kill -> new process, worst", 1000 * max(restarts), "ms"),
    ]


def measure_queries(options: argparse.Namespace) -> list[Figure]:
    """Count the statements SQLite runs for an idle tree with default intervals: soon after its start, and later on."""
    with tempfile.TemporaryDirectory(prefix="jobsup-bench-") as counters:
        launcher = (sys.executable, "-m", "benchmarks.counted", counters)
        with Instance(jobs=SOME_JOBS, parent=options.folder, launcher=launcher):
            time.sleep(SETTLE_SECONDS)
            first, later = (_queries_per_second(Path(counters), options.seconds / 2) for _ in range(2))
    return [
        Figure("idle tree: queries, while its workers still poll often", first, "/s"),
        Figure("idle tree: queries, afterwards", later, "/s", 2),
    ]


def measure_due(options: argparse.Namespace) -> list[Figure]:
    """Let many jobs come due in one second, and account the tree when it has run them all."""
    lead = timedelta(seconds=int(DUE_LEAD_SECONDS + DUE_LEAD_SECONDS_PER_JOB * options.jobs))
    due = datetime.now(UTC).replace(microsecond=0) + lead
    jobs = "\n".join(
        f'[[job]]\nname = "due-{number}"\ncommand = ["/bin/true"]\nat = {due.isoformat()}'
        for number in range(options.jobs)
    )
    with Instance(NO_POLLS, jobs, parent=options.folder) as instance:
        left = (due - datetime.now(UTC)).total_seconds()
        if left < SETTLE_SECONDS:
            raise MeasureError(f"ready only {left:.1f} s before the jobs are due: raise DUE_LEAD_SECONDS")
        loaded = tree.pss_bytes(instance.members()) / MIB
        time.sleep(left - 1)
        seen = _seconds_until_visible(instance, due, options.jobs)
        done = f"SELECT count(*) >= {options.jobs} FROM job_dispatch WHERE completed_at IS NOT NULL"
        instance.wait(lambda: instance.rows(done)[0][0], LOAD_SECONDS, "every job to end", look=0.25)
        ended = instant(instance.rows("SELECT max(completed_at) FROM job_dispatch")[0][0])
        time.sleep(SETTLE_SECONDS)
        memory = tree.pss_bytes(instance.members()) / MIB
        late = sorted(
            (instant(created) - due).total_seconds()
            for (created,) in instance.rows("SELECT created_at FROM job_dispatch")
        )
        doubles = instance.rows("SELECT count(*) - count(DISTINCT job_id) FROM job_dispatch")[0][0]
        unequal = instance.rows("SELECT count(*) FROM job_dispatch WHERE status <> 'COMPLETED'")[0][0]
    return [
        Figure(f"{options.jobs} due at once: all dispatched and visible after", seen, "s", 1),
        Figure(f"{options.jobs} due at once: lateness of the first", 1000 * late[0], "ms"),
        Figure(f"{options.jobs} due at once: lateness, p99", 1000 * percentile(late, 0.99), "ms"),
        Figure(f"{options.jobs} due at once: lateness of the last", 1000 * late[-1], "ms", 1000),
        Figure(f"{options.jobs} due at once: dispatched early", sum(each < 0 for each in late), "", 0, is_exact=True),
        Figure(f"{options.jobs} due at once: doubles", doubles, "", 0, is_exact=True),
        Figure(f"{options.jobs} due at once: not COMPLETED", unequal, "", 0, is_exact=True),
        Figure(f"{options.jobs} due at once: all run after", (ended - due).total_seconds(), "s"),
        Figure(f"tree with {options.jobs} jobs loaded: PSS", loaded, "MiB"),
        Figure(f"tree after {options.jobs} jobs: PSS", memory, "MiB", 100),
    ]


def measure_commands(options: argparse.Namespace) -> list[Figure]:
    """Time what people type."""
    with Instance(jobs=SOME_JOBS, parent=options.folder) as instance:
        time.sleep(SETTLE_SECONDS)
        help_seconds = _median_seconds([str(JOBSUP), "--help"])
        status_seconds = _median_seconds([str(JOBSUP), "status", "-c", str(instance.config)])
    return [
        Figure("jobsup --help, median", 1000 * help_seconds, "ms", 150),
        Figure("jobsup status, median", 1000 * status_seconds, "ms", 500),
    ]


PARTS: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "run": measure_run,
    "idle": measure_idle,
    "queries": measure_queries,
    "due": measure_due,
    "commands": measure_commands,
}


def main(arguments: Sequence[str]) -> int:
    """Measure the parts that are asked for; the exit code is 1 when a part fails or a figure misses its target."""
    options = _options(arguments)
    facts = machine.facts(options.folder)
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    for part in options.only:
        print(f"measuring {part} ...", file=sys.stderr, flush=True)
        try:
            figures += PARTS[part](options)
        except MeasureError as error:
            failures[part] = str(error)
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), table(figures), sep="\n\n")
    for part, why in failures.items():
        print(f"\n{part} was not measured: {why}")
    if options.json:
        found = [asdict(figure) | {"verdict": figure.verdict} for figure in figures]
        answer = {"schema": 1, "machine": facts, "figures": found, "failures": failures}
        options.json.write_text(json.dumps(answer, indent=2) + "\n")
    return int(bool(failures) or any(figure.verdict == "MISSED" for figure in figures))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.main_job", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=60, help="how long to watch the idle tree (60)")
    parser.add_argument("--runs", type=int, default=100, help="how often to `jobsup run` (100)")
    parser.add_argument("--jobs", type=int, default=1000, help="how many jobs come due at once (1000)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the databases lie")
    return parser.parse_args(arguments)


def _parts(text: str) -> list[str]:
    if unknown := [part for part in text.split(",") if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return text.split(",")


def _milliseconds(since: Sequence[float], until: Sequence[float]) -> list[float]:
    return [1000 * (end - begin) for begin, end in zip(since, until, strict=True)]


def _run_stamp(instance: Instance) -> float:
    """Run the job that prints the clock, wait for its end, and return when its dispatch was committed."""
    note = instance.folder / "committed"
    command = [sys.executable, "-m", "benchmarks.committed", str(note), "run", "stamp", "-c", str(instance.config)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise MeasureError(f"jobsup run: {ran.stderr}")
    instance.wait(lambda: not instance.rows("SELECT 1 FROM job_dispatch WHERE completed_at IS NULL"), 10, "the run")
    time.sleep(REST_SECONDS)
    return float(note.read_text())


def _restart_seconds(instance: Instance, slot: int) -> float:
    """Kill the worker of a slot and return how long it took until the supervisor had one child as before."""
    known = set(tree.children(instance.pid))
    victim = instance.workers()[slot]
    begun = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    while not set(tree.children(instance.pid)) - known:
        if time.monotonic() - begun > 10:
            raise MeasureError(f"worker {slot} was not restarted:\n{instance.said()}")
    took = time.monotonic() - begun
    instance.wait(instance.is_ready, 30, "the new worker to be ready")
    return took


def _queries_per_second(counters: Path, seconds: float) -> float:
    before, begun = counted.total(counters), time.monotonic()
    if before == 0:
        raise MeasureError("no statement was counted: the counter does not see the database")
    time.sleep(seconds)
    return (counted.total(counters) - before) / (time.monotonic() - begun)


def _seconds_until_visible(instance: Instance, due: datetime, count: int) -> float:
    """Return how long after the instant another process sees all dispatches."""
    instance.wait(
        lambda: instance.rows("SELECT count(*) FROM job_dispatch")[0][0] >= count,
        LOAD_SECONDS,
        "the dispatches",
        look=0.01,
    )
    return (datetime.now(UTC) - due).total_seconds()


def _median_seconds(command: Sequence[str]) -> float:
    taken = []
    for _ in range(COMMAND_RUNS):
        begun = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        taken.append(time.monotonic() - begun)
    return median(taken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
