"""How many runs a second: a heap of dispatches is committed at once, and the workers run it down."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import bindparam, text

from benchmarks import tree
from benchmarks.figures import MeasureError
from benchmarks.instance import Instance, Place
from benchmarks.limit import Limit
from jobsup.store import notifier
from jobsup.store.column_types import UtcDateTime
from jobsup.store.engine import Database

COMMAND = '[[job]]\nname = "work"\ncommand = ["/bin/true"]\noverlap = "allow"\n'
CALLABLE = '[[job]]\nname = "work"\npython = "time:gmtime"\noverlap = "allow"\n'
WARM_UP_RUNS = 200
RUN_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Rate:
    """What came of one heap."""

    per_second: float
    cpu_seconds: float
    """Of the whole instance for one run; without what the jobs' own processes and the server of a database take."""
    limit: float | None
    """The machine's own, just before and just after."""

    @property
    def share(self) -> float | None:
        return None if self.limit is None else self.per_second / self.limit


def measure(place: Place, job: str, *, workers: int, slots: int, runs: int, limit: Limit | None, parent: Path) -> Rate:
    """Run `runs` dispatches of a job; the clock runs from their commit to the last one's end in the tables."""
    settings = f'[worker]\ncount = {workers}\nconcurrency = {slots}\n[logging]\nlevel = "WARNING"\n'
    with Instance(settings, job, place=place, parent=parent) as instance:
        _run_down(instance, WARM_UP_RUNS)
        before = limit.measure() if limit else None
        pids = instance.members()
        cpu_before = tree.cpu_seconds(pids)
        rate = _run_down(instance, runs)
        cpu = tree.cpu_seconds(pids) - cpu_before
        after = limit.measure() if limit else None
    return Rate(rate, cpu / runs, (before + after) / 2 if before and after else None)


def _run_down(instance: Instance, runs: int) -> float:
    with closing(instance.open()) as database:
        committed = fill(database, runs)
    left = "SELECT 1 FROM job_dispatch WHERE completed_at IS NULL LIMIT 1"
    instance.wait(lambda: not instance.rows(left), RUN_SECONDS_MAX, "all runs to end", look=LOOK_SECONDS)
    bad = instance.rows("SELECT count(*) FROM job_dispatch WHERE status <> 'COMPLETED'")[0][0]
    logs = instance.rows("SELECT count(*) FROM job_execution_log")[0][0]
    if bad or logs < runs:
        raise MeasureError(f"{bad} runs did not complete, {logs} have a log row\n{instance.said()}")
    return runs / (instance.instant("SELECT max(completed_at) FROM job_dispatch") - committed).total_seconds()


def fill(database: Database, runs: int) -> datetime:
    """Write dispatches of the job `work` and wake the workers; returns when they were committed."""
    with database.write() as connection:
        connection.execute(_FILL, {"runs": runs, "at": datetime.now(UTC)})
        notifier.wake(database, "worker")
    return datetime.now(UTC)


_FILL = text(
    """
INSERT INTO job_dispatch (job_id, source, status, queue, available_at, created_at, claim_rank)
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :runs)
SELECT id, 'manual', 'PENDING', queue, :at, :at, n FROM number, job WHERE name = 'work'
"""
).bindparams(bindparam("at", type_=UtcDateTime()))
