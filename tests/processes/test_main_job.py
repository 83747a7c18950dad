"""The main job, end to end, with the installed command: it schedules, runs, records, and survives being killed."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.instance import Instance, instances
from tests.support.waiting import PATIENCE, until

__all__ = ["instances"]

PROMISE_SECONDS = 2.0
"""How long after a kill nothing of the killed may live, and the retry must have started."""

ESCAPING = """
[[job]]
name = "escaping"
command = '''
setsid sh -c 'sleep 300 & echo $! >> "$0"/grandchildren; exit 0' "{folder}" &
wait
echo $$ >> "{folder}"/started
exec sleep 300
'''
cwd = "{folder}"
"""
"""A job that leaves a grandchild of a double fork in a session of its own."""


def make(instances: list[Instance], jobs: str = "", **options: Any) -> Instance:
    instance = Instance("", **options)
    instances.append(instance)
    instance.write(jobs.replace("{folder}", str(instance.folder)))
    return instance


def started(instance: Instance) -> list[int]:
    path = instance.folder / "started"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def job_processes(instance: Instance) -> list[int]:
    """Count in /proc, by what they are: the sleeps of the escaping job."""
    return [pid for pid in instance.survivors() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def run_escaping(instance: Instance) -> None:
    assert instance.cli("run", "escaping").returncode == 0
    until(lambda: len(started(instance)) == 1, PATIENCE, "the job to start", lambda: instance.log)
    assert len(job_processes(instance)) == 2, "the job and its escaped grandchild"


def worker_of(instance: Instance, job: str) -> dict[str, Any]:
    worker_id = instance.wait_run(job, "IN_PROGRESS")["worker_id"]
    return next(each for each in instance.children("worker") if each["facts"]["worker_id"] == worker_id)


def test_one_job_one_row(instances: list[Instance]) -> None:
    instance = make(instances, '[[job]]\nname = "hello"\ncommand = "echo hello"\nevery = "1s"\n', is_warm=False).start()
    row = instance.wait_run("hello", "COMPLETED")
    runs = instance.json("runs", "--last", "100")
    assert runs["schema"] == 1
    assert row["id"] in [run["id"] for run in runs["runs"]]
    assert instance.cli("logs", "hello", "--raw").stdout == "hello\n"
    assert instance.stop() == 0
    assert instance.survivors() == []


def test_a_killed_workers_job_is_gone_and_retried_within_two_seconds(instances: list[Instance]) -> None:
    instance = make(instances, ESCAPING).start()
    run_escaping(instance)
    worker = worker_of(instance, "escaping")
    old = set(job_processes(instance))
    killed_at = time.monotonic()
    os.kill(worker["pid"], signal.SIGKILL)
    until(lambda: len(started(instance)) == 2, PROMISE_SECONDS, "the retry to start", lambda: instance.log)
    assert time.monotonic() - killed_at < PROMISE_SECONDS
    assert not old & set(job_processes(instance)), "the first attempt's processes are gone before the second starts"
    first, second = instance.runs("escaping")
    assert (first["status"], first["reason"]) == ("TIMEOUT", "worker_lost")
    assert (second["retry_of"], second["retry_count"]) == (first["id"], 1)


def test_a_killed_supervisor_leaves_nothing_alive_and_its_successor_goes_on_nor_does_one_killed_with_a_worker(
    instances: list[Instance],
) -> None:
    instance = make(instances, ESCAPING).start()
    run_escaping(instance)
    instance.kill()
    until(lambda: not instance.survivors(), PROMISE_SECONDS, "everything to be gone", lambda: str(instance.survivors()))
    instance.start()
    until(lambda: len(started(instance)) == 2, PATIENCE, "the retry to start", lambda: instance.log)
    assert [row["reason"] for row in instance.runs("escaping")] == ["worker_lost", ""]

    assert job_processes(instance)
    worker = worker_of(instance, "escaping")
    os.kill(worker["pid"], signal.SIGKILL)
    instance.kill()
    until(lambda: not instance.survivors(), PROMISE_SECONDS, "everything to be gone", lambda: str(instance.survivors()))


def test_a_killed_standalone_worker_leaves_nothing_alive(instances: list[Instance]) -> None:
    instance = make(instances, ESCAPING)
    worker = instance.spawn("worker")
    until(lambda: "registered successfully" in instance.log, PATIENCE, "the worker to register", lambda: instance.log)
    run_escaping(instance)
    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=PATIENCE)
    until(lambda: not instance.survivors(), PROMISE_SECONDS, "everything to be gone", lambda: str(instance.survivors()))


def test_a_scheduler_killed_again_and_again_misses_no_tick_and_doubles_none(instances: list[Instance]) -> None:
    job = '[[job]]\nname = "tick"\ncommand = "true"\nevery = "1s"\noverlap = "allow"\ncatch_up = "all"\n'
    instance = make(instances, job).start()
    instance.wait_run("tick", "COMPLETED")
    end = time.monotonic() + 6
    while time.monotonic() < end:
        (pid,) = until(lambda: instance.pids("scheduler"), PATIENCE, "a scheduler")
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: instance.pids("scheduler") not in ([], [None], [pid]), PATIENCE, "the next scheduler")
    time_now = datetime.now(UTC)
    until(lambda: _ticks(instance)[-1] > time_now, PATIENCE, "one more tick", lambda: instance.log)
    ticks = _ticks(instance)
    assert len(ticks) >= 6
    assert [later - earlier for earlier, later in itertools.pairwise(ticks)] == [timedelta(seconds=1)] * (
        len(ticks) - 1
    )


def _ticks(instance: Instance) -> list[datetime]:
    rows = instance.runs("tick")
    return sorted(datetime.fromisoformat(row["scheduled_for"]).replace(tzinfo=UTC) for row in rows)


def test_a_stopped_worker_and_a_stopped_scheduler_are_noticed_and_replaced(instances: list[Instance]) -> None:
    instance = make(instances, ESCAPING, watchdog="2s", workers=1).start()
    run_escaping(instance)
    _stop_and_await_another(instance, "scheduler")
    _stop_and_await_another(instance, "worker")
    until(lambda: len(started(instance)) == 2, PATIENCE, "the retry to start", lambda: instance.log)


def _stop_and_await_another(instance: Instance, kind: str) -> None:
    (pid,) = instance.pids(kind)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: instance.pids(kind) not in ([], [None], [pid]), PATIENCE, "a new child", lambda: instance.log)
    until(lambda: all(each["state"] == "ready" for each in instance.children(kind)), PATIENCE, "it to be ready")


def test_a_crash_looping_child_is_started_at_most_20_times_in_10_seconds_and_status_says_so(
    instances: list[Instance],
) -> None:
    job = '[[job]]\nname = "tick"\ncommand = "true"\nevery = "1s"\n'
    instance = make(instances, job, workers=1)
    instance.spawn("start", JOBSUP_FAILPOINT="scheduler.before_dispatch")
    until(lambda: "scheduler-1 started" in instance.log, PATIENCE, "the first start", lambda: instance.log)
    began = time.monotonic()
    until(lambda: instance.cli("status").returncode == 1, PATIENCE, "a status that is not well", lambda: instance.log)
    until(lambda: "degraded" in instance.cli("status").stdout, PATIENCE, "the state to be seen", lambda: instance.log)
    told = instance.cli("status")
    assert "scheduler-1 is in state degraded" in told.stderr + told.stdout
    until(lambda: time.monotonic() - began >= 10, 11, "ten seconds to pass")
    assert 3 <= instance.log.count("scheduler-1 started as pid") <= 20
    assert instance.json("status")["state"] == "degraded"
    assert instance.children("worker")[0]["state"] == "ready", "the others go on"


JOBS = '[[job]]\nname = "a"\ncommand = "echo one"\n[[job]]\nname = "b"\ncommand = "echo b"\n'


def test_a_reload_that_changes_a_job_keeps_every_process_and_a_wrong_one_changes_nothing(
    instances: list[Instance],
) -> None:
    instance = make(instances, JOBS).start()
    before = instance.pids()
    instance.write(JOBS.replace("one", "two") + '[[job]]\nname = "c"\ncommand = "true"\n')
    done = instance.cli("reload")
    assert done.returncode == 0, done.stderr
    assert "a" in done.stdout
    assert "c" in done.stdout
    assert instance.pids() == before
    assert instance.cli("run", "a", "--wait").returncode == 0
    assert instance.cli("logs", "a", "--raw").stdout == "two\n"

    generation = instance.json("status")["supervisor"]["generation"]
    instance.write(JOBS + '[[job]]\nname = "bad"\ncommand = "true"\ncron = "61 * * * *"\n')
    refused = instance.cli("reload")
    assert refused.returncode == 7
    assert "61" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert instance.pids() == before
    assert re.search(r"ERROR .* Reload: refused.*61", instance.log)
    told = instance.json("status")
    assert told["supervisor"]["generation"] == generation
    assert "the last reload failed: refused" in told["warnings"][-1]
    assert "61" in told["warnings"][-1]
    assert instance.cli("run", "c", "--wait").returncode == 0


def test_an_instance_whose_file_is_broken_or_gone_stays_in_reach(instances: list[Instance]) -> None:
    instance = make(instances, JOBS, workers=1).start()
    good, before = instance.config.read_text(), instance.pids()
    instance.config.write_text("[supervisor\n" + good)
    told = instance.cli("status")
    assert told.returncode == 0, told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert "the configuration on disk is broken" in told.stderr
    assert "jobsup.toml:1: not valid TOML" in told.stderr
    assert "broken" in instance.json("status")["warnings"][-1]
    assert instance.cli("scale", "workers=2").returncode == 0
    run = instance.cli("run", "b", "--wait")
    assert run.returncode == 0
    assert "a restart would fail" in run.stderr
    refused = instance.cli("reload")
    assert refused.returncode == 7
    assert refused.stderr.count("not valid TOML") == 1
    assert instance.json("status")["supervisor"]["generation"] == 1
    assert set(before) <= set(instance.pids())
    instance.config.unlink()
    assert instance.process is not None
    stopped = instance.cli("stop")
    assert stopped.returncode == 0
    assert stopped.stderr.splitlines()[-1] == "stopped"
    assert "Stopping: what runs may finish first" in instance.log
    assert instance.process.wait(PATIENCE) == 0
    assert instance.cli("stop").returncode == 7, "nothing runs that was started with it"


def test_a_stop_lets_a_running_job_finish(instances: list[Instance]) -> None:
    job = '[[job]]\nname = "slow"\ncommand = "while [ ! -e go ]; do sleep 0.05; done"\ncwd = "{folder}"\n'
    instance = make(instances, job).start()
    assert instance.process is not None
    instance.cli("run", "slow")
    instance.wait_run("slow", "IN_PROGRESS")
    instance.process.send_signal(signal.SIGTERM)
    until(lambda: "Stopping" in instance.log, PATIENCE, "the stop to begin", lambda: instance.log)
    (instance.folder / "go").touch()
    assert instance.process.wait(PATIENCE) == 0
    (row,) = instance.runs("slow")
    assert row["status"] == "COMPLETED"


def test_a_stop_that_runs_out_of_time_returns_the_run_without_counting_it(instances: list[Instance]) -> None:
    jobs = '[[job]]\nname = "slow"\ncommand = "sleep 300"\n'
    instance = make(instances, jobs)
    instance.write(jobs, instance.settings.replace('drain_timeout = "5s"', 'drain_timeout = "1s"'))
    instance.start()
    instance.cli("run", "slow")
    instance.wait_run("slow", "IN_PROGRESS")
    assert instance.stop() == 0
    first, second = instance.runs("slow")
    assert (first["status"], first["reason"]) == ("TIMEOUT", "shutdown")
    assert (second["status"], second["retry_count"]) == ("PENDING", 0)
    assert instance.survivors() == []


def test_an_idle_instance_asks_the_database_at_most_twice_a_second(instances: list[Instance]) -> None:
    instance = make(instances, '[[job]]\nname = "later"\ncommand = "true"\nevery = "1h"\n', workers=4).start()
    until(lambda: min(child["statements"] for child in instance.children()) >= 4, PATIENCE, "every child's first look")
    first, began = _statements(instance), time.monotonic()
    until(lambda: time.monotonic() - began > 6, 7, "six idle seconds")
    asked, seconds = _statements(instance) - first, time.monotonic() - began
    assert asked >= 4, "each worker renews its registration: the counter counts"
    assert asked / seconds <= 2, f"{asked} statements in {seconds:.1f} s"


def _statements(instance: Instance) -> int:
    return sum(child["statements"] for child in instance.children())
