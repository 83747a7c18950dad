"""The whole: the installed command, its processes, and what a person sees of a start, a reload and a stop."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobsup.runtime import procs
from tests.support.instance import Instance, instances
from tests.support.waiting import PATIENCE, until

__all__ = ["instances"]

HELLO = """
[[job]]
name = "hello"
command = "echo hello"
every = "1s"
"""

MANUAL = """
[[job]]
name = "quiet"
command = "true"
"""

CONFIG = 7
CONFLICT = 6


def make(instances: list[Instance], jobs: str, **settings: object) -> Instance:
    instance = Instance(jobs, **settings)  # type: ignore[arg-type]
    instances.append(instance)
    return instance


@pytest.fixture(scope="module")
def settled() -> Iterator[Instance]:
    """One for those who only look."""
    instance = Instance(HELLO + MANUAL, is_warm=False)
    try:
        yield instance.start()
    finally:
        instance.close()


def test_a_newcomer_is_told_where_things_are_and_what_runs_next(settled: Instance) -> None:
    lines = [line for line in settled.log.splitlines() if line.startswith("jobsup: ")]
    said = {line.split()[1]: line for line in lines}
    assert str(settled.folder / "jobsup.db") in said["database"]
    assert str(settled.folder / "run" / "control.sock") in said["socket"]
    assert " 2 from " in said["jobs"]
    assert " hello at " in said["next"]
    for text in ("Scheduler service started", "registered successfully", "Leading in term 1"):
        assert text in settled.log


def test_processes_that_stay_hold_neither_the_validator_nor_the_migrations(settled: Instance) -> None:
    instance = settled
    assert instance.process is not None
    pids = [instance.process.pid, *instance.pids()]
    assert len(pids) == 4
    for pid in pids:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        assert "_pydantic_core" not in maps
    targets = [fd.readlink() for fd in Path(f"/proc/{instance.process.pid}/fd").iterdir()]
    assert [target.name for target in targets if "jobsup.db" in target.name] == ["jobsup.db-supervisor"]


def test_a_reload_replaces_only_the_kind_whose_settings_changed(instances: list[Instance]) -> None:
    instance = make(instances, MANUAL, workers=1).start()
    scheduler, worker = instance.pids("scheduler"), instance.pids("worker")
    instance.write(
        MANUAL, instance.settings.replace('[scheduler]\npoll_interval = "1h"', '[scheduler]\npoll_interval = "2h"')
    )
    assert instance.cli("reload").returncode == 0
    assert instance.pids("worker") == worker
    assert instance.pids("scheduler") != scheduler


BROKEN = ("settings = [", '[[job]]\nname = "x"\ncommand = "true"\ncron = "61 * * * *"\n')
NEEDS_RESTART = {
    "database.url": ('url = "sqlite:///jobsup.db"', 'url = "sqlite:///other.db"'),
    "supervisor.node": ('node = "here"', 'node = "there"'),
    "jobs.set": ("[database]", '[jobs]\nset = "other"\n[database]'),
}


def test_a_reload_that_is_refused_says_why_and_changes_nothing(instances: list[Instance]) -> None:
    instance = make(instances, HELLO, workers=1).start()
    before = instance.pids()
    for broken in BROKEN:
        instance.write(broken)
        done = instance.cli("reload")
        assert done.returncode == CONFIG
        assert "jobsup.toml" in done.stdout + done.stderr
    for key, change in NEEDS_RESTART.items():
        instance.write(HELLO, instance.settings.replace(*change))
        done = instance.cli("reload")
        assert done.returncode == CONFIG
        assert key in done.stdout + done.stderr
        assert "jobsup restart" in done.stdout + done.stderr
    assert not (instance.folder / "other.db").exists()
    assert instance.pids() == before
    count = len(instance.runs("hello"))
    until(lambda: len(instance.runs("hello")) > count, PATIENCE, "another run")


def test_a_second_supervisor_on_the_same_database_is_refused_whatever_its_folder(
    settled: Instance, instances: list[Instance]
) -> None:
    other = make(instances, MANUAL)
    url = f'url = "sqlite:///{settled.folder}/jobsup.db"'
    other.write(MANUAL, other.settings.replace('url = "sqlite:///jobsup.db"', url))
    done = other.cli("start")
    assert done.returncode == CONFLICT
    assert "jobsup.db-supervisor" in done.stderr


def test_an_invalid_file_ends_the_start_with_every_problem_and_nothing_left(instances: list[Instance]) -> None:
    instance = make(
        instances, '[[job]]\nname = "a"\ncolour = "red"\n[[job]]\nname = "b"\ncommand = "true"\ncron = "x"\n'
    )
    done = instance.cli("start")
    assert done.returncode == CONFIG
    assert "colour" in done.stderr
    assert '"b"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not (instance.folder / "jobsup.db").exists()
    assert instance.survivors() == []


def test_a_corrupt_database_ends_the_start_at_once_with_one_line(instances: list[Instance]) -> None:
    instance = make(instances, MANUAL)
    (instance.folder / "jobsup.db").write_bytes(b"this is no database, whatever its name says " * 100)
    done = instance.cli("start")
    assert done.returncode == CONFIG
    problems = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert len(problems) == 1, done.stderr
    assert "jobsup.db" in problems[0]


def test_a_newer_schema_ends_the_start_at_once(instances: list[Instance]) -> None:
    instance = make(instances, MANUAL)
    with closing(sqlite3.connect(instance.folder / "jobsup.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    done = instance.cli("start")
    assert done.returncode == CONFIG
    assert "9999" in done.stderr


REBOOT = """
[[job]]
name = "boot"
command = "true"
cron = "@reboot"
"""


def test_a_restart_is_a_start_under_the_same_pid_and_a_reload_is_none(instances: list[Instance]) -> None:
    instance = make(instances, REBOOT, workers=1).start()
    assert instance.process is not None
    before = instance.pids()
    instance.wait_run("boot", "COMPLETED")
    assert instance.cli("reload").returncode == 0
    assert len(instance.runs("boot")) == 1
    instance.cli("restart")
    until(lambda: len(instance.runs("boot")) == 2, PATIENCE, "the second start's run", lambda: instance.log)
    instance.wait_run("boot", "COMPLETED")
    assert instance.process.poll() is None
    assert not set(instance.pids()) & set(before)


STRAY = """
[[job]]
name = "stray"
cwd = "."
command = "setsid sh -c 'setsid sleep 300 &' & sleep 300"
"""


def in_job(instance: Instance) -> list[int]:
    """List the live processes of the job above."""
    found = []
    for pid in instance.survivors():
        name = Path(f"/proc/{pid}/comm")
        if name.exists() and name.read_text(encoding="utf-8").strip() == "sleep":
            found.append(pid)
    return found


def test_roles_alone_do_the_work_together_and_a_killed_worker_leaves_no_job(instances: list[Instance]) -> None:
    instance = make(instances, HELLO + STRAY, is_warm=False)
    instance.spawn("scheduler")
    worker = instance.spawn("worker")
    until(lambda: "registered successfully" in instance.log, PATIENCE, "the worker to come up", lambda: instance.log)
    instance.wait_run("hello", "COMPLETED", PATIENCE)
    assert instance.cli("run", "stray").returncode == 0
    until(lambda: len(in_job(instance)) == 2, PATIENCE, "the job and its daemon", lambda: instance.log)
    worker.kill()
    until(lambda: not in_job(instance), 2, "the job's processes to be gone", lambda: instance.log)
    until(lambda: instance.runs("stray")[0]["status"] == "TIMEOUT", 3, "the run to be closed", lambda: instance.log)
    assert instance.runs("stray")[0]["reason"] == "worker_lost"
    assert worker.wait(timeout=PATIENCE) == -9


def test_a_worker_alone_ends_what_a_dead_one_and_its_guardian_left(instances: list[Instance]) -> None:
    instance = make(instances, MANUAL)
    tag = f"alone/worker/{procs.pid_namespace()}/{2**22 - 1}/1"
    stray = subprocess.Popen(["sleep", "300"], env={"JOBSUP_INSTANCE": tag})
    reaped = threading.Thread(target=stray.wait)
    reaped.start()
    try:
        instance.spawn("worker")
        until(lambda: stray.poll() is not None, PATIENCE, "the stray to be ended", lambda: instance.log)
    finally:
        stray.kill()
        reaped.join()


def test_a_dry_run_of_another_log_leaves_the_log_where_it_is(instances: list[Instance]) -> None:
    instance = make(instances, MANUAL, workers=1).start()
    other = instance.folder / "other.log"
    instance.write(MANUAL, instance.settings.replace("[logging]", f'[logging]\nfile = "{other}"'))
    assert instance.cli("reload", "--dry-run").returncode == 0
    assert not other.exists()

    assert instance.cli("reload").returncode == 0
    assert "children replaced" in other.read_text(encoding="utf-8")
    assert "children replaced" not in instance.log
