"""A whole instance whose clock is set: clock changes, steps either way, days of down-time; no tick lost or doubled."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobsup.clock import rfc3339
from jobsup.model import Dst, ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import MOMENT
from tests.support import stepped_clock
from tests.support.instance import Instance
from tests.support.stepped_clock import SteppedClock
from tests.support.waiting import PATIENCE, until

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 28, 1, tzinfo=UTC)  # 02:00 -> 03:00 in Berlin
AUTUMN = datetime(2027, 10, 31, 1, tzinfo=UTC)  # 03:00 -> 02:00 in Berlin
HOUR = timedelta(hours=1)
SHORTLY = timedelta(seconds=3)
"""Less than what a scheduler takes for down-time, more than what it takes for a clock that is a little off."""

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
    """An instance whose time goes on only when the test says so."""

    def __init__(self, names: list[str], start: datetime, *, more: str = "", workers: int = 0) -> None:
        super().__init__("".join(map(job, names)) + more, workers=workers)
        self.names = names
        self.clock = SteppedClock(self.folder, start)

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**self.clock.environment, **more)

    def move_to(self, instant: datetime) -> None:
        """Set the clock, and wait until the scheduler has looked at it and has nothing left to decide on."""
        self.clock.set(instant)
        self.until_decided()

    def until_decided(self) -> None:
        """Wait until the scheduler has decided on every tick up to now."""
        seen = self._looks()

        def is_decided() -> bool:
            due = self.rows("SELECT min(next_run) AS first FROM job WHERE is_active")[0]["first"]
            # The first look since then may have begun before.
            return self._looks() - seen >= 2 and due is not None and read(due) > self.clock.now

        until(is_decided, PATIENCE, f"every tick until {self.clock.now} to be decided on", lambda: self.log[-3000:])

    def _looks(self) -> int:
        return self.log.count("Scheduler loop iteration")

    def pass_over(self, instant: datetime) -> None:
        """Let an instant come while the scheduler watches: no down-time, in which ticks would be missed."""
        self.move_to(instant - SHORTLY)
        self.move_to(instant + MOMENT)

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
            decided = read(rows[0]["next_run"]) - MOMENT if rows else self.clock.now
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
    begin = SPRING - timedelta(minutes=9)
    instance = make(opened, CHANGING, begin)
    instance.start()
    instance.pass_over(SPRING)
    [fixed] = instance.runs("fixed")
    assert read(fixed["scheduled_for"]) == SPRING
    assert read(fixed["created_at"]) == SPRING + MOMENT
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
    begin = midnight - timedelta(minutes=9)
    instance = make(opened, ["wild"], begin, more=CLOSED)
    instance.start()
    instance.pass_over(midnight)
    left_out, run = sorted(instance.runs("calendar"), key=lambda row: row["scheduled_for"])
    assert (left_out["status"], left_out["reason"]) == ("SKIPPED", "calendar")
    assert read(left_out["scheduled_for"]) == midnight - timedelta(days=1), "a day is told whole"
    assert read(left_out["skipped_until"]) == midnight - timedelta(minutes=1)
    assert (read(run["scheduled_for"]), run["status"]) == (midnight, "PENDING")


def test_a_clock_change_in_autumn_runs_fixed_times_in_the_first_pass_only(opened: list[Stepped]) -> None:
    first, second = AUTUMN - HOUR / 2, AUTUMN + HOUR / 2
    begin = first - timedelta(minutes=9)
    instance = make(opened, CHANGING, begin)
    instance.start()
    instance.pass_over(first)
    instance.pass_over(second)
    assert [read(row["scheduled_for"]) for row in instance.runs("fixed")] == [first]
    assert [read(row["scheduled_for"]) for row in instance.runs("both")] == [first, second]
    assert instance.told("wild", begin, second) == {"run": 3, "missed": 4}, "the hour that was stepped over was missed"
    instance.assert_whole(begin)


def test_a_clock_that_is_set_back_and_ahead_repeats_nothing_and_ends_no_run(opened: list[Stepped]) -> None:
    noon = datetime(2027, 6, 1, 12, tzinfo=UTC)
    begin = noon - timedelta(minutes=9)
    instance = make(opened, ["wild", "none", "latest", "seconds"], begin, more=LONG, workers=1)
    instance.start()
    instance.pass_over(noon)
    run = int(instance.cli("run", "long").stdout)
    instance.wait_run("long", "IN_PROGRESS", PATIENCE)

    made = {name: len(instance.runs(name)) for name in instance.names}
    instance.move_to(noon - HOUR)
    assert "The clock was set back: 360" in instance.log
    instance.move_to(noon + MOMENT)
    assert {name: len(instance.runs(name)) for name in instance.names} == made, "these ticks have come already"

    ahead = noon + HOUR + SHORTLY
    instance.move_to(ahead)
    assert instance.told("none", noon, ahead) == {"missed": 1}
    assert instance.told("latest", noon, ahead) == {"run": 1}

    day = ahead + timedelta(days=1)
    instance.move_to(day)
    assert instance.told("none", ahead, day) == {"missed": 24}
    assert instance.told("latest", ahead, day) == {"run": 1, "missed": 23}
    instance.assert_whole(begin)

    [long] = instance.runs("long")
    assert (long["id"], long["status"]) == (run, "IN_PROGRESS")
    assert read(long["deadline_at"]) > day + 4 * timedelta(minutes=1), "it moved with the clock"
    assert instance.json("status")["state"] == "running"
    assert all(child["restarts"] == 0 for child in instance.children())
    assert instance.cli("cancel", str(run)).returncode == 0
    assert instance.wait_run("long", "CANCELLED", PATIENCE)["completed_at"]


def test_three_days_of_down_time_under_each_policy(opened: list[Stepped]) -> None:
    noon = datetime(2027, 6, 1, 12, tzinfo=UTC)
    begin = noon - timedelta(minutes=9)
    instance = make(opened, ["none", "latest", "all", "some", "seconds"], begin)
    instance.start()
    down = noon + MOMENT
    instance.pass_over(noon)
    assert instance.stop() == 0
    up = down + timedelta(days=3)
    instance.clock.set(up)
    instance.start()
    instance.until_decided()

    assert instance.told("none", down, up) == {"missed": 72}
    assert instance.told("latest", down, up) == {"run": 1, "missed": 71}
    assert instance.told("all", down, up) == {"run": 72}
    assert instance.told("some", down, up) == {"run": 10, "catch_up_limit": 62}
    assert instance.told("seconds", down, up) == {"missed": 3 * 86_400}
    ranges = [row for row in instance.runs("seconds") if read(row["scheduled_for"]) > down]
    assert len(ranges) == 1, "three days are one row"
    instance.assert_whole(begin)
    why = instance.cli("why", "none", "--at", (noon + HOUR).isoformat())
    assert f"no scheduler was up from {rfc3339(down)}" in why.stdout
