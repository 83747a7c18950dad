"""What a job finds in its environment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobsup.model import Claim, JobKind, JobSpec, ParamSpec, Source
from jobsup.worker import environment
from jobsup.worker.environment import job_params
from jobsup.worker.failure import NotStartedError
from jobsup.worker.secrets import secret_variables


@pytest.fixture(autouse=True)
def _another_process() -> None:
    """Look at the process's own environment anew: a worker does so once in its life."""
    environment._passed_on.cache_clear()


def claim(*, params: dict[str, Any] | None = None, scheduled_for: datetime | None = None, **spec: Any) -> Claim:
    job = JobSpec("backup", JobKind.COMMAND, command="true", **spec)
    return Claim(12, 3, job, "hash", Source.MANUAL, 2, scheduled_for, params or {})


def job_environment(of: Claim, instance: str, account: None) -> dict[str, str]:
    return environment.job_environment(of, instance, account, secret_variables(of.job, account))


def test_only_named_variables_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("JOBSUP_DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = job_environment(claim(env={"MINE": "1"}), "tag", None)
    passed_on = {"PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR", "LC_ALL"}
    assert {name for name in found if name not in passed_on and not name.startswith("LC_")} == {
        "MINE",
        "JOBSUP_INSTANCE",
        "JOBSUP_RUN_ID",
        "JOBSUP_JOB",
        "JOBSUP_ATTEMPT",
        "JOBSUP_SCHEDULED_FOR",
        "JOBSUP_PARENT_RUN_ID",
        "JOBSUP_DEADLINE",
    }
    assert (found["PATH"], found["LC_ALL"], found["MINE"]) == ("/bin", "C", "1")
    assert (found["JOBSUP_RUN_ID"], found["JOBSUP_JOB"], found["JOBSUP_INSTANCE"]) == ("12", "backup", "tag")


def test_the_attempt_counts_from_one_and_a_manual_run_has_no_instant() -> None:
    manual = job_environment(claim(), "tag", None)
    ticked = job_environment(claim(scheduled_for=datetime(2026, 5, 1, 3, tzinfo=UTC)), "tag", None)
    assert manual["JOBSUP_ATTEMPT"] == "3"
    assert manual["JOBSUP_SCHEDULED_FOR"] == ""
    assert ticked["JOBSUP_SCHEDULED_FOR"] == "2026-05-01T03:00:00Z"


def test_parameters_are_the_asked_for_ones_before_their_defaults() -> None:
    declared = (
        ParamSpec("size", "integer", default=5),
        ParamSpec("dry_run", "boolean", default=False),
        ParamSpec("target", "string"),
    )
    one = Claim(1, 1, JobSpec("j", JobKind.COMMAND, params=declared), "h", Source.MANUAL, 0, None, {"size": 7})
    assert job_params(one) == {"size": 7, "dry_run": False}
    found = job_environment(one, "tag", None)
    assert found["JOBSUP_PARAM_SIZE"] == "7"
    assert found["JOBSUP_PARAM_DRY_RUN"] == "false"
    assert "JOBSUP_PARAM_TARGET" not in found


def test_env_file_lines_win_over_env_and_never_over_our_own(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("# a comment\n\nTOKEN=a=b c\nexport QUOTED=\"two words\"\nEMPTY=\nMINE='file'\nJOBSUP_RUN_ID=99\n")
    path.chmod(0o600)
    found = job_environment(claim(env={"MINE": "table"}, env_file=str(path)), "tag", None)
    assert found["TOKEN"] == "a=b c"
    assert found["QUOTED"] == "two words"
    assert found["EMPTY"] == ""
    assert found["MINE"] == "file"
    assert found["JOBSUP_RUN_ID"] == "12"


def test_an_env_file_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("TOKEN=1\n")
    path.chmod(0o644)
    with pytest.raises(NotStartedError, match=f"chmod 600 {path}"):
        job_environment(claim(env_file=str(path)), "tag", None)


def test_a_line_that_is_no_variable_is_named_by_its_number_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("A=1\nhunter2\n")
    path.chmod(0o600)
    with pytest.raises(NotStartedError, match=r"secrets:2: not KEY=VALUE") as caught:
        job_environment(claim(env_file=str(path)), "tag", None)
    assert "hunter2" not in str(caught.value)


def test_an_env_file_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError, match="No such file"):
        job_environment(claim(env_file=str(tmp_path / "missing")), "tag", None)
    with pytest.raises(NotStartedError, match="Is a directory"):
        job_environment(claim(env_file=str(tmp_path)), "tag", None)


def test_a_secret_is_what_its_file_says_without_the_lines_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("two\nlines\n")
    path.chmod(0o600)
    found = job_environment(claim(env={"TOKEN": "x"}, secrets={"TOKEN": {"file": str(path)}}), "tag", None)
    assert found["TOKEN"] == "two\nlines"
    path.chmod(0o604)
    with pytest.raises(NotStartedError, match=f'secret "TOKEN": file {path}: others may read or change it'):
        job_environment(claim(secrets={"TOKEN": {"file": str(path)}}), "tag", None)
