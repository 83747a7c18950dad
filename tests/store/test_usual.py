"""How long runs usually take: a median, of few rows however long the history."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.model import Status
from jobsup.store import job_days, retention, usual
from jobsup.store.engine import Database
from jobsup.store.usual import usual_durations
from tests.support.clock import FakeClock
from tests.support.store import START, add_dispatch, add_job


def test_the_median_of_ended_runs_counts_and_nothing_else(db: Database) -> None:
    job, other = add_job(db), add_job(db)
    for seconds in (10, 12, 500):
        add_dispatch(db, job, Status.COMPLETED, started_at=START, completed_at=START + timedelta(seconds=seconds))
    add_dispatch(db, job, Status.TIMEOUT, started_at=START, completed_at=START + timedelta(hours=9))
    add_dispatch(db, job, Status.IN_PROGRESS)
    add_dispatch(db, other, Status.SKIPPED)
    assert usual_durations(db, [job.job_id, other.job_id]) == {job.job_id: timedelta(seconds=12)}


def test_a_job_whose_runs_are_deleted_is_judged_by_its_days(db: Database, clock: FakeClock) -> None:
    rare = add_job(db)
    for seconds in (10, 20, 30):
        add_dispatch(db, rare, Status.COMPLETED, started_at=START, completed_at=START + timedelta(seconds=seconds))
    add_dispatch(db, add_job(db))
    clock.advance(timedelta(days=40))
    assert job_days.count(db) == 3
    assert retention.delete_ended(db, clock.now(), 100) == 3
    found = usual_durations(db, [rare.job_id])[rare.job_id]
    assert found.total_seconds() == pytest.approx(20, rel=0.05)


def test_a_job_that_runs_rarely_is_judged_by_its_own_history(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual, "LATEST_MAX", 10)
    rare, often = add_job(db), add_job(db)
    add_dispatch(db, rare, Status.COMPLETED, started_at=START, completed_at=START + timedelta(minutes=7))
    for _ in range(20):
        add_dispatch(db, often, Status.COMPLETED, started_at=START, completed_at=START + timedelta(seconds=1))
    found = usual_durations(db, [rare.job_id, often.job_id])
    assert found == {rare.job_id: timedelta(minutes=7), often.job_id: timedelta(seconds=1)}
