"""Python callables in a runner: results, failures, and what one call may do to the next."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobsup.model import ParamSpec
from jobsup.runtime import procs
from jobsup.store import dispatches
from tests.support.waiting import until
from tests.support.worker import Bench, working

MODULE = """
import os, subprocess, sys, time

def add(a, b=1): return {"sum": a + b}
def nothing(): print("out"); print("err", file=sys.stderr)
def odd(): return object()
def huge(): return "x" * 100_000
def raises(): raise ValueError("no such luck\\udc80")
def exits(code=None): sys.exit(code)
def hard_exit(): os.write(1, b"last words"); os._exit(5)
def crash(): os.kill(os.getpid(), 11)
def pid(): return os.getpid()
def environment(): return [os.environ.get("JOBSUP_JOB"), os.environ.get("MINE"), os.environ.get("SECRET")]
def anything(**kwargs): return kwargs
def sleeps(): print("begun"); time.sleep(60)
def deaf():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("deaf-here", "w").write("1\\n")
    while True: time.sleep(1)
def below(): subprocess.run("echo from below; echo $JOBSUP_RUN_ID", shell=True)
def leaves(): return subprocess.Popen(["sleep", "300"]).pid
def closes(): sys.stdout.close(); os.close(1)
def folder(): return os.getcwd()
def modules(): return [name for name in ("sqlalchemy", "pydantic", "click") if name in sys.modules]
async def later(): pass
value = 3
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("worker")
    (folder / "lib").mkdir()
    (folder / "lib" / "tasks.py").write_text(MODULE)
    (folder / "lib" / "broken.py").write_text("import no_such_dependency\n")
    (folder / "lib" / "wrong.py").write_text("def f(:\n")
    with working(folder, python_path=(str(folder / "lib"),), environ={"SECRET": "hunter2"}) as bench:
        yield bench


def call(bench: Bench, function: str, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    run = bench.run(python=function if ":" in function else f"tasks:{function}", **spec)
    row = bench.until_ended(run, 10)
    return row, bench.execution(run) or {}


def test_a_callable_is_called_with_its_keywords_and_its_result_kept(bench: Bench) -> None:
    row, log = call(bench, "add", kwargs={"a": 2, "b": 40})
    assert (row["status"], row["error_message"]) == ("COMPLETED", None)
    assert json.loads(log["result"]) == {"sum": 42}
    assert log["exit_code"] == 0
    assert log["cpu_user"] is not None


def test_parameters_go_to_functions_that_take_them(bench: Bench) -> None:
    params = (ParamSpec("b", "integer", default=5), ParamSpec("unknown", "string", default="x"))
    _, log = call(bench, "add", kwargs={"a": 2}, params=params)
    assert json.loads(log["result"]) == {"sum": 7}
    _, log = call(bench, "anything", kwargs={"a": 2}, params=params, given={"b": 9})
    assert json.loads(log["result"]) == {"a": 2, "b": 9, "unknown": "x"}


def test_both_streams_of_a_call_are_captured(bench: Bench) -> None:
    _, log = call(bench, "nothing")
    assert log["result"] is None
    assert sorted(bytes(log["log_output"]).splitlines()) == [b"err", b"out"]
    _, log = call(bench, "below")
    assert bytes(log["log_output"]) == b"from below\n%d\n" % log["dispatch_id"]


def test_calls_share_a_process_but_not_an_environment(bench: Bench) -> None:
    first, second = call(bench, "pid")[1]["result"], call(bench, "pid")[1]["result"]
    assert first == second
    assert json.loads(call(bench, "environment", env={"MINE": "1"}, name="one")[1]["result"]) == ["one", "1", None]
    assert json.loads(call(bench, "environment", name="two")[1]["result"]) == ["two", None, None]
    assert json.loads(call(bench, "modules")[1]["result"]) == []


def test_an_exception_is_told_with_its_traceback(bench: Bench) -> None:
    row, log = call(bench, "raises")
    assert (row["status"], row["reason"]) == ("FAILED", "exception")
    assert row["error_message"].startswith("ValueError: no such luck")
    output = bytes(log["log_output"])
    assert b"Traceback (most recent call last):" in output
    assert b"tasks.py" in output
    assert b"runner_main" not in output


def test_a_wrong_keyword_is_an_exception_too(bench: Bench) -> None:
    row, _ = call(bench, "add", kwargs={"c": 1})
    assert row["reason"] == "exception"
    assert "TypeError" in row["error_message"]


def test_leaving_the_interpreter_ends_the_call_with_that_code(bench: Bench) -> None:
    assert call(bench, "exits")[0]["status"] == "COMPLETED"
    row, _ = call(bench, "exits", kwargs={"code": 7})
    assert (row["reason"], row["error_message"]) == ("exit_code", "exit code 7")
    row, log = call(bench, "exits", kwargs={"code": "sorry"})
    assert (row["reason"], bytes(log["log_output"])) == ("exit_code", b"sorry\n")


def test_a_call_that_takes_its_runner_along_is_ended_by_it_and_the_next_has_a_new_one(bench: Bench) -> None:
    before = call(bench, "pid")[1]["result"]
    row, log = call(bench, "hard_exit")
    assert (row["reason"], log["exit_code"], bytes(log["log_output"])) == ("exit_code", 5, b"last words")
    row, log = call(bench, "crash")
    assert (row["reason"], log["signal"]) == ("signal", signal.SIGSEGV)
    assert call(bench, "pid")[1]["result"] != before


def test_a_runner_killed_while_idle_is_replaced(bench: Bench) -> None:
    pid = int(call(bench, "pid")[1]["result"])
    os.kill(pid, signal.SIGKILL)
    row, log = call(bench, "pid")
    assert row["status"] == "COMPLETED"
    assert int(log["result"]) != pid


def test_what_cannot_be_called_fails_for_good_with_a_clear_line(bench: Bench) -> None:
    cases = {
        "no_such_module:f": "no module 'no_such_module'",
        "tasks:no_such_function": "module 'tasks' has no 'no_such_function'",
        "tasks:value": "is not callable",
        "broken:f": "module 'broken' cannot be imported: No module named 'no_such_dependency'",
        "wrong:f": "module 'wrong' cannot be imported: SyntaxError",
    }
    for function, text in cases.items():
        row, log = call(bench, function, max_retries=3)
        assert (row["status"], row["reason"]) == ("FAILED", "not_runnable"), function
        assert text in row["error_message"], function
        assert "\n" not in row["error_message"]
        assert log["exit_code"] is None
    assert "is async" in call(bench, "later")[0]["error_message"]


def test_a_result_that_is_no_json_or_too_long_is_noted_instead(bench: Bench) -> None:
    assert "object object" in json.loads(call(bench, "odd")[1]["result"])["repr"]
    assert json.loads(call(bench, "huge")[1]["result"])["length"] == 100_002


def test_a_call_that_closes_its_streams_does_not_harm_the_next(bench: Bench) -> None:
    assert call(bench, "closes")[0]["status"] == "COMPLETED"
    _, log = call(bench, "nothing")
    assert sorted(bytes(log["log_output"]).splitlines()) == [b"err", b"out"]


def test_a_call_past_its_timeout_is_killed_and_the_worker_unharmed(bench: Bench) -> None:
    row, log = call(bench, "sleeps", timeout=timedelta(seconds=0.5))
    assert (row["status"], row["reason"]) == ("TIMEOUT", "deadline")
    assert bytes(log["log_output"]) == b"begun\n"
    row, _ = call(
        bench, "deaf", timeout=timedelta(seconds=0.5), kill_grace=timedelta(seconds=0.2), cwd=str(bench.folder)
    )
    assert row["reason"] == "deadline"
    assert "was killed" in row["error_message"]
    assert call(bench, "add", kwargs={"a": 1})[0]["status"] == "COMPLETED"


def test_a_call_can_be_cancelled(bench: Bench) -> None:
    run = bench.run(python="tasks:sleeps")
    bench.until_started(run)
    asked = time.monotonic()
    dispatches.cancel(bench.database, run, "test")
    assert bench.until_ended(run, 5)["status"] == "CANCELLED"
    assert time.monotonic() - asked < 1.5


def test_what_a_call_leaves_behind_is_ended_with_its_runner(bench: Bench) -> None:
    row, log = call(bench, "leaves")
    assert (row["status"], row["error_message"]) == ("COMPLETED", "1 process left behind was ended")
    assert not procs.is_alive(int(log["result"]), None)


def test_a_job_folder_is_where_the_call_runs_and_first_on_the_path(bench: Bench) -> None:
    other = bench.folder / "other"
    other.mkdir()
    (other / "tasks_here.py").write_text(textwrap.dedent("import os\ndef folder(): return os.getcwd()\n"))
    _, log = call(bench, "tasks_here:folder", cwd=str(other))
    assert json.loads(log["result"]) == str(other)


def test_no_runner_outlives_its_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "tasks.py").write_text(MODULE)
    with working(folder, python_path=(str(folder),)) as bench:
        pid = int(call(bench, "pid")[1]["result"])
        bench.signal(signal.SIGKILL)
        bench.join()
        until(lambda: not procs.is_alive(pid, None), 1, "the runner to be gone")
