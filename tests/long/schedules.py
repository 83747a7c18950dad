"""The long form of the schedule tests: every zone of the tz database, every clock change of 2000-2099.

    python -m tests.long.schedules [--seed N] [--zones A,B] [--from 2000] [--to 2099] [--per-change 2]

Around each change a few expressions are computed forwards, backwards and counted, and compared with the daemon's
loop played minute by minute. It prints what differs and ends with 1 then. All of it takes about half an hour on
one core; parts of the zones can run side by side.
"""

from __future__ import annotations

import argparse
import random
import sys
from datetime import timedelta

from jobsup.model import Dst, ScheduleSpec
from jobsup.schedule import compile  # noqa: A004 - schedules are compiled
from tests.support.cronlines import COMMON, near_change
from tests.support.cronloop import changes, daemon
from tests.support.schedules import all_zones, check_against, refusal, schedule

AROUND = timedelta(hours=27)


def main() -> int:
    options = _options()
    zones = options.zones.split(",") if options.zones else all_zones()
    compared = differing = 0
    for zone in zones:
        rng = random.Random(f"{options.seed} {zone}")
        for year in range(options.first, options.last + 1):
            for change in changes(zone, year):
                for _ in range(options.per_change):
                    text = rng.choice(COMMON) if rng.random() < 0.3 else near_change(rng)
                    compared += 1
                    start, end = change - AROUND, change + AROUND
                    try:
                        wanted = list(daemon(text, zone, start, end))
                        check_against(schedule(cron=text, timezone=zone), wanted, start, end, f"{text} in {zone}")
                        _check_order(text, zone, start, end)
                    except AssertionError as error:
                        differing += 1
                        print(f"{change}: {str(error).splitlines()[0]}")
        print(f"{zone}: {compared} compared so far, {differing} differ", flush=True)
    return 1 if differing else 0


def _check_order(text: str, zone: str, start: object, end: object) -> None:
    """Whatever `dst` says, ticks ascend, and both passes hold all that one pass holds."""
    ticks = {}
    for dst in Dst:
        spec = ScheduleSpec(cron=text, timezone=zone, dst=dst)
        if refusal(spec):
            continue
        made = compile(spec)
        assert made is not None
        found, at = [], start
        while (at := made.next_after(at)) is not None and at < end:  # type: ignore[arg-type,operator]
            assert not found or at > found[-1], f"{text} in {zone}: not ascending at {at}"
            found.append(at)
        ticks[dst] = found
    if Dst.SKIP in ticks:
        assert set(ticks[Dst.SKIP]) <= set(ticks[Dst.CRON]) <= set(ticks[Dst.BOTH]), f"{text} in {zone}: dst"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="compare schedules with the daemon's loop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zones", default="")
    parser.add_argument("--from", dest="first", type=int, default=2000)
    parser.add_argument("--to", dest="last", type=int, default=2099)
    parser.add_argument("--per-change", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
