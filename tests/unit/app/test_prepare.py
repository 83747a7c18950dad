"""What is done before anything is in force: the file is read, the database made ready, definitions synchronised."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.app import children, places, prepare
from jobsup.app.prepare import Prepared
from jobsup.app.supervised import refuse_immovable
from jobsup.config.load import load
from jobsup.config.settings import Config, DatabaseSettings
from jobsup.errors import ConfigError, DatabaseUnavailableError
from jobsup.portal import opening
from jobsup.runtime import procs
from jobsup.store import jobs, schema, users
from jobsup.store.engine import Database
from tests.support.command import at_once
from tests.support.store import START, dispatches_of
from tests.support.waiting import until

TOML = """
[database]
wait = "1s"
[supervisor]
runtime_dir = "run"
[[job]]
name = "hourly"
command = "true"
every = "1h"
"""


@pytest.fixture
def config_path(tmp_path: Path) -> str:
    path = tmp_path / "jobsup.toml"
    path.write_text(TOML, encoding="utf-8")
    path.chmod(0o600)
    tmp_path.chmod(0o700)
    return str(path)


def write(config_path: str, *changes: tuple[str, str], more: str = "") -> None:
    text = TOML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(config_path).write_text(text + more, encoding="utf-8")


def test_the_set_up_page_of_another_database_has_another_token(config_path: str, tmp_path: Path) -> None:
    file = opening.setup_file(str(tmp_path / "run"))
    write(config_path, more="[portal]\nenabled = true\n")
    prepare.apply(prepare.prepare(config_path, None))
    first = opening.read_setup_token(file)
    prepare.apply(prepare.prepare(config_path, None))
    assert first
    assert opening.read_setup_token(file) == first, "the address that was printed still holds"
    (tmp_path / "jobsup.db").rename(tmp_path / "old.db")
    prepare.apply(prepare.prepare(config_path, None))
    assert opening.read_setup_token(file) != first
    with closing(Database(f"sqlite:///{tmp_path}/jobsup.db")) as database:
        assert not users.opens_setup(database, first)
        users.add_first(database, "ann", "hash")
    prepare.apply(prepare.prepare(config_path, None))
    assert not file.exists(), "there is nothing to set up any more"


def test_the_first_preparation_makes_the_tables_and_tells_what_begins(config_path: str, tmp_path: Path) -> None:
    prepared = prepare.prepare(config_path, None)
    assert prepared.is_first
    assert (tmp_path / "jobsup.db").exists()
    assert [line.split()[0] for line in prepared.lines] == ["database", "socket", "jobs", "next"]
    assert prepared.lines[3].split()[1] == "hourly"


def test_several_that_prepare_a_new_database_at_once_all_find_it_ready(config_path: str) -> None:
    assert at_once([lambda: prepare.prepare(config_path, None)] * 4) == [0] * 4


def test_tables_made_by_another_start_meanwhile_are_not_taken_for_foreign_ones(config_path: str) -> None:
    prepared = prepare.prepare(config_path, None)
    database = Database(prepared.config.database.url)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "current", lambda _: None)
        schema.ensure(database, migrate=True)
    database.close()


def test_a_later_preparation_tells_what_it_changes(config_path: str) -> None:
    first = prepare.prepare(config_path, None)
    write(config_path, ('every = "1h"', 'every = "2h"'), more='[[job]]\nname = "new"\ncommand = "true"\n')
    second = prepare.prepare(config_path, first)
    assert not second.is_first
    assert "+ job new" in second.lines
    assert any(line.startswith("~ job hourly: ") for line in second.lines)


def test_definitions_are_in_the_database_once_applied(config_path: str) -> None:
    prepared = prepare.prepare(config_path, None)
    prepare.apply(prepared)
    database = Database(prepared.config.database.url)
    facts = jobs.get_job(database, "hourly")
    assert facts.next_run is not None
    assert jobs.drift(database, "default", prepared.content_hash) is None
    database.close()


def test_a_reboot_job_runs_at_a_first_start_only(config_path: str) -> None:
    write(config_path, more='[[job]]\nname = "boot"\ncommand = "true"\ncron = "@reboot"\n')
    prepared = prepare.prepare(config_path, None)
    prepare.apply(prepared)
    prepare.apply(replace(prepared, is_first=False))
    database = Database(prepared.config.database.url)
    (row,) = dispatches_of(database, jobs.get_job(database, "boot"))
    assert (row["status"], row["requested_by"]) == ("PENDING", "@reboot")
    database.close()


def test_a_database_that_does_not_answer_is_waited_for_as_long_as_the_settings_say() -> None:
    config = Config(path="jobsup.toml", database=DatabaseSettings(wait=timedelta(seconds=0.3)))
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise DatabaseUnavailableError("locked")

    with pytest.raises(DatabaseUnavailableError):
        prepare._wait_for(config, fail)
    assert len(tries) == 3


def test_a_database_that_answers_again_is_used_and_the_wait_was_said_once(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(path="jobsup.toml")
    answers = iter([DatabaseUnavailableError("locked"), DatabaseUnavailableError("locked"), None])

    def work() -> str:
        if error := next(answers):
            raise error
        return "done"

    assert prepare._wait_for(config, work) == "done"
    assert [record.getMessage() for record in caplog.records] == ["locked; waiting up to 30 s for it"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("[database]", '[database]\nurl = "sqlite:///other.db"'), "database.url"),
        (('runtime_dir = "run"', 'runtime_dir = "walk"'), "supervisor.runtime_dir"),
        (('runtime_dir = "run"', 'runtime_dir = "run"\nnode = "elsewhere"'), "supervisor.node"),
        (("[database]", '[jobs]\nset = "other"\n[database]'), "jobs.set"),
    ],
)
def test_what_no_reload_can_change_is_refused_by_its_key(config_path: str, change: tuple[str, str], key: str) -> None:
    old = load(config_path)
    write(config_path, change)
    with pytest.raises(ConfigError, match="jobsup restart") as caught:
        refuse_immovable(old, load(config_path))
    assert [problem.key for problem in caught.value.problems] == [key]


def fingerprints(config_path: str) -> dict[str, str]:
    plan = children.compose(Prepared(load(config_path), is_first=True), "tag", START)
    return {spec.kind: spec.fingerprint for spec in plan.specs}


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        (('every = "1h"', 'every = "2h"'), set()),
        (("[supervisor]", "[worker]\ncount = 9\n[supervisor]"), set()),
        (("[supervisor]", '[worker]\njob_timeout = "1h"\n[scheduler]\nmax_retry_attempts = 1\n[supervisor]'), set()),
        (("[supervisor]", '[worker]\nqueues = ["heavy"]\n[supervisor]'), {"worker"}),
        (("[supervisor]", '[scheduler]\npoll_interval = "3s"\n[supervisor]'), {"scheduler"}),
        (("[supervisor]", '[logging]\nlevel = "DEBUG"\n[supervisor]'), {"scheduler", "worker"}),
    ],
)
def test_a_kind_is_replaced_exactly_when_settings_it_uses_change(
    config_path: str, change: tuple[str, str], replaced: set[str]
) -> None:
    before = fingerprints(config_path)
    write(config_path, change)
    after = fingerprints(config_path)
    assert {kind for kind in before if before[kind] != after[kind]} == replaced


def test_a_database_in_a_missing_folder_is_left_to_the_configurations_check(tmp_path: Path) -> None:
    assert len(places.lock_paths(str(tmp_path), f"sqlite:///{tmp_path}/none/jobsup.db")) == 1
    assert len(places.lock_paths(str(tmp_path), f"sqlite:///{tmp_path}/jobsup.db")) == 2


def test_the_tag_of_an_instance_is_that_of_its_folder(tmp_path: Path) -> None:
    assert places.instance_tag("/run/a") == places.instance_tag("/run/a")
    assert places.instance_tag("/run/a") != places.instance_tag("/run/b")


@pytest.mark.parametrize(
    "tag",
    [
        "0123456789abcdef",
        f"alone/worker/pid:[1]/{2**22 - 1}/1",
        "alone/worker/else",
        f"supervised/worker/{procs.pid_namespace()}/{2**22 - 1}/1",
    ],
)
def test_processes_of_others_are_never_swept(tag: str) -> None:
    other = subprocess.Popen(["sleep", "60"], env={"JOBSUP_INSTANCE": tag})
    try:
        places.sweep_alone()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_jobs_of_a_living_worker_are_never_swept_and_those_of_a_dead_one_are() -> None:
    living = subprocess.Popen(["sleep", "60"], env={"JOBSUP_INSTANCE": places.alone_tag("worker")})
    dead_tag = f"alone/worker/{procs.pid_namespace()}/{2**22 - 1}/1"
    stray = subprocess.Popen(["sleep", "60"], env={"JOBSUP_INSTANCE": dead_tag})
    try:
        places.sweep_alone()
        until(lambda: stray.poll() is not None, 2, "the stray to be ended")
        assert living.poll() is None
    finally:
        for process in (living, stray):
            process.kill()
            process.wait()


def test_importing_the_composition_loads_no_database_and_no_validator() -> None:
    code = "import sys, jobsup.app.supervised; print([m for m in ('sqlalchemy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_no_child_uses_is_not_loaded_before_they_are_forked(tmp_path: Path) -> None:
    heavy = "click pydantic alembic sqlalchemy.orm sqlalchemy.dialects.postgresql asyncio.events ssl email starlette"
    code = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
from jobsup.runtime import lazy
lazy.leave_out_openssl()
from jobsup.app import children, prepare
prepare.load_store()
assert "sqlalchemy" in sys.modules  # what prepares and applies is forked after this
children.preload(SimpleNamespace(database=SimpleNamespace(url="sqlite:///{tmp_path}/jobsup.db")))
assert "jobsup.worker.service" in sys.modules and not sys.modules["_hashlib"]
from jobsup.store import audit, requests, tokens, users  # of those who serve people, none needs the mapper either
print(*[name for name in "{heavy}".split() if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stdout + done.stderr
