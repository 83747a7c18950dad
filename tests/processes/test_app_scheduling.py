"""Schedulers as processes: on time, in numbers, over each other's death; and why a tick did not run, by its cause."""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from jobsup.model import Reason
from tests.support.instance import Instance, instances
from tests.support.waiting import PATIENCE, until

__all__ = ["instances"]

TICKING = """
[[job]]
name = "ticking"
command = "true"
every = "1s"
overlap = "allow"
"""


def make(instances: list[Instance], jobs: str, **settings: Any) -> Instance:
    instance = Instance(jobs, **settings)
    instances.append(instance)
    return instance


def instant(text: str) -> datetime:
    """Read an instant as the database keeps it."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_thousand_jobs_due_at_one_instant_are_dispatched_within_a_second_once_and_none_early(
    instances: list[Instance],
) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=10)).replace(microsecond=0)
    job = '[[job]]\nname = "job-{}"\ncommand = "true"\nat = "{}"\n'
    instance = make(instances, "".join(job.format(n, at.isoformat()) for n in range(1000)), workers=0)
    instance.spawn("scheduler")
    until(
        lambda: "Scheduler service started" in instance.log, PATIENCE, "the scheduler to come up", lambda: instance.log
    )
    assert datetime.now(UTC) < at, "the machine is too slow for this test's head start"

    def rows() -> list[dict[str, Any]]:
        return instance.rows("SELECT job_id, scheduled_for, created_at, status FROM job_dispatch")

    found = until(
        lambda: rows() if len(rows()) >= 1000 else [], PATIENCE, "a thousand dispatches", lambda: instance.log
    )
    assert len(found) == len({row["job_id"] for row in found}) == 1000
    assert {row["status"] for row in found} == {"PENDING"}
    assert {instant(row["scheduled_for"]) for row in found} == {at}
    created = [instant(row["created_at"]) for row in found]
    assert at <= min(created)
    assert max(created) - at < timedelta(seconds=1)


def leader(instance: Instance) -> dict[str, Any]:
    return instance.rows("SELECT holder, epoch FROM scheduler_lock")[0]


def leads(instance: Instance, process: subprocess.Popen[bytes]) -> bool:
    return f"/{process.pid}/" in leader(instance)["holder"]


def two_schedulers(instances: list[Instance]) -> tuple[Instance, subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start a leader and a standby, with a short lease."""
    instance = make(instances, TICKING)
    settings = instance.settings.replace("[scheduler]", '[scheduler]\ndispatch_lock_duration = "3s"')
    instance.write(TICKING, settings)
    first = instance.spawn("scheduler")
    until(lambda: "Leading in term 1" in instance.log, PATIENCE, "a leader", lambda: instance.log)
    second = instance.spawn("scheduler")
    until(lambda: "Standing by" in instance.log, PATIENCE, "a standby", lambda: instance.log)
    return instance, first, second


def assert_ticks_whole(instance: Instance) -> None:
    """No tick is missing and none double: each is a run, or part of a range that says why it is not."""
    rows = instance.runs("ticking")
    told = sum(row["skipped_count"] or 1 for row in rows)
    first = min(instant(row["scheduled_for"]) for row in rows)
    last = max(instant(row["scheduled_for"]) for row in rows)
    assert told == (last - first) // timedelta(seconds=1) + 1
    assert len({row["scheduled_for"] for row in rows}) == len(rows)


def test_a_standby_leads_within_a_second_of_a_resignation_and_of_a_death(instances: list[Instance]) -> None:
    instance, first, second = two_schedulers(instances)
    begin = time.monotonic()
    first.send_signal(signal.SIGTERM)
    until(lambda: leads(instance, second), 1, "the standby to lead", lambda: instance.log)
    assert time.monotonic() - begin < 1
    assert first.wait(timeout=PATIENCE) == 0

    third = instance.spawn("scheduler")
    until(lambda: instance.log.count("Standing by") == 2, PATIENCE, "another standby", lambda: instance.log)
    second.kill()
    until(lambda: leads(instance, third), 2, "the last one to lead", lambda: instance.log)
    count = len(instance.runs("ticking"))
    until(lambda: len(instance.runs("ticking")) > count + 1, PATIENCE, "ticks to go on")
    assert_ticks_whole(instance)


def test_a_frozen_leader_is_replaced_when_its_lease_has_passed_and_writes_nothing_on_waking(
    instances: list[Instance],
) -> None:
    instance, first, second = two_schedulers(instances)
    first.send_signal(signal.SIGSTOP)
    until(lambda: leads(instance, second), 6, "the standby to lead", lambda: instance.log)
    first.send_signal(signal.SIGCONT)
    until(
        lambda: "Leadership of term 1 ended" in instance.log,
        PATIENCE,
        "the woken one to step down",
        lambda: instance.log,
    )
    count = len(instance.runs("ticking"))
    until(lambda: len(instance.runs("ticking")) > count + 1, PATIENCE, "ticks to go on")
    assert leads(instance, second)
    epochs = [row["epoch"] for row in instance.runs("ticking")]
    assert epochs == sorted(epochs)
    assert_ticks_whole(instance)


def test_a_scheduler_killed_between_its_steps_loses_and_doubles_no_tick(instances: list[Instance]) -> None:
    instance = make(instances, TICKING)
    before = instance.spawn("scheduler", JOBSUP_FAILPOINT="scheduler.before_dispatch")
    assert before.wait(timeout=PATIENCE) == -signal.SIGKILL, instance.log
    after = instance.spawn("scheduler", JOBSUP_FAILPOINT="scheduler.after_dispatch")
    assert after.wait(timeout=PATIENCE) == -signal.SIGKILL, instance.log
    assert instance.runs("ticking"), "what was committed before the kill stands"
    instance.spawn("scheduler")
    count = len(instance.runs("ticking"))
    until(lambda: len(instance.runs("ticking")) > count + 1, PATIENCE, "ticks to go on", lambda: instance.log)
    assert_ticks_whole(instance)


REASONS = """
[[job]]
name = "missed"
command = "true"
every = "1s"
catch_up = "none"
[[job]]
name = "misfire_grace"
command = "true"
every = "1s"
catch_up = "all"
misfire_grace = "1s"
[[job]]
name = "catch_up_limit"
command = "true"
every = "1s"
catch_up = "all"
catch_up_limit = 1
[[job]]
name = "paused"
command = "true"
every = "1s"
[[job]]
name = "overlap"
command = "sleep 60"
every = "1s"
"""
"""Each job is called after the reason that this test gives its ticks."""

DOWN_SECONDS = 11.0
"""More than what counts as a short absence, in which ticks are late and not missed."""


def skipped(instance: Instance, job: str) -> list[dict[str, Any]]:
    return [row for row in instance.runs(job) if row["status"] == "SKIPPED" and row["reason"] == job]


def test_each_reason_for_a_skipped_tick_comes_from_its_cause(instances: list[Instance]) -> None:
    instance = make(instances, REASONS, workers=2).start()
    assert instance.cli("pause", "paused", "--reason", "moving house").returncode == 0
    until(lambda: skipped(instance, "paused") and skipped(instance, "overlap"), PATIENCE, "pause and overlap to show")
    assert not skipped(instance, "missed")
    instance.kill()
    down = time.monotonic()
    until(lambda: time.monotonic() - down >= DOWN_SECONDS, DOWN_SECONDS + 1, "some ticks to be missed")
    instance.start()
    for reason in (Reason.MISSED, Reason.MISFIRE_GRACE, Reason.CATCH_UP_LIMIT):
        until(lambda reason=reason: skipped(instance, reason), PATIENCE, str(reason), lambda: instance.log)
    for reason in (Reason.MISSED, Reason.MISFIRE_GRACE, Reason.CATCH_UP_LIMIT):
        row = skipped(instance, reason)[0]
        assert row["skipped_count"] >= 1
        seconds = (instant(row["skipped_until"]) - instant(row["scheduled_for"])).total_seconds()
        assert row["skipped_count"] == seconds + 1
    instance.kill()


KEPT_OUT = """
[[blackout]]
name = "now"
from = "{yesterday}T00:00:00"
until = "{tomorrow}T23:00:00"
policy = "skip"
jobs = ["blackout"]
[[job]]
name = "blackout"
command = "true"
every = "1s"
[[job]]
name = "queue_full"
command = "sleep 60"
every = "1s"
overlap = "queue"
queue_limit = 1
"""


def test_each_reason_of_a_tick_that_is_kept_out_comes_from_its_cause(instances: list[Instance]) -> None:
    today = datetime.now(UTC).date()
    day = timedelta(days=1)
    instance = make(instances, KEPT_OUT.format(yesterday=today - day, tomorrow=today + day)).start()
    for reason in (Reason.QUEUE_FULL, Reason.BLACKOUT):
        until(lambda reason=reason: skipped(instance, reason), PATIENCE, str(reason), lambda: instance.log)
        told = instance.cli("why", str(reason))
        assert told.returncode == 0, told.stderr
        assert "skipped" in told.stdout
    assert len([row for row in instance.runs("queue_full") if row["status"] in ("PENDING", "IN_PROGRESS")]) == 2
