"""The verbs against a running instance whose polls are an hour apart: what happens was woken by them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.instance import JOBSUP, Instance
from tests.support.waiting import PATIENCE, until

JOBS = """
[[job]]
name = "exits"
command = "echo out; echo err >&2; exit $JOBSUP_PARAM_CODE"
max_retries = 0
params = { code = 0 }

[[job]]
name = "dies"
command = "kill -SEGV $$"
max_retries = 0

[[job]]
name = "slow"
command = "sleep 30"
timeout = "300ms"
max_retries = 0

[[job]]
name = "second-time"
command = "echo attempt $JOBSUP_ATTEMPT; test $JOBSUP_ATTEMPT = 2"
max_retries = 1
retry_backoff = "10ms"

[[job]]
name = "talks"
command = "echo begin; while [ ! -e go ]; do sleep 0.02; done; printf 'b\\\\033[1me\\\\377ll\\\\n'; rm go"
cwd = "."
max_retries = 0

[[job]]
name = "long"
command = "echo started; exec sleep 60"
max_retries = 0
overlap = "allow"

[[job]]
name = "tells"
command = '''
echo '{"jobsup": {"progress": 0.4, "text": "copying"}}'
while [ ! -e on ]; do sleep 0.02; done; rm on
head -c 2000000 /dev/zero > zeros && sync zeros; exit 3'''
cwd = "."
max_retries = 0

[[job]]
name = "yearly"
command = "true"
cron = "0 0 1 1 *"
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    running = Instance(JOBS)
    try:
        yield running.start()
    finally:
        running.close()


def test_how_far_a_run_is_and_what_it_cost_is_shown(instance: Instance) -> None:
    instance.cli("run", "tells")
    run = instance.runs("tells")[-1]["id"]

    def far() -> dict[str, object] | None:
        workers = instance.json("status")["workers"]
        return next((each["run"]["progress"] for each in workers if each["run"]), None)

    until(lambda: far() == {"fraction": 0.4, "text": "copying"}, 10, "its progress", lambda: instance.log)
    assert f"run {run} tells (40 %, copying)" in instance.cli("status").stdout
    assert "40 %, copying" in instance.cli("runs", "tells").stdout
    assert "It says how far it is: 40 %, copying." in instance.cli("why", str(run)).stdout
    (instance.folder / "on").touch()
    instance.wait_run("tells", "FAILED")
    shown = instance.json("show", str(run))["run"]
    account = shown["account"]
    assert shown["progress"] == {"fraction": 0.4, "text": "copying"}
    assert shown["exit_code"] == 3
    assert 0 < account["wall_seconds"] < 60
    assert 0 <= account["queue_seconds"] < 10
    assert account["lateness_seconds"] is None
    assert account["cpu_user_seconds"] + account["cpu_system_seconds"] > 0
    assert account["io_write_bytes"] is not None
    said = instance.cli("show", str(run)).stdout
    assert "Progress: 40 %, copying" in said
    assert "of processor time" in said
    assert "It last said how far it was" in instance.cli("why", str(run)).stdout


def test_status_is_healthy_and_has_the_promised_shape(instance: Instance) -> None:
    done = instance.cli("status", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert answer["schema"] == 1
    assert answer["state"] == "running"
    assert answer["problems"] == answer["warnings"] == []
    assert instance.process is not None
    assert answer["supervisor"]["pid"] == instance.process.pid
    assert answer["supervisor"]["config"] == str(instance.config)
    assert answer["supervisor"]["generation"] >= 1
    for child in answer["children"]:
        assert set(child) >= {"kind", "slot", "pid", "state", "restarts", "last_exit"}
    assert [child["kind"] for child in answer["children"]].count("worker") == 2
    assert answer["scheduler"]["role"] == "leader"
    assert set(answer["scheduler"]) >= {"role", "lag_seconds", "next_due"}
    assert {row["worker_id"] for row in answer["workers"]} == {
        child["facts"]["worker_id"] for child in answer["children"] if child["kind"] == "worker"
    }


def test_status_for_people_names_each_process(instance: Instance) -> None:
    done = instance.cli("status")
    assert done.returncode == 0
    for word in ("running", "scheduler-1", "worker-1", "worker-2", "leader", "Next due"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout


def test_status_watches_until_it_is_interrupted(instance: Instance) -> None:
    words = [JOBSUP, "status", "--watch", "--interval", "50ms", "--json", "-c", str(instance.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(3):
            assert json.loads(process.stdout.readline())["state"] == "running"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["exits"], 0),
        (["exits", "-p", "code=7"], 7),
        (["dies"], 128 + signal.SIGSEGV),
        (["slow"], 124),
        (["second-time"], 0),
    ],
)
def test_wait_ends_as_the_job_does_after_its_last_attempt(instance: Instance, words: list[str], code: int) -> None:
    done = instance.cli("run", *words, "--wait")
    assert done.returncode == code, done.stderr
    assert done.stdout.strip().isdigit()


def test_wait_with_json_has_the_first_and_the_last_attempt(instance: Instance) -> None:
    answer = instance.json("run", "second-time", "--wait")
    assert (answer["schema"], answer["job"], answer["retry_count"]) == (1, "second-time", 0)
    assert answer["status"] in ("PENDING", "IN_PROGRESS", "FAILED"), "as it is when it is printed"
    assert (answer["last"]["status"], answer["last"]["retry_of"]) == ("COMPLETED", answer["id"])


def test_follow_prints_the_output_and_nothing_else(instance: Instance) -> None:
    done = instance.cli("run", "exits", "-p", "code=3", "--follow")
    assert done.returncode == 3
    assert sorted(done.stdout.splitlines()) == ["err", "out"]
    assert "FAILED" in done.stderr
    again = instance.cli("run", "second-time", "--follow")
    assert again.stdout == "attempt 1\nattempt 2\n"
    assert again.returncode == 0


def test_logs_follow_live_output_and_end_with_the_run(instance: Instance) -> None:
    instance.cli("run", "talks")
    words = [JOBSUP, "logs", "-f", "talks", "-c", str(instance.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begin\n"
        (instance.folder / "go").touch()
        assert process.stdout.readline() == "be\ufffdll\n".encode()
        assert process.stdout.read() == b""
        assert process.wait(timeout=PATIENCE) == 0
    raw = subprocess.run([*words[:2], "--raw", *words[3:]], capture_output=True, check=False, timeout=30)
    assert raw.stdout == b"begin\nb\x1b[1me\xffll\n"


def test_stderr_is_marked_on_a_terminal_unless_no_color_is_set(instance: Instance) -> None:
    instance.cli("run", "exits", "--wait")

    def seen(**more: str) -> str:
        ours, theirs = pty.openpty()
        words = [JOBSUP, "logs", "exits", "-c", str(instance.config)]
        env = {**instance.environment(**more), "TERM": "xterm"}
        subprocess.run(words, stdout=theirs, stderr=theirs, check=True, timeout=30, env=env)
        os.close(theirs)
        try:
            return os.read(ours, 10_000).decode()
        finally:
            os.close(ours)

    assert "\x1b[31merr" in seen()
    assert "\x1b" not in seen(NO_COLOR="1")


def test_a_cancelled_run_ends_who_waits_with_130(instance: Instance) -> None:
    words = [JOBSUP, "run", "long", "--wait", "-c", str(instance.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        instance.wait_run("long", "IN_PROGRESS")
        run = str(instance.runs("long")[-1]["id"])
        assert instance.cli("cancel", run).stdout in (f"run {run}: being cancelled\n", f"run {run}: cancelled\n")
        assert process.wait(timeout=PATIENCE) == 130
    outcome = instance.json("why", run)
    assert outcome["outcome"] == "CANCELLED"
    assert "cancelled by " in " ".join(outcome["why"])


def test_an_interrupted_wait_leaves_the_run_alone(instance: Instance) -> None:
    words = [JOBSUP, "run", "long", "--wait", "-c", str(instance.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        run = int(process.stdout.readline())  # before the wait, also into a pipe
        instance.wait_run("long", "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130
        assert "goes on: `jobsup cancel" in process.stderr.read().decode()
    assert instance.runs("long")[-1]["status"] == "IN_PROGRESS"
    assert run == instance.runs("long")[-1]["id"]
    instance.cli("cancel", str(run))
    instance.wait_run("long", "CANCELLED")


def test_workers_are_listed_for_people_and_programs(instance: Instance) -> None:
    answer = instance.json("workers")
    assert answer["schema"] == 1
    assert len(answer["workers"]) == 2
    text = instance.cli("workers").stdout
    assert all(row["worker_id"] in text for row in answer["workers"])


def test_scale_changes_the_workers_and_back(instance: Instance) -> None:
    answer = instance.json("scale", "workers=3")
    assert (answer["before"], answer["after"]) == (2, 3)
    until(lambda: len(instance.children("worker")) == 3, PATIENCE, "a third worker")
    assert instance.cli("scale", "2").returncode == 0
    until(lambda: len(instance.children("worker")) == 2, PATIENCE, "the third worker to leave")
    told = instance.json("audit", "--verb", "workers.scale")["audit"]
    assert [(row["origin"], row["detail"]["before"], row["detail"]["after"]) for row in told] == [
        ("cli", 3, 2),
        ("cli", 2, 3),
    ]


def test_reload_prints_changes_keeps_pids_and_refuses_what_is_wrong(instance: Instance) -> None:
    before = instance.pids()
    instance.write(JOBS.replace('cron = "0 0 1 1 *"', 'cron = "0 0 2 1 *"'))
    dry = instance.cli("reload", "--dry-run")
    done = instance.cli("reload")
    assert dry.returncode == done.returncode == 0
    assert dry.stdout == done.stdout == "~ job yearly: cron 0 0 1 1 * -> 0 0 2 1 *\n"
    assert instance.pids() == before
    instance.write(JOBS.replace("cron =", "corn ="))
    refused = instance.cli("reload")
    assert refused.returncode == 7
    assert refused.stdout == ""
    assert 'did you mean "cron"?' in refused.stderr
    assert instance.pids() == before
    instance.write(JOBS)
    assert instance.cli("reload").returncode == 0


def test_a_second_start_says_who_holds_it(instance: Instance) -> None:
    done = instance.cli("start")
    assert done.returncode == 6
    assert instance.process is not None
    assert str(instance.process.pid) in done.stderr
    assert done.stdout == ""


def test_restart_keeps_the_process_id_and_stop_returns_when_it_is_gone(instance: Instance) -> None:
    assert instance.process is not None
    workers = instance.pids("worker")
    assert instance.cli("restart").returncode == 0
    assert next(row["verb"] for row in instance.json("audit")["audit"]) == "supervisor.restart"
    until(
        lambda: instance.children("worker") and not set(instance.pids("worker")) & set(workers), PATIENCE, "new workers"
    )
    assert instance.process.poll() is None
    until(lambda: instance.cli("status").returncode == 0, PATIENCE, "all to be well again")
    begun = time.monotonic()
    assert instance.cli("stop").returncode == 0
    assert instance.process.wait(timeout=1) == 0
    assert time.monotonic() - begun < 10
    assert instance.cli("status").returncode == 3


def test_a_worker_and_a_scheduler_alone_do_the_work(instance: Instance) -> None:
    assert instance.process is not None
    assert instance.process.poll() is not None, "this test needs the supervisor gone"
    worker, scheduler = instance.spawn("worker"), instance.spawn("scheduler")
    try:
        instance.cli("run", "exits")
        assert instance.wait_run("exits", "COMPLETED", PATIENCE)["reason"] == ""
        line = f"scheduler[{scheduler.pid}] Scheduler service started"
        until(lambda: line in instance.log, PATIENCE, "the scheduler to be up", lambda: instance.log[-2000:])
    finally:
        for process in (worker, scheduler):
            process.terminate()
        assert [process.wait(timeout=PATIENCE) for process in (worker, scheduler)] == [0, 0]
