"""A worker claims, runs and records: the plain ways a run goes."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from jobsup.model import Overlap, ParamSpec
from jobsup.store import dispatches
from jobsup.store.models import JobDispatch
from tests.support.worker import Bench, working


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker"), concurrency=2, environ={"SECRET": "hunter2"}) as bench:
        yield bench


def test_a_command_is_claimed_run_and_recorded(bench: Bench) -> None:
    run = bench.run("hello", command="echo out; echo err >&2")
    row = bench.until_ended(run)
    log = bench.execution(run)
    assert (row["status"], row["reason"], row["error_message"]) == ("COMPLETED", "", None)
    assert row["worker_id"].startswith("worker-")
    assert row["claimed_at"] <= row["started_at"] <= row["completed_at"]
    assert log is not None
    assert sorted(bytes(log["log_output"]).splitlines()) == [b"err", b"out"]
    assert (log["exit_code"], log["signal"], log["output_bytes"], log["output_dropped"]) == (0, None, 8, 0)
    assert sorted(map(tuple, log["stream_marks"])) == [(4, 1), (4, 2)]
    assert log["pid"] > 0
    assert log["cpu_user"] + log["cpu_system"] >= 0
    assert (log["io_read"], log["io_write"]) >= (0, 0)
    assert f"Claimed job dispatch {run}" in bench.told()
    bench.until_logged(f'Dispatch {run} (job "hello") completed in 0.')


def test_a_list_is_run_without_a_shell(bench: Bench) -> None:
    run = bench.run(command=("printf", "%s|", "$HOME", "a b", "*"))
    bench.until_ended(run)
    assert bench.output(run) == b"$HOME|a b|*|"


def test_a_run_that_names_no_folder_starts_in_the_home_of_its_user(bench: Bench) -> None:
    run, elsewhere = bench.run(command="pwd -P"), bench.run(command="pwd -P", cwd="/usr")
    bench.until_ended(run)
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert bench.output(run).decode().strip() == str(home.resolve() if home.is_dir() else "/")
    bench.until_ended(elsewhere)
    assert bench.output(elsewhere) == b"/usr\n"


def test_an_exit_code_outside_the_successful_ones_fails_the_run(bench: Bench) -> None:
    failed, fine = bench.run(command="exit 3"), bench.run(command="exit 3", success_exit_codes=(0, 3))
    row = bench.until_ended(failed)
    assert (row["status"], row["reason"], row["error_message"]) == ("FAILED", "exit_code", "exit code 3")
    assert bench.until_ended(fine)["status"] == "COMPLETED"


def test_a_run_a_signal_ended_says_which(bench: Bench) -> None:
    run = bench.run(command="kill -SEGV $$")
    row, log = bench.until_ended(run), bench.execution(run)
    assert (row["status"], row["reason"]) == ("FAILED", "signal")
    assert row["error_message"] == "ended by signal 11 (SIGSEGV)"
    assert log is not None
    assert (log["exit_code"], log["signal"]) == (None, 11)


def test_a_failed_run_is_retried_by_a_timer_and_counts_its_attempts(bench: Bench) -> None:
    run = bench.run(
        "flaky",
        command="echo attempt $JOBSUP_ATTEMPT; test $JOBSUP_ATTEMPT = 2",
        max_retries=1,
        retry_backoff=timedelta(milliseconds=300),
    )
    assert bench.until_ended(run)["status"] == "FAILED"
    retry = run + 1  # nothing else makes runs meanwhile
    row = bench.until_ended(retry, 3)
    assert (row["status"], row["retry_of"], row["retry_count"]) == ("COMPLETED", run, 1)
    assert bench.output(retry) == b"attempt 2\n"


def test_the_memory_of_a_run_is_its_own_and_not_its_workers(tmp_path: Path) -> None:
    with working(tmp_path, heartbeat_interval=timedelta(seconds=0.2)) as bench:
        small, large = (
            bench.run(command=["/bin/true"]),
            bench.run(command=[sys.executable, "-c", "len(bytearray(300 << 20))"]),
        )
        lasting = bench.run(command=["/bin/sleep", "1"])
        for run in (small, large, lasting):
            assert bench.until_ended(run)["status"] == "COMPLETED"
        peaks = [(bench.execution(run) or {})["max_rss"] for run in (small, large, lasting)]
    # The kernel does not tell what is less than its worker has: it is known only if it was looked at while it lived.
    assert peaks[0] is None or 64 << 10 < peaks[0] < 20 << 20
    assert 300 << 20 < peaks[1] < 400 << 20
    assert 0 < peaks[2] < 20 << 20


def test_a_job_sees_the_allowed_environment_and_nothing_else(bench: Bench) -> None:
    params = (ParamSpec("size", "integer", default=5), ParamSpec("name", "string", default=""))
    run = bench.run("env", command=("/usr/bin/env", "-0"), params=params, env={"MINE": "a\nb"})
    bench.until_ended(run)
    found = dict(item.split("=", 1) for item in bench.output(run).decode().split("\0") if item)
    passed_on = {"PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR"}
    ours = {name: value for name, value in found.items() if name not in passed_on and not name.startswith("LC_")}
    deadline = ours["JOBSUP_DEADLINE"]
    off = datetime.fromisoformat(deadline) - bench.row(run)["started_at"] - timedelta(minutes=10)
    assert abs(off) < timedelta(seconds=2)
    assert ours == {
        "MINE": "a\nb",
        "JOBSUP_INSTANCE": bench.instance,
        "JOBSUP_RUN_ID": str(run),
        "JOBSUP_JOB": "env",
        "JOBSUP_ATTEMPT": "1",
        "JOBSUP_SCHEDULED_FOR": "",
        "JOBSUP_PARENT_RUN_ID": "",
        "JOBSUP_DEADLINE": deadline,
        "JOBSUP_PARAMS": '{"size": 5, "name": ""}',
        "JOBSUP_PARAM_SIZE": "5",
        "JOBSUP_PARAM_NAME": "",
    }


def test_a_job_starts_with_clean_signals_descriptors_and_a_session_of_its_own(bench: Bench) -> None:
    code = (
        "import os, json, signal\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())\n"
        "fds = [fd for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "print(json.dumps([os.getsid(0) == os.getpid(), sorted(map(int, fds)), os.readlink('/proc/self/fd/0'),\n"
        "  status['SigIgn'].strip(), status['SigBlk'].strip()]))"
    )
    # Python itself ignores SIGPIPE (13) and SIGXFSZ (25) once it runs, so the ignored ones are asked of a shell.
    run = bench.run(command=("/usr/bin/python3", "-c", code))
    ignored = bench.run(command="grep -E 'Sig(Ign|Blk)' /proc/self/status")
    bench.until_ended(run)
    bench.until_ended(ignored)
    leads, fds, stdin, _, blocked = json.loads(bench.output(run))
    assert leads
    assert fds == [0, 1, 2]
    assert stdin == "/dev/null"
    assert int(blocked, 16) == 0
    # Beside the 31 signals there are, the C library's spawn ignores two of its own, which any program of it takes back.
    assert [int(line.split()[1], 16) & (1 << 31) - 1 for line in bench.output(ignored).splitlines()] == [0, 0]


def test_a_script_is_started_by_its_first_line_or_its_extension(bench: Bench) -> None:
    executable, plain = bench.folder / "one", bench.folder / "two.sh"
    executable.write_text("#!/bin/sh\necho one $1\n")
    executable.chmod(0o700)
    plain.write_text("echo two $1\n")
    first, second = bench.run(script=str(executable), args=("a b",)), bench.run(script=str(plain), args=("c",))
    bench.until_ended(first)
    bench.until_ended(second)
    assert (bench.output(first), bench.output(second)) == (b"one a b\n", b"two c\n")


def test_a_job_runs_in_its_folder(bench: Bench) -> None:
    run = bench.run(command="pwd", cwd=str(bench.folder))
    bench.until_ended(run)
    assert bench.output(run).decode().strip() == str(bench.folder)


def test_what_cannot_be_started_fails_for_good_with_one_line(bench: Bench) -> None:
    not_executable, bad_first_line = bench.folder / "three", bench.folder / "four"
    not_executable.write_text("data")
    not_executable.chmod(0o600)
    bad_first_line.write_text("#!/no/such/interpreter\n")
    bad_first_line.chmod(stat.S_IRWXU)
    secret = bench.folder / "open-secrets"
    secret.write_text("A=1\n")
    secret.chmod(0o644)
    cases = {
        "No such file": bench.run(command=("/no/such/program",), max_retries=3),
        "Permission denied": bench.run(command=(str(not_executable),), max_retries=3),
        "the interpreter its first line names does not exist": bench.run(command=(str(bad_first_line),), max_retries=3),
        "its folder /no/such/folder does not exist": bench.run(command="true", cwd="/no/such/folder", max_retries=3),
        "too long for the kernel": bench.run(command=("echo", "x" * 3_000_000), max_retries=3),
        'user "no-such-user" does not exist': bench.run(command="true", user="no-such-user", max_retries=3),
        "chmod 600": bench.run(command="true", env_file=str(secret), max_retries=3),
        "script /no/such.sh: No such file": bench.run(script="/no/such.sh", max_retries=3),
        "embedded null byte": bench.run(command=("echo", "a\0b"), max_retries=3),
    }
    for text, run in cases.items():
        row = bench.until_ended(run)
        assert (row["status"], row["reason"]) == ("FAILED", "not_runnable"), text
        assert text in row["error_message"]
        assert "\n" not in row["error_message"]
        assert bench.execution(run) is None
    with bench.database.read() as connection:
        retries = select(func.count()).where(JobDispatch.retry_of.in_(cases.values()))
        assert connection.execute(retries).scalar_one() == 0
    assert "Traceback" not in bench.told()


def test_secrets_of_the_worker_reach_no_job_and_no_log(bench: Bench) -> None:
    run = bench.run(command=("cat", "/proc/self/environ"))
    bench.until_ended(run)
    assert b"hunter2" not in bench.output(run)
    assert "hunter2" not in bench.told()
    assert Path(f"/proc/{bench.pid}").exists()


def test_a_replaced_run_is_cancelled_and_the_newer_one_takes_its_place(bench: Bench) -> None:
    old = bench.run("newest", command="exec sleep 60", overlap=Overlap.REPLACE)
    bench.until_started(old)
    new = dispatches.create_manual(bench.database, "newest", params={}, requested_by="test").dispatch_id
    row = bench.until_ended(old, 3)
    assert (row["status"], row["reason"], row["error_message"]) == ("CANCELLED", "replaced", "replaced by a newer run")
    bench.until_started(new, 3)
    dispatches.cancel(bench.database, new, "test")
    assert bench.until_ended(new, 3)["reason"] == "cancelled"
    assert row["completed_at"] <= bench.row(new)["started_at"]


def test_a_queued_run_starts_when_the_one_before_it_has_ended(bench: Bench) -> None:
    first = bench.run("one-by-one", command="sleep 0.3", overlap=Overlap.QUEUE)
    second = dispatches.create_manual(bench.database, "one-by-one", params={}, requested_by="test").dispatch_id
    assert bench.until_ended(second, 3)["started_at"] >= bench.row(first)["completed_at"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another user")
def test_a_callable_of_another_user_has_that_users_rights(bench: Bench) -> None:
    nobody = pwd.getpwnam("nobody")
    try:
        subprocess.run([sys.executable, "-c", "import jobsup"], user="nobody", cwd="/", check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the user nobody cannot read this installation of Python and jobsup")
    run = bench.run(python="os:getresuid", user="nobody")
    assert bench.until_ended(run)["error_message"] is None
    assert json.loads((bench.execution(run) or {})["result"]) == [nobody.pw_uid] * 3
