"""A whole instance whose clock is set: clock changes, steps either way, days of down-time; no tick lost or doubled."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobsup.model import Dst, ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import MOMENT
from tests.support import stepped_clock
from tests.support.instance import Instance
from tests.support.stepped_clock import SteppedClock
from tests.support.waiting import until

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 28, 1, tzinfo=UTC)  # 02:00 -> 03:00 in Berlin
AUTUMN = datetime(2027, 10, 31, 1, tzinfo=UTC)  # 03:00 -> 02:00 in Berlin
HOUR = timedelta(hours=1)

SCHEDULES = {
    "fixed": ScheduleSpec(cron="30 2 * * *", timezone=BERLIN),
    "strict": ScheduleSpec(cron="30 2 * * *", timezone=BERLIN, dst=Dst.SKIP),
    "both": ScheduleSpec(cron="30 2 * * *", timezone=BERLIN, dst=Dst.BOTH),
    "wild": ScheduleSpec(cron="*/10 * * * *", timezone=BERLIN),
    "none": ScheduleSpec(cron="0 * * * *"),
    "latest": ScheduleSpec(cron="0 * * * *"),
    "all": ScheduleSpec(cron="0 * * * *"),
    "some": ScheduleSpec(cron="0 * * * *"),
    "seconds": ScheduleSpec(cron="* * * * * *"),
}
EXTRA = {
    "strict": 'dst = "skip"',
    "both": 'dst = "both"',
    "none": 'catch_up = "none"',
    "all": 'catch_up = "all"',
    "some": 'catch_up = "all"\ncatch_up_limit = 10',
    "seconds": 'catch_up = "none"',
}
LONG = """
[[job]]
name = "long"
command = "sleep 60"
timeout = "5m"
"""


def job(name: str) -> str:
    spec = SCHEDULES[name]
    return (
        f'[[job]]\nname = "{name}"\ncommand = "true"\ncron = "{spec.cron}"\ntimezone = "{spec.timezone}"\n'
        f'overlap = "allow"\n{EXTRA.get(name, "")}\n'
    )


class Stepped(Instance):
    """An instance that lives by a clock of its own."""

    def __init__(self, names: list[str], start: datetime, *, more: str = "", workers: int = 0) -> None:
        super().__init__("".join(map(job, names)) + more, workers=workers)
        self.names = names
        self.clock = SteppedClock(self.folder)
        self.clock.set(start)

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**self.clock.environment, **more)

    def start_and_step_to(self, instant: datetime) -> datetime:
        """Start, however long that takes, and be just before an instant; returns since when the jobs are defined."""
        self.start()
        self.clock.set(instant - timedelta(seconds=1))
        return read(self.rows("SELECT max(created_at) AS at FROM job")[0]["at"])

    def until_decided(self, instant: datetime, seconds: float = 12.0) -> None:
        """Wait until the scheduler has decided on every tick up to an instant."""

        def is_decided() -> bool:
            due = self.rows("SELECT min(next_run) AS first FROM job WHERE is_active")[0]["first"]
            return self.clock.now() > instant and due is not None and read(due) > instant

        until(is_decided, seconds, f"every tick until {instant} to be decided on", lambda: self.log[-3000:])

    def told(self, name: str, after: datetime, to: datetime) -> Counter[str]:
        """Count a job's ticks by what became of them, those of ranges that begin in (after, to]."""
        rows = [row for row in self.runs(name) if after < read(row["scheduled_for"]) <= to]
        return _counted(rows)

    def assert_whole(self, after: datetime) -> None:
        """Every tick since then has one row, or its place in one counted range, and nothing else has."""
        for name in self.names:
            rows = self.rows(
                "SELECT d.*, j.next_run FROM job_dispatch d JOIN job j ON j.id = d.job_id WHERE j.name = ?", name
            )
            schedule = compile_schedule(SCHEDULES[name])
            assert schedule is not None
            counts = _counted(row for row in rows if row["reason"] != "dst_gap")  # those are no ticks
            decided = read(rows[0]["next_run"]) - MOMENT if rows else self.clock.now()
            assert counts.total() == schedule.count_between(after, decided), (name, counts, self.log[-3000:])
            firsts = [row["scheduled_for"] for row in rows if row["reason"] != "dst_gap"]
            assert len(firsts) == len(set(firsts))


def _counted(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["reason"] or "run"] += row["skipped_count"] or 1
    return counts


def read(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def _can_set_a_clock() -> None:
    with tempfile.TemporaryDirectory() as folder:
        reason = stepped_clock.why_not(folder)
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def opened() -> Iterator[list[Stepped]]:
    instances: list[Stepped] = []
    yield instances
    for instance in instances:
        instance.close()


def make(opened: list[Stepped], *arguments: Any, **kinds: Any) -> Stepped:
    instance = Stepped(*arguments, **kinds)
    opened.append(instance)
    return instance


CHANGING = ["fixed", "strict", "both", "wild"]


def test_a_clock_change_in_spring_runs_fixed_times_right_after_the_gap(opened: list[Stepped]) -> None:
    instance = make(opened, CHANGING, SPRING - timedelta(minutes=9))
    begin = instance.start_and_step_to(SPRING)
    instance.until_decided(SPRING)
    [fixed] = instance.runs("fixed")
    assert read(fixed["scheduled_for"]) == SPRING
    assert read(fixed["created_at"]) - SPRING < timedelta(seconds=1)
    assert fixed["note"].startswith("moved")
    assert instance.told("strict", begin, SPRING) == {"dst_gap": 1}
    assert [row["note"] for row in instance.runs("wild")] == [None]
    instance.assert_whole(begin)


CLOSED = """
[calendars.closed]
dates = ["2027-01-31"]
[[job]]
name = "calendar"
command = "true"
cron = "* * * * *"
timezone = "UTC"
overlap = "allow"
catch_up = "all"
use_calendar = "closed"
"""


def test_a_day_of_the_calendar_is_left_out_and_told_when_it_is_over(opened: list[Stepped]) -> None:
    midnight = datetime(2027, 2, 1, tzinfo=UTC)
    instance = make(opened, ["wild"], midnight - timedelta(minutes=9), more=CLOSED)
    begin = instance.start_and_step_to(midnight)
    instance.until_decided(midnight)
    until(lambda: len(instance.runs("calendar")) == 2, 5, "the calendar's rows", lambda: instance.log)
    left_out, run = sorted(instance.runs("calendar"), key=lambda row: row["scheduled_for"])
    assert (left_out["status"], left_out["reason"]) == ("SKIPPED", "calendar")
    assert read(left_out["scheduled_for"]) - begin < timedelta(minutes=1)
    assert read(left_out["skipped_until"]) == midnight - timedelta(minutes=1)
    assert (read(run["scheduled_for"]), run["status"]) == (midnight, "PENDING")


def test_a_clock_change_in_autumn_runs_fixed_times_in_the_first_pass_only(opened: list[Stepped]) -> None:
    first, second = AUTUMN - HOUR / 2, AUTUMN + HOUR / 2
    instance = make(opened, CHANGING, first - timedelta(minutes=9))
    begin = instance.start_and_step_to(first)
    instance.until_decided(first)
    instance.clock.set(second - timedelta(seconds=1))
    instance.until_decided(second)
    assert [read(row["scheduled_for"]) for row in instance.runs("fixed")] == [first]
    assert [read(row["scheduled_for"]) for row in instance.runs("both")] == [first, second]
    assert instance.told("wild", begin, second) == {"run": 3, "missed": 4}, "the hour that was stepped over was missed"
    instance.assert_whole(begin)


def test_a_clock_that_is_set_back_and_ahead_repeats_nothing_and_ends_no_run(opened: list[Stepped]) -> None:
    noon = datetime(2027, 6, 1, 12, tzinfo=UTC)
    instance = make(opened, ["wild", "none", "latest", "seconds"], noon - timedelta(minutes=9), more=LONG, workers=1)
    begin = instance.start_and_step_to(noon)
    instance.until_decided(noon)
    run = int(instance.cli("run", "long").stdout)
    instance.wait_run("long", "IN_PROGRESS")

    instance.clock.step(-HOUR)
    before = {name: len(instance.runs(name)) for name in instance.names}
    until(lambda: "The clock was set back" in instance.log, 5, "the step to be seen", lambda: instance.log[-2000:])
    made = {name: len(instance.runs(name)) for name in instance.names}
    assert all(made[name] - before[name] <= 2 for name in made), "at most what the step crossed"
    instance.clock.step(HOUR)
    instance.until_decided(instance.clock.now())

    instance.clock.step(HOUR)
    ahead = instance.clock.now()
    instance.until_decided(ahead)
    assert instance.told("none", noon, ahead) == {"missed": 1}
    assert instance.told("latest", noon, ahead) == {"run": 1}

    instance.clock.step(timedelta(days=1))
    day = instance.clock.now()
    instance.until_decided(day)
    assert instance.told("none", ahead, day) == {"missed": 24}
    assert instance.told("latest", ahead, day) == {"run": 1, "missed": 23}
    instance.assert_whole(begin)

    [long] = instance.runs("long")
    assert (long["id"], long["status"]) == (run, "IN_PROGRESS")
    assert read(long["deadline_at"]) > instance.clock.now() + 4 * timedelta(minutes=1), "it moved with the clock"
    assert instance.json("status")["state"] == "running"
    assert all(child["restarts"] == 0 for child in instance.children())
    assert instance.cli("cancel", str(run)).returncode == 0
    assert instance.wait_run("long", "CANCELLED")["completed_at"]


def test_three_days_of_down_time_under_each_policy(opened: list[Stepped]) -> None:
    noon = datetime(2027, 6, 1, 12, tzinfo=UTC)
    names = ["none", "latest", "all", "some", "seconds"]
    instance = make(opened, names, noon - timedelta(minutes=9))
    begin = instance.start_and_step_to(noon)
    instance.until_decided(noon)
    assert instance.stop() == 0
    down = instance.clock.now()
    instance.clock.step(timedelta(days=3))
    up = instance.clock.now()
    instance.start()
    instance.until_decided(up)

    assert instance.told("none", down, up) == {"missed": 72}
    assert instance.told("latest", down, up) == {"run": 1, "missed": 71}
    assert instance.told("all", down, up) == {"run": 72}
    assert instance.told("some", down, up) == {"run": 10, "catch_up_limit": 62}
    assert abs(instance.told("seconds", down, up)["missed"] - 3 * 86_400) <= 10, "all but those around stop and start"
    ranges = [row for row in instance.runs("seconds") if (row["skipped_count"] or 0) > 3600]
    assert len(ranges) == 1, "three days are one row"
    instance.assert_whole(begin)
    why = instance.cli("why", "none", "--at", (down + HOUR).replace(minute=0, second=0, microsecond=0).isoformat())
    assert "no scheduler was up from" in why.stdout
