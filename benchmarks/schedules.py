"""What schedules cost: `python -m benchmarks.schedules`; the exit code is 1 when a figure misses its target.

Ten thousand jobs of every kind, in many zones: their next instants from compiled schedules, from the definitions as
the database keeps them, and a whole database whose zones have got new rules. Each is also told as a ratio to a loop
of the same length that only adds to instants and turns them into a zone's wall time, so that machines can be compared;
a figure that is over its target on a slow machine passes by its ratio.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import update

from benchmarks.figures import Figure, table
from benchmarks.machine import facts
from jobsup.config.document import jobspec_from_dict, jobspec_to_dict
from jobsup.model import CalendarSpec, JobKind, JobSpec, ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.due import next_due
from jobsup.store import jobs, schema
from jobsup.store.engine import Database
from jobsup.store.models import Job
from jobsup.store.recompute import recompute

JOBS = 10_000
SECONDS_MAX = 1.0
"""The most that ten thousand next instants may take."""
RATIO_MAX = 80.0
"""The most that one may cost, in turns of the plain loop."""
ROUNDS = 3
START = datetime(2026, 3, 28, 12, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC")


def schedule(number: int) -> ScheduleSpec:
    """Return a schedule that few others share."""
    zone = ZONES[number % len(ZONES)]
    minute, hour, day = number % 60, number // 60 % 24, number % 28 + 1
    match number % 8:
        case 0:
            return ScheduleSpec(cron=f"{minute} {hour} * * *", timezone=zone)
        case 1:
            return ScheduleSpec(cron=f"*/{number % 29 + 1} * * * *", timezone=zone)
        case 2:
            return ScheduleSpec(cron="H H * * *", timezone=zone)
        case 3:
            return ScheduleSpec(cron=f"{minute} {hour} {day} * *", timezone=zone)
        case 4:
            return ScheduleSpec(cron=f"{minute} {hour} * * mon-fri", timezone=zone)
        case 5:
            return ScheduleSpec(every=timedelta(seconds=number + 1))
        case 6:
            return ScheduleSpec(
                calendar=CalendarSpec(days=number % 30 + 1, at=f"{hour:02}:{minute:02}:00"), timezone=zone
            )
        case _:
            return ScheduleSpec(on_calendar=f"*-*-* {hour:02}:{minute:02}:00", timezone=zone)


def best(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def plain_loop() -> None:
    """Do what no schedule can do without: an instant, on a wall clock, and back, for each job."""
    zones = [ZoneInfo(zone) for zone in ZONES]
    for number in range(JOBS):
        local = (START + timedelta(seconds=number)).astimezone(zones[number % len(zones)])
        local.replace(minute=0).astimezone(UTC)


def measure(folder: Path) -> list[Figure]:
    specs = [
        JobSpec(f"job-{number:05}", JobKind.COMMAND, command="true", schedule=schedule(number))
        for number in range(JOBS)
    ]
    compiled = [compile_schedule(spec.schedule, name=spec.name) for spec in specs]
    stored = [json.dumps(jobspec_to_dict(spec)) for spec in specs]
    moment = iter(range(1000))

    def from_compiled() -> None:
        after = START + timedelta(days=37 * next(moment))  # past what is remembered of the round before
        for each in compiled:
            assert each is not None
            next_due(each, after)

    def from_stored() -> None:
        after = START + timedelta(days=37 * next(moment))
        for text in stored:
            spec = jobspec_from_dict(json.loads(text))
            each = compile_schedule(spec.schedule, name=spec.name)
            assert each is not None
            next_due(each, after)

    plain = best(plain_loop)
    return [
        Figure("plain loop of instants and wall times", plain, "s"),
        *_judged("next instants of 10,000 compiled schedules", best(from_compiled), plain),
        *_judged("next instants of 10,000 stored definitions", best(from_stored), plain),
        *_judged("a database of 10,000 jobs under new zone rules", _recompute(folder, specs), plain, seconds_max=5.0),
    ]


def _recompute(folder: Path, specs: Sequence[JobSpec]) -> float:
    database = Database(f"sqlite:///{folder / 'jobsup.db'}")
    schema.ensure(database, migrate=True)
    jobs.sync(database, "default", specs, content_hash="", node="here", path="")
    with database.write() as connection:
        connection.execute(update(Job).values(zone_fingerprint="UTC@2026=of-before"))
    began = time.perf_counter()
    recompute(database)
    took = time.perf_counter() - began
    database.close()
    return took


def _judged(name: str, seconds: float, plain: float, *, seconds_max: float = SECONDS_MAX) -> list[Figure]:
    """Judge by seconds, or where the machine is slow by the ratio to what it does in the plain loop."""
    ratio = seconds / plain
    is_slow = seconds > seconds_max
    return [
        Figure(name, seconds, "s", None if is_slow else seconds_max),
        Figure("  as a ratio", ratio, "x plain", RATIO_MAX * seconds_max if is_slow else None),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jobsup-bench-") as folder:
        machine = facts(Path(folder))
        figures = measure(Path(folder))
    for name, value in machine.items():
        print(f"{name:>10}: {value}")
    print(table(figures))
    if arguments.json:
        document = {
            "machine": machine,
            "figures": [{"name": each.name, "value": each.value, "unit": each.unit} for each in figures],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return int(any(each.verdict == "MISSED" for each in figures))


if __name__ == "__main__":
    sys.exit(main())
