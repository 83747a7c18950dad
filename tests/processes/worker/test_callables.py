"""Python callables in a runner: results, failures, and what one call may do to the next."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.model import ParamSpec
from jobsup.runtime import procs
from jobsup.store import dispatches
from tests.support.waiting import until
from tests.support.worker import Bench, working

MODULE = """
import asyncio, ctypes, jobsup, logging, os, subprocess, sys, time, warnings

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
def named():
    run, left = os.environ["JOBSUP_RUN_ID"], os.environ.get("LEFT")
    if int(run) % 2: os.environ["LEFT"] = run
    return [int(run), left]
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
async def later(n): await asyncio.sleep(0); print("awaited"); return n + 1
async def fails(): await asyncio.sleep(0); raise KeyError("async")
async def ticks(): yield 0.5, "half"; yield 1.0
def steps(): yield 0.25; yield "copying"; yield 0.75, "nearly"; return {"rows": 3}
def odd_steps(): yield [1, 2]
def logs():
    logging.getLogger("mine").info("noted")
    logging.getLogger("mine").error("alas")
    warnings.warn("old hat")
def writes_below():
    libc = ctypes.CDLL(None)
    libc.puts(b"from C"); libc.fflush(None)
def about():
    run = jobsup.current_run()
    when = [run.scheduled_for, run.deadline is not None, run.is_cancelled]
    return [run.id, run.job, run.attempt, run.params["n"], *when]
def leaves_in_time():
    run = jobsup.current_run()
    assert not run.is_cancelled
    open("here-%d" % run.id, "w").write("1\\n")
    while not run.is_cancelled: time.sleep(0.01)
    print("tidied up")
    return "left"
def says(n):
    os.write(1, b"out %d\\n" % n)
    os.write(2, b"err %d\\n" % n)
def grows(): return len(bytearray(40 << 20))
def spins(seconds): end = time.process_time() + seconds; [None for _ in iter(lambda: time.process_time() < end, False)]
def naps(seconds): time.sleep(seconds); return [time.monotonic(), os.getpid()]
def meets(folder, count):
    open(f"{folder}/{os.getpid()}", "w").close()
    while len(os.listdir(folder)) < count: time.sleep(0.02)
    return os.getpid()
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


def test_calls_of_a_job_behind_each_other_have_their_own_name_and_nothing_of_the_last(bench: Bench) -> None:
    first = bench.run("named", python="tasks:named", overlap="allow")
    runs = [first] + [
        dispatches.create_manual(bench.database, "named", params={}, requested_by="test").dispatch_id for _ in range(20)
    ]
    for run in runs:
        bench.until_ended(run, 10)
        assert json.loads((bench.execution(run) or {})["result"]) == [run, None]


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


def test_an_async_function_is_awaited(bench: Bench) -> None:
    row, log = call(bench, "later", kwargs={"n": 41})
    assert (row["status"], log["result"], bytes(log["log_output"])) == ("COMPLETED", "42", b"awaited\n")
    row, log = call(bench, "fails")
    assert row["error_message"] == "KeyError: 'async'"
    trace = bytes(log["log_output"]).decode()
    assert "in fails" in trace
    assert "asyncio" not in trace.replace("asyncio.sleep", "")


def test_a_generator_tells_how_far_it_is_and_returns_its_value(bench: Bench) -> None:
    row, log = call(bench, "steps")
    assert json.loads(log["result"]) == {"rows": 3}
    assert (row["progress"], row["progress_text"]) == (0.75, "nearly")
    assert bytes(log["log_output"]).count(b'{"jobsup": {') == 3
    row, _ = call(bench, "ticks")
    assert (row["status"], row["progress"]) == ("COMPLETED", 1.0)
    row, _ = call(bench, "odd_steps")
    assert row["error_message"].startswith("tasks:odd_steps: yielded [1, 2]: a generator yields its progress")


def test_what_is_logged_and_warned_of_is_kept_for_each_call(bench: Bench) -> None:
    for _ in range(2):
        _, log = call(bench, "logs")
        said = bytes(log["log_output"]).decode()
        assert "INFO mine: noted\nERROR mine: alas\n" in said
        assert "UserWarning: old hat" in said


def test_what_c_code_writes_is_kept(bench: Bench) -> None:
    assert bytes(call(bench, "writes_below")[1]["log_output"]) == b"from C\n"


def test_a_callable_knows_its_run(bench: Bench) -> None:
    params = (ParamSpec("n", "integer", default=5),)
    row, log = call(bench, "about", params=params)
    assert json.loads(log["result"]) == [row["id"], bench.job_of(row), 1, 5, None, True, False]
    _, log = call(bench, "about", params=params, timeout=None)
    assert json.loads(log["result"])[5] is False, "no deadline"


def test_a_callable_that_looks_may_end_in_its_own_way(bench: Bench) -> None:
    run = bench.run(python="tasks:leaves_in_time", cwd=str(bench.folder))
    bench.until_file(f"here-{run}")
    dispatches.cancel(bench.database, run, "test")
    assert bench.until_ended(run, 5)["status"] == "CANCELLED"
    log = bench.execution(run) or {}
    assert (log["result"], bytes(log["log_output"])) == ('"left"', b"tidied up\n")


def test_each_call_is_charged_what_it_cost_itself(bench: Bench) -> None:
    _, log = call(bench, "spins", kwargs={"seconds": 0.3})
    assert 0.25 < log["cpu_user"] + log["cpu_system"] < 0.6
    _, log = call(bench, "grows")
    assert log["max_rss"] > 40 << 20
    _, later = call(bench, "naps", kwargs={"seconds": 0.01})
    assert later["max_rss"] < log["max_rss"] - (20 << 20)
    assert later["cpu_user"] + later["cpu_system"] < 0.1
    assert later["io_read"] is not None
    assert later["io_write"] is not None


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
    row, _ = call(bench, "deaf", timeout=timedelta(seconds=2), kill_grace=timedelta(seconds=0.2), cwd=str(bench.folder))
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


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A worker with many slots."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "tasks.py").write_text(MODULE)
    with working(folder, python_path=(str(folder),), concurrency=20) as bench:
        yield bench


def test_calls_that_share_a_runner_keep_their_own_output(wide: Bench) -> None:
    runs = {n: wide.run(python="tasks:says", kwargs={"n": n}) for n in range(60)}
    for n, run in runs.items():
        assert wide.until_ended(run)["status"] == "COMPLETED"
        assert sorted(wide.output(run).splitlines()) == [b"err %d" % n, b"out %d" % n]


def test_no_call_waits_for_another_that_takes_long(wide: Bench) -> None:
    place = wide.folder / "meeting"
    place.mkdir()
    at = timedelta(seconds=0.3)  # all of them are claimed at once
    runs = [wide.run(python="tasks:meets", kwargs={"folder": str(place), "count": 6}, at=at) for _ in range(6)]
    assert [wide.until_ended(run)["status"] for run in runs] == ["COMPLETED"] * 6, "each waited for all the others"
    assert len({(wide.execution(run) or {})["result"] for run in runs}) == 6


def test_calls_stay_behind_one_that_is_usually_quick_while_it_only_wants_a_processor(wide: Bench) -> None:
    quick = [wide.run(python="tasks:spins", kwargs={"seconds": 0}) for _ in range(10)]
    assert {wide.until_ended(run)["status"] for run in quick} == {"COMPLETED"}
    at = timedelta(seconds=0.5)
    busy = [wide.run(python="tasks:spins", kwargs={"seconds": each}, at=at) for each in (0, 0, 0.08, *[0] * 10)]
    assert {wide.until_ended(run)["status"] for run in busy} == {"COMPLETED"}
    assert len({(wide.execution(run) or {})["pid"] for run in busy}) == 1


def test_ending_one_call_harms_none_that_shares_its_runner(wide: Bench) -> None:
    at = timedelta(seconds=0.3)
    stuck = wide.run(python="tasks:sleeps", timeout=timedelta(seconds=0.3), at=at)
    others = [wide.run(python="tasks:add", kwargs={"a": n}, at=at) for n in range(8)]
    crash = wide.run(python="tasks:crash", at=at)
    more = [wide.run(python="tasks:add", kwargs={"a": n}, at=at) for n in range(8)]
    assert wide.until_ended(stuck)["reason"] == "deadline"
    assert wide.until_ended(crash)["reason"] == "signal"
    for n, run in [*enumerate(others), *enumerate(more)]:
        assert wide.until_ended(run)["status"] == "COMPLETED"
        assert json.loads((wide.execution(run) or {})["result"]) == {"sum": n + 1}


def test_calls_that_wait_and_calls_that_run_all_end_with_their_worker(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(MODULE)
    with working(tmp_path, python_path=(str(tmp_path),), concurrency=30) as bench:
        runs = [bench.run(python="tasks:sleeps", at=timedelta(seconds=0.5)) for _ in range(30)]
        until(lambda: all(bench.row(run)["claimed_at"] for run in runs), 20, "all to be claimed", bench.told)
        until(lambda: any(bench.row(run)["started_at"] for run in runs), 20, "one to be told as started", bench.told)
        bench.signal(signal.SIGQUIT)
        assert bench.join() == 0
        rows = [bench.row(run) for run in runs]
        assert {row["reason"] for row in rows if row["status"] != "PENDING"} == {"shutdown"}
        # What had not begun is nobody's again, and has lost nothing.
        assert not [row for row in rows if row["status"] == "PENDING" and (row["worker_id"] or row["started_at"])]
        assert bench.survivors() == []


def test_a_worn_runner_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(MODULE)
    with working(tmp_path, python_path=(str(tmp_path),), runner_max_calls=3) as bench:
        pids = [call(bench, "pid")[1]["result"] for _ in range(7)]
    assert 3 <= len(set(pids)) <= 4


def test_modules_are_imported_before_the_first_call(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("")
    (tmp_path / "look.py").write_text("import sys\ndef loaded(): return 'heavy' in sys.modules\n")
    with working(tmp_path, python_path=(str(tmp_path),), preload=("no_such", "heavy")) as bench:
        assert call(bench, "look:loaded")[1]["result"] == "true"


def test_no_runner_outlives_its_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "tasks.py").write_text(MODULE)
    with working(folder, python_path=(str(folder),)) as bench:
        pid = int(call(bench, "pid")[1]["result"])
        bench.signal(signal.SIGKILL)
        bench.join()
        until(lambda: not procs.is_alive(pid, None), 1, "the runner to be gone")
