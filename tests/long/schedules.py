"""The long form of the schedule tests: every zone of the tz database, every clock change of 2000-2099.

    python -m tests.long.schedules [--seed N] [--zones A,B] [--from 2000] [--to 2099] [--per-change 2] [--processes N]

Around each change a few expressions are computed forwards, backwards and counted, and compared with the daemon's
loop played minute by minute. Zones whose clocks agree all the time are compared together, with up to four times as
many expressions, and the engine must see in each of them the changes that the tz database tells. It prints what
differs and ends with 1 then, with 0 when nothing does. All of it takes a quarter of an hour of processor time, shared
out among the machine's cores.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from zoneinfo import ZoneInfo

from jobsup.model import Dst, ScheduleSpec
from jobsup.schedule import compile  # noqa: A004 - schedules are compiled
from jobsup.schedule.base import EPOCH
from jobsup.schedule.zones import zone
from tests.support.cronlines import COMMON, near_change
from tests.support.cronloop import changes, daemon
from tests.support.schedules import all_zones, check_against, refusal, schedule

AROUND = timedelta(hours=27)
TWINS_COUNTED_MAX = 4
"""So many zones of one group get expressions of their own; more would only repeat what was compared."""

Changes = tuple[tuple[datetime, timedelta | None], ...]
"""The first instant and the offset then; each change and the offset from then on."""


@dataclass(frozen=True)
class Group:
    """Zones whose clocks agree from the first year to the last."""

    zones: tuple[str, ...]
    rules: Changes


@dataclass(frozen=True)
class Options:
    """What the command was asked for."""

    seed: int
    zones: tuple[str, ...]
    first: int
    last: int
    per_change: int
    processes: int

    @property
    def begin(self) -> datetime:
        return datetime(self.first, 1, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return datetime(self.last + 1, 1, 1, tzinfo=UTC)


def main() -> int:
    options = _options()
    compared = differing = zones = 0
    with get_context("fork").Pool(options.processes) as pool:
        groups = _groups(pool.imap(_rules, [(name, options) for name in options.zones], chunksize=4))
        print(f"{len(options.zones)} zones, {len(groups)} that differ from one another", flush=True)
        for group, count, problems in pool.imap_unordered(_compare, [(group, options) for group in groups]):
            compared, differing, zones = compared + count, differing + len(problems), zones + len(group.zones)
            for problem in problems:
                print(problem)
            print(f"{group.zones[0]}: {compared} compared in {zones} zones, {differing} differ", flush=True)
    print(f"{compared} windows compared in {zones} zones, {options.first}-{options.last}: {differing} differ")
    return 1 if differing else 0


def _rules(task: tuple[str, Options]) -> tuple[str, Changes]:
    """Find a zone's changes, by the tz database alone."""
    name, options = task
    info = ZoneInfo(name)
    found = (change for year in range(options.first, options.last + 1) for change in changes(name, year))
    return name, tuple((at, at.astimezone(info).utcoffset()) for at in (options.begin, *found))


def _groups(told: Iterator[tuple[str, Changes]]) -> list[Group]:
    """Put zones together that agree; the groups with most to compare come first."""
    names: dict[Changes, list[str]] = defaultdict(list)
    for name, rules in told:
        names[rules].append(name)
    groups = [Group(tuple(zones), rules) for rules, zones in names.items()]
    return sorted(groups, key=lambda group: -len(group.rules) * min(len(group.zones), TWINS_COUNTED_MAX))


def _compare(task: tuple[Group, Options]) -> tuple[Group, int, list[str]]:
    """Compare a group's first zone with the daemon, and the engine's view of each with the group's changes."""
    group, options = task
    first = group.zones[0]
    rng = random.Random(f"{options.seed} {first}")
    count = options.per_change * min(len(group.zones), TWINS_COUNTED_MAX)
    problems = []
    for change, _ in group.rules[1:]:
        for _ in range(count):
            text = rng.choice(COMMON) if rng.random() < 0.3 else near_change(rng)
            try:
                _compare_one(text, first, change)
            except AssertionError as error:
                problems.append(f"{change}: {str(error).splitlines()[0]}")
    problems += [
        f"{name}: the engine sees other changes" for name in group.zones if _seen(name, options) != group.rules
    ]
    return group, count * (len(group.rules) - 1), problems


def _compare_one(text: str, name: str, change: datetime) -> None:
    start, end = change - AROUND, change + AROUND
    wanted = list(daemon(text, name, start, end))
    check_against(schedule(cron=text, timezone=name), wanted, start, end, f"{text} in {name}")
    _check_order(text, name, start, end)


def _check_order(text: str, name: str, start: datetime, end: datetime) -> None:
    """Whatever `dst` says, ticks ascend, and both passes hold all that one pass holds."""
    ticks = {}
    for dst in Dst:
        spec = ScheduleSpec(cron=text, timezone=name, dst=dst)
        if not refusal(spec):
            ticks[dst] = _ascending(spec, start, end)
    if Dst.SKIP in ticks:
        assert set(ticks[Dst.SKIP]) <= set(ticks[Dst.CRON]) <= set(ticks[Dst.BOTH]), f"{text} in {name}: dst"


def _ascending(spec: ScheduleSpec, start: datetime, end: datetime) -> list[datetime]:
    made = compile(spec)
    assert made is not None
    found: list[datetime] = []
    at = made.next_after(start)
    while at is not None and at < end:
        assert not found or at > found[-1], f"{spec.cron} in {spec.timezone}: not ascending at {at}"
        found.append(at)
        at = made.next_after(at)
    return found


def _seen(name: str, options: Options) -> Changes:
    """Return a zone's changes as the engine has them."""
    first, end = ((at - EPOCH) // timedelta(seconds=1) for at in (options.begin, options.end))
    segments = list(zone(name).between(first, end))
    told = [after for before, after in pairwise(segments) if after.offset != before.offset]
    changed = ((EPOCH + timedelta(seconds=each.start), timedelta(seconds=each.offset)) for each in told)
    return ((options.begin, timedelta(seconds=segments[0].offset)), *changed)


def _options() -> Options:
    parser = argparse.ArgumentParser(description="compare schedules with the daemon's loop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zones", default="")
    parser.add_argument("--from", dest="first", type=int, default=2000)
    parser.add_argument("--to", dest="last", type=int, default=2099)
    parser.add_argument("--per-change", type=int, default=2)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    zones = tuple(asked.zones.split(",")) if asked.zones else tuple(all_zones())
    return Options(asked.seed, zones, asked.first, asked.last, asked.per_change, asked.processes)


if __name__ == "__main__":
    sys.exit(main())
