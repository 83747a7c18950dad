"""What `import jobsup` gives to a program, and which database it finds."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

import jobsup
from jobsup.errors import ConfigError, DatabaseError
from jobsup.store.engine import Database
from jobsup.store.urls import get_db_url
from tests.support.store import add_dispatch, add_job, connect

ROOT = Path(jobsup.__file__).parents[1]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with nothing in it, and no configuration anywhere else."""
    for variable in ("JOBSUP_DATABASE_URL", "REFLEX_DB_URL", "JOBSUP_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("jobsup.config.search.SYSTEM_FILE", tmp_path / "etc" / "jobsup.toml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)


def test_importing_jobsup_loads_nothing_heavy() -> None:
    done = python("import sys, jobsup; print(*{'sqlalchemy', 'pydantic', 'alembic', 'click'} & set(sys.modules))")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_every_promised_name_can_be_imported() -> None:
    done = python("from jobsup import *; print(Job.__tablename__, __version__)")
    assert done.stdout.split() == ["job", jobsup.__version__]
    for name in jobsup.__all__:
        assert name in dir(jobsup)
        assert getattr(jobsup, name) is not None


def test_the_version_is_that_of_the_installed_package() -> None:
    assert jobsup.__version__ == version("jobsup")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Jobs'"):
        jobsup.Jobs  # noqa: B018  (the access is the test)


def test_the_tables_are_queried_as_objects(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add_job(db, "report")
    add_dispatch(db, job)
    monkeypatch.setenv("JOBSUP_DATABASE_URL", str(db.url).replace("+psycopg", ""))
    monkeypatch.setenv("JOBSUP_DATABASE_SCHEMA", db.schema or "jobsup")
    engine = jobsup.get_engine()
    with Session(engine) as session:
        found = session.scalars(select(jobsup.JobDispatch).where(jobsup.JobDispatch.status == "PENDING")).one()
        assert (found.job.name, found.log) == ("report", None)
    engine.dispose()


def test_a_readers_open_transaction_stops_no_writer(db: Database) -> None:
    job = add_job(db, "report")
    engine, other = jobsup.get_engine(str(db.url), schema=db.schema), connect(db)
    with Session(engine) as session:
        assert session.scalars(select(jobsup.Job.name)).all() == ["report"]
        assert add_dispatch(other, job) == 1
    engine.dispose()
    other.close()


def test_the_environment_names_the_database_before_all_else(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "jobsup.toml").write_text('[database]\nurl = "sqlite:///from-file.db"\n')
    monkeypatch.setenv("REFLEX_DB_URL", "sqlite:///old.db")
    assert get_db_url() == f"sqlite:///{nowhere / 'old.db'}"
    monkeypatch.setenv("JOBSUP_DATABASE_URL", "sqlite:///new.db")
    assert get_db_url() == f"sqlite:///{nowhere / 'new.db'}"


def test_then_the_file_that_is_found_names_it(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "etc").mkdir()
    (nowhere / "etc" / "jobsup.toml").write_text('[database]\nurl = "sqlite:///from-file.db"\n')
    assert get_db_url() == f"sqlite:///{nowhere / 'etc' / 'from-file.db'}"
    named = nowhere / "named.toml"
    named.write_text("")
    monkeypatch.setenv("JOBSUP_CONFIG", str(named))
    assert get_db_url() == f"sqlite:///{nowhere / 'jobsup.db'}"


def test_with_nothing_said_it_is_the_default_in_the_working_folder(nowhere: Path) -> None:
    assert get_db_url() == f"sqlite:///{nowhere / 'jobsup.db'}"


def test_a_named_file_that_is_missing_is_told(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSUP_CONFIG", str(nowhere / "gone.toml"))
    with pytest.raises(ConfigError, match=r"gone\.toml does not exist"):
        get_db_url()


def test_a_wrong_url_is_told_with_its_variable(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSUP_DATABASE_URL", "sqlite://jobsup.db")
    with pytest.raises(ConfigError, match="JOBSUP_DATABASE_URL"):
        get_db_url()


def test_looking_never_makes_an_empty_database(nowhere: Path) -> None:
    with pytest.raises(DatabaseError, match=r"jobsup\.db does not exist"):
        jobsup.get_engine()
    assert list(nowhere.iterdir()) == []


def test_every_migration_goes_into_the_wheel() -> None:
    store = ROOT / "jobsup" / "store"
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "jobsup.store"
    ]
    packed = {path for pattern in patterns for path in store.glob(pattern)}
    for path in (store / "migrations").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            is_module = path.suffix == ".py" and (path.parent / "__init__.py").exists()
            assert is_module or path in packed, path
