"""The shipped unit under a real systemd: start, reload, crash, hang, stop, and a configuration that is wrong.

One machine serves all tests; each starts the service anew, on a database of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import systemd
from tests.support.store import empty_file
from tests.support.systemd import Machine
from tests.support.waiting import PATIENCE
from tests.support.waiting import until as wait_until

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(systemd.why_not()), reason=systemd.why_not())]

UNIT = "jobsup.service"
SHIPPED = systemd.ROOT / "config" / "systemd" / UNIT
PROGRAM = "/usr/local/bin/jobsup"
CONFIG = "/etc/jobsup/jobsup.toml"
DATA = "/var/lib/jobsup"

until = partial(wait_until, every=systemd.LOOK_SECONDS)

# Only times differ from the shipped unit.
FASTER = "[Service]\nRestartSec=100ms\n"
WATCHFUL = "[Service]\nWatchdogSec=10\n"
FILE = f"""\
[database]
url = "sqlite:///{DATA}/jobsup.db"
[worker]
count = 2
[defaults]
retry_backoff = "1s"

[[job]]
name = "beat"
command = 'echo "$JOBSUP_RUN_ID $JOBSUP_ATTEMPT" >> {DATA}/beats'
every = "1s"
overlap = "allow"

[[job]]
name = "limited"
command = "grep ^0:: /proc/self/cgroup"
nice = 1

[[job]]
name = "patient"
command = 'touch {DATA}/running-$JOBSUP_ATTEMPT; while [ ! -e {DATA}/go ]; do sleep 0.05; done; echo went'
"""
READ = """\
import json, sqlite3, sys
print(json.dumps(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute(sys.argv[2]).fetchall()))
"""
ADDED = """
[[job]]
name = "added"
command = "true"
"""


@pytest.fixture(scope="module")
def booted() -> Iterator[Machine]:
    with Machine() as machine:
        machine.add_unit(UNIT, SHIPPED.read_text())
        machine.add_unit(f"{UNIT}.d/faster.conf", FASTER)
        machine.path(CONFIG).parent.mkdir()
        machine.path(PROGRAM).symlink_to(Path(sys.executable).parent / "jobsup")
        yield machine


@pytest.fixture
def machine(booted: Machine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    booted.path(CONFIG).write_text(FILE)
    booted.run("rm", "-rf", DATA)
    yield booted
    booted.run("touch", f"{DATA}/go")
    booted.systemctl("stop", UNIT)
    booted.systemctl("reset-failed", UNIT)
    print(booted.journal(UNIT)[-6000:])  # shown when the test fails
    until(lambda: not booted.processes(UNIT), PATIENCE, "the service's processes to be gone")


@pytest.fixture
def started(machine: Machine) -> Machine:
    """One whose tables are there already: to make them takes longer than the rest of a start."""
    machine.path(DATA).mkdir(mode=0o750)
    database = machine.path(f"{DATA}/jobsup.db")
    database.touch(mode=0o600)
    database.write_bytes(empty_file())
    return start(machine)


def start(machine: Machine) -> Machine:
    result = machine.systemctl("start", UNIT)
    assert result.returncode == 0, result.stderr + machine.journal(UNIT)
    return machine


def status(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run(PROGRAM, "status", "--json").stdout)
    return answer


def rows(machine: Machine, query: str) -> list[list[Any]]:
    """Read from the tables, inside: SQLite would take the machine's path as seen from here for one of ours."""
    answer: list[list[Any]] = json.loads(machine.run(sys.executable, "-c", READ, f"{DATA}/jobsup.db", query).stdout)
    return answer


def is_active(machine: Machine, besides: int) -> bool:
    """Tell whether the service is up again with another main process."""
    shown = machine.show(UNIT, "ActiveState", "SubState")
    return shown == {"ActiveState": "active", "SubState": "running"} and machine.main_pid(UNIT) not in (0, besides)


def run_patient(machine: Machine) -> None:
    """Start the job that waits, and return when its process runs."""
    assert machine.run(PROGRAM, "run", "patient").returncode == 0
    until(machine.path(f"{DATA}/running-1").exists, PATIENCE, "the job to run")


def beats(machine: Machine) -> list[str]:
    """Return the run and attempt of each beat, as the job itself wrote them."""
    file = machine.path(f"{DATA}/beats")
    return file.read_text().splitlines() if file.exists() else []


def alive(pids: dict[int, str]) -> dict[int, str]:
    return {pid: line for pid, line in pids.items() if Path(f"/proc/{pid}").exists()}


def test_start_returns_when_every_child_is_ready_and_says_so(machine: Machine) -> None:
    started = start(machine)
    shown = status(started)
    assert shown["state"] == "running"
    assert {child["state"] for child in shown["children"]} == {"ready"}
    assert {child["kind"] for child in shown["children"]} >= {"scheduler", "worker"}
    assert "2/2 workers" in started.show(UNIT, "StatusText")["StatusText"]


def test_reload_takes_a_good_file_over_and_refuses_a_bad_one_with_the_same_processes(started: Machine) -> None:
    before = [child["pid"] for child in status(started)["children"]]
    main = started.main_pid(UNIT)

    started.path(CONFIG).write_text(FILE + ADDED)
    good = started.systemctl("reload", UNIT)
    assert good.returncode == 0, good.stderr
    assert started.run(PROGRAM, "show", "added").returncode == 0

    started.path(CONFIG).write_text(FILE + '[[job]]\nname = "broken"\ncommand = "true"\ncron = "61 * * * *"\n')
    bad = started.systemctl("reload", UNIT)
    assert bad.returncode != 0
    assert "61" in started.journal(UNIT)
    assert started.show(UNIT, "ActiveState", "ReloadResult") == {"ActiveState": "active", "ReloadResult": "exit-code"}
    assert started.run(PROGRAM, "show", "added").returncode == 0
    assert started.main_pid(UNIT) == main
    assert [child["pid"] for child in status(started)["children"]] == before


def test_a_killed_supervisor_is_restarted_and_nothing_of_the_old_one_lives_or_runs_twice(started: Machine) -> None:
    run_patient(started)
    old, main = started.processes(UNIT), started.main_pid(UNIT)
    assert any("patient" in line or "running-" in line for line in old.values()), old

    os.kill(main, signal.SIGKILL)
    until(lambda: is_active(started, besides=main), PATIENCE, "the restart")
    assert not alive(old)

    until(started.path(f"{DATA}/running-2").exists, PATIENCE, "the lost run's retry")
    tried = rows(started, "SELECT status, reason FROM job_dispatch WHERE source IN ('manual', 'retry') ORDER BY id")
    assert tried == [["TIMEOUT", "worker_lost"], ["IN_PROGRESS", ""]]
    before = len(beats(started))
    until(lambda: len(beats(started)) > before, PATIENCE, "the next tick")
    assert len(beats(started)) == len(set(beats(started))), "an attempt ran twice"


@pytest.fixture
def watchful(booted: Machine) -> Iterator[None]:
    booted.add_unit(f"{UNIT}.d/watchful.conf", WATCHFUL)
    yield
    booted.add_unit(f"{UNIT}.d/watchful.conf", "")


def test_runs_are_held_by_control_groups_below_the_units_own(started: Machine) -> None:
    assert str(status(started)["containment"]).startswith("control groups"), started.journal(UNIT)
    assert started.run(PROGRAM, "run", "limited", "--wait").returncode == 0
    [[own]] = rows(
        started,
        "SELECT CAST(log_output AS TEXT) FROM job_execution_log l JOIN job j ON j.id = l.job_id "
        "WHERE j.name = 'limited'",
    )
    unit = f"/system.slice/{UNIT}/"
    assert own.strip().removeprefix("0::").startswith(unit), own
    group = started.path("/sys/fs/cgroup") / own.strip().removeprefix("0::/")
    until(lambda: not group.exists(), PATIENCE, "the run's group to be removed")
    workers = [path.name for path in group.parent.glob("*.self")]
    assert len(workers) == 2
    assert started.systemctl("restart", UNIT).returncode == 0
    until(lambda: is_active(started, 0), PATIENCE, "the restart")
    assert not set(workers) & {path.name for path in group.parent.glob("*.self")}


@pytest.mark.usefixtures("watchful")
def test_a_hung_supervisor_is_restarted_by_the_watchdog(started: Machine) -> None:
    old, main = started.processes(UNIT), started.main_pid(UNIT)
    os.kill(main, signal.SIGSTOP)
    until(lambda: is_active(started, besides=main), PATIENCE, "the watchdog's restart")
    assert "Watchdog timeout" in started.journal(UNIT)
    assert not alive(old)


def test_stop_lets_a_running_job_finish_and_leaves_nothing(started: Machine) -> None:
    run_patient(started)
    pids = started.processes(UNIT)
    started.systemctl("stop", "--no-block", UNIT)
    until(lambda: started.show(UNIT, "ActiveState")["ActiveState"] == "deactivating", PATIENCE, "the stop to begin")
    assert rows(started, "SELECT status FROM job_dispatch WHERE source = 'manual'") == [["IN_PROGRESS"]]

    started.path(f"{DATA}/go").touch()
    until(lambda: started.show(UNIT, "ActiveState")["ActiveState"] == "inactive", PATIENCE, "the stop")
    ended = rows(
        started,
        "SELECT d.status, l.exit_code, CAST(l.log_output AS TEXT) FROM job_dispatch d"
        " JOIN job_execution_log l ON l.dispatch_id = d.id WHERE d.source = 'manual'",
    )
    assert ended == [["COMPLETED", 0, "went\n"]]
    assert started.show(UNIT, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    assert not alive(pids)


def test_a_wrong_configuration_at_start_is_told_and_not_tried_again(machine: Machine) -> None:
    machine.path(CONFIG).write_text(FILE + "[[job]]\nname = 7\n")
    started = machine.systemctl("start", UNIT)
    assert started.returncode != 0
    shown = machine.show(UNIT, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "7", "NRestarts": "0"}
    assert "name" in machine.journal(UNIT)


def test_systemd_finds_nothing_to_complain_of_in_the_unit(booted: Machine) -> None:
    unit = f"{systemd.INSIDE}/units/{UNIT}"
    verified = booted.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", unit)
    assert verified.returncode == 0, verified.stderr
    assert verified.stderr == ""

    rated = booted.run("systemd-analyze", "security", "--offline=true", "--no-pager", unit).stdout
    score = re.search(r"Overall exposure level for jobsup.service: ([\d.]+)", rated)
    assert score is not None, rated
    print(f"exposure level {score[1]}")
