"""A definition looked at before it counts: what is wrong, what would change, when it fires, and who may save it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.actions import define
from jobsup.config.settings import Config
from jobsup.errors import ConfigError, ConflictError, DeniedError
from jobsup.model import JobKind, JobSpec, Origin, PoolSpec, ScheduleSpec, SetSpec
from jobsup.store import jobs
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import add_job, clock, db

__all__ = ["clock", "db"]

BACKUP = '[[job]]\nname = "backup"\ncommand = "true"\ncron = "30 2 * * *"\ntimezone = "Europe/Berlin"\n'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    defaults = JobSpec("", JobKind.COMMAND, tags=("night",), schedule=ScheduleSpec(timezone="UTC"))
    return Config(path=str(tmp_path / "jobsup.toml"), defaults=defaults, shared=SetSpec(pools=(PoolSpec("tapes", 2),)))


def test_a_new_job_has_the_defaults_and_its_next_ticks(db: Database, config: Config) -> None:
    draft = define.look(db, config, BACKUP)
    assert draft.spec is not None
    assert draft.spec.tags == ("night",)
    assert (draft.before, draft.problems) == (None, ())
    assert draft.ticks is not None
    assert len(draft.ticks.next) == 10
    assert "02:30" in draft.ticks.words
    assert any(change.startswith("schedule manual -> cron 30 2 * * *") for change in draft.changes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = ", "not valid TOML"),
        ('[worker]\ncount = 1\n[[job]]\nname = "a"\ncommand = "true"\n', "write one [[job]] table"),
        ('[[job]]\nname = "a"\n', "says nothing to run"),
        (BACKUP.replace("30 2", "61 2"), "minute"),
        (BACKUP + 'pool = "tape"\n', 'did you mean "tapes"?'),
        (BACKUP + 'depends_on = ["bakup"]\n', "there is no job"),
        (BACKUP + 'depends_on = ["backup"]\n', "goes in a circle"),
        (BACKUP + "x = 1\n", "unknown key"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_saved(db: Database, config: Config, text: str, told: str) -> None:
    draft = define.look(db, config, text)
    assert draft.spec is None
    assert any(told in str(problem) for problem in draft.problems), draft.problems
    with pytest.raises(ConfigError):
        define.save_job(db, config, text, origin=Origin.PORTAL, may_change_work=True)
    assert jobs.list_jobs(db) == []


def test_a_circle_through_stored_jobs_is_found(db: Database, config: Config) -> None:
    first, then = BACKUP, BACKUP.replace("backup", "then") + 'depends_on = ["backup"]\n'
    define.save_job(db, config, first, origin=Origin.PORTAL, may_change_work=True)
    define.save_job(db, config, then, origin=Origin.PORTAL, may_change_work=True)
    draft = define.look(db, config, first + 'depends_on = ["then"]\n', name="backup")
    assert any("goes in a circle" in str(problem) for problem in draft.problems)


def test_a_change_is_told_key_by_key_and_saved(db: Database, config: Config) -> None:
    define.save_job(db, config, BACKUP, origin=Origin.PORTAL, may_change_work=True)
    later = BACKUP.replace("30 2", "45 3") + 'timeout = "2h"\n'
    draft = define.look(db, config, later, name="backup")
    assert draft.changes == ("cron 30 2 * * * -> 45 3 * * *", 'timeout "10m" -> "2h"')
    assert not draft.changes_work
    define.save_job(db, config, later, origin=Origin.PORTAL, name="backup", may_change_work=False)
    assert jobs.get_job(db, "backup").spec.timeout == timedelta(hours=2)


@pytest.mark.parametrize("line", ['env = { PATH = "/tmp" }\n', 'cwd = "/tmp"\n'])
def test_what_runs_is_changed_only_by_those_who_may(db: Database, config: Config, line: str) -> None:
    with pytest.raises(DeniedError, match="allow_edit_commands"):
        define.save_job(db, config, BACKUP, origin=Origin.PORTAL, may_change_work=False)
    define.save_job(db, config, BACKUP, origin=Origin.PORTAL, may_change_work=True)
    with pytest.raises(DeniedError, match="allow_edit_commands"):
        define.save_job(db, config, BACKUP + line, origin=Origin.PORTAL, name="backup", may_change_work=False)


def test_a_job_keeps_its_name_and_a_files_job_its_file(db: Database, config: Config) -> None:
    add_job(db, "filed", command="true")
    renamed = define.look(db, config, BACKUP, name="filed")
    assert any("keeps its name" in str(problem) for problem in renamed.problems)
    filed = BACKUP.replace("backup", "filed")
    assert define.look(db, config, filed, name="filed").is_files
    with pytest.raises(ConflictError, match="stands in a file"):
        define.save_job(db, config, filed, origin=Origin.PORTAL, name="filed", may_change_work=True)


def test_a_stale_change_is_refused(db: Database, config: Config, clock: FakeClock) -> None:
    define.save_job(db, config, BACKUP, origin=Origin.PORTAL, may_change_work=True)
    with pytest.raises(ConflictError, match="changed meanwhile"):
        define.save_job(
            db, config, BACKUP, origin=Origin.PORTAL, name="backup", replaces="0" * 16, may_change_work=True
        )
