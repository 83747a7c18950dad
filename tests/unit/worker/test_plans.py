"""How plain commands are started without working all of it out for each."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.model import Claim, JobKind, JobSpec, Source
from jobsup.worker.grouping import Grouping
from jobsup.worker.plans import PLAN_SECONDS, Plans
from tests.support.clock import FakeClock


@pytest.fixture
def plans(clock: FakeClock) -> Plans:
    return Plans(clock, "test-instance", Grouping())


def job(folder: Path, *command: str, **more: object) -> JobSpec:
    path = f"{folder}/first:{folder}/second:{os.environ['PATH']}"
    spec = JobSpec("job", JobKind.COMMAND, command=command, cwd=str(folder), env={"PATH": path, "MINE": "1"})
    return replace(spec, **more)  # type: ignore[arg-type]  # fields of a definition


def claim(spec: JobSpec, dispatch_id: int = 1) -> Claim:
    return Claim(dispatch_id, 1, spec, "hash", Source.MANUAL, 0, None, {})


def said(plans: Plans, one: Claim) -> str | None:
    """Return what a run prints; None: it needs the long way."""
    reading, writing = os.pipe()
    try:
        spawned = plans.spawn(one, (writing, writing))
    finally:
        os.close(writing)
    with os.fdopen(reading) as output:
        if spawned is None:
            return None
        assert spawned.process.wait() == 0
        return output.read()


def tool(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tool"
    path.write_text(f"#!/bin/sh\necho {text}\n")
    path.chmod(0o755)
    return path


def test_each_run_has_its_own_name_and_shares_the_rest(plans: Plans, tmp_path: Path) -> None:
    words = "echo $JOBSUP_RUN_ID $JOBSUP_ATTEMPT $MINE $JOBSUP_JOB; pwd; echo $JOBSUP_DEADLINE | wc -c; cat"
    spec = job(tmp_path, "/bin/sh", "-c", words, timeout=timedelta(minutes=5))
    for number, attempt in ((7, 1), (8, 1), (9, 2), (7, 1)):
        one = replace(claim(spec, number), retry_count=attempt - 1)
        assert said(plans, one) == f"{number} {attempt} 1 job\n{tmp_path}\n21\n"


def test_runs_of_a_job_may_be_given_other_parameters_or_none(plans: Plans, tmp_path: Path) -> None:
    spec = job(tmp_path, "/bin/sh", "-c", "echo ${JOBSUP_PARAM_N-none} ${JOBSUP_PARAM_M-none} $MINE")
    for params, heard in (({}, "none none"), ({"n": 1}, "1 none"), ({"n": 2}, "2 none"), ({"m": 3}, "none 3")):
        assert said(plans, replace(claim(spec), params=params)) == f"{heard} 1\n"


def test_a_program_that_was_put_before_another_on_the_path_is_found_within_seconds(
    plans: Plans, clock: FakeClock, tmp_path: Path
) -> None:
    spec = job(tmp_path, "tool")
    tool(tmp_path / "second", "old")
    assert said(plans, claim(spec)) == "old\n"
    tool(tmp_path / "first", "new")
    clock.advance(PLAN_SECONDS)
    assert said(plans, claim(spec)) == "new\n"


def test_a_program_that_went_away_is_looked_for_at_once(plans: Plans, tmp_path: Path) -> None:
    spec = job(tmp_path, "tool")
    tool(tmp_path / "second", "old")
    first = tool(tmp_path / "first", "new")
    assert said(plans, claim(spec)) == "new\n"
    first.unlink()
    assert said(plans, claim(spec)) is None
    assert said(plans, claim(spec)) == "old\n"


def test_what_is_not_plain_takes_the_long_way(plans: Plans, tmp_path: Path) -> None:
    spec = job(tmp_path, "/bin/echo", "x")
    assert said(plans, claim(spec)) == "x\n"
    for more in (
        {"stdin": "text"},
        {"secrets": {"TOKEN": {"command": ["true"]}}},
        {"env_file": "/none"},
        {"nice": 5},
        {"command": ("no-such-program",)},
        {"command": ("/bin/echo", "a\0b")},
        {"env": {"JOBSUP_RUN_ID": "mine"}},
    ):
        assert said(plans, claim(replace(spec, **more))) is None, more  # type: ignore[arg-type]  # as above
    given = replace(claim(spec), params={"n": "a\0b"})
    assert said(plans, given) is None
