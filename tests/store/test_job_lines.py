"""The list of jobs is filtered, counted and paged by the database, and says of each how it stands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.model import Status
from jobsup.store import job_lines
from jobsup.store.engine import Database
from jobsup.store.job_lines import Overdue, Wanted
from jobsup.store.job_states import JobState
from tests.support.store import add_dispatch, add_job

MINUTE = timedelta(minutes=1)


def _states(db: Database, wanted: Wanted | None = None) -> dict[str, str]:
    rows = job_lines.page(db, wanted or Wanted(), job_lines.labels(db), db.now(), rows=100)
    return {line.name: str(state) for line, state in rows}


def test_each_job_stands_as_the_first_thing_that_is_true_of_it(db: Database) -> None:
    now = db.now()
    for status in (Status.COMPLETED, Status.FAILED, Status.SKIPPED):
        add_dispatch(db, add_job(db, f"{status.lower()}"), status)
    add_dispatch(db, add_job(db, "off", row={"is_active": False}), Status.FAILED)
    add_dispatch(db, add_job(db, "held", row={"paused_at": now}), Status.FAILED)
    add_dispatch(db, add_job(db, "held-no-more", row={"paused_at": now, "paused_until": now}), Status.TIMEOUT)
    add_job(db, "tick-late", next_run=now - MINUTE)
    add_dispatch(db, add_job(db, "start-late"), available_at=now - 2 * MINUTE)
    add_dispatch(db, add_job(db, "waits"), available_at=now)
    both = add_job(db, "runs-again")
    add_dispatch(db, both, Status.FAILED)
    add_dispatch(db, both, Status.COMPLETED)
    add_dispatch(db, both, Status.IN_PROGRESS)
    assert _states(db) == {
        "completed": "well",
        "failed": "failing",
        "skipped": "never ran",
        "off": "disabled",
        "held": "paused",
        "held-no-more": "failing",
        "tick-late": "late",
        "start-late": "late",
        "waits": "waiting",
        "runs-again": "running",
    }
    counts = job_lines.counts(db, Wanted(state=JobState.LATE), job_lines.labels(db), now)
    assert (counts.wanted, counts.total, counts.by_state[JobState.FAILING]) == (2, 10, 2)
    assert list(_states(db, Wanted(state=JobState.RUNNING))) == ["runs-again"]
    late, count = job_lines.overdue(db, now, rows=1)
    assert ([each.job for each in late], count) == (["start-late"], 2)
    assert job_lines.overdue(db, now, rows=9)[0][1] == Overdue("tick-late", now - MINUTE, None)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(text="BACK"), ["backup", "backup_2"]),
        (Wanted(text="nächtlich"), ["report"]),
        (Wanted(text="_"), ["backup_2"]),
        (Wanted(tag="db"), ["backup"]),
        (Wanted(tag="d"), []),
        (Wanted(queue="slow"), ["report"]),
        (Wanted(text="backup", tag="db", queue="slow"), []),
    ],
)
def test_what_is_wanted_is_found_and_counted(db: Database, wanted: Wanted, names: list[str]) -> None:
    add_job(db, "backup", tags=("db", "nightly"))
    add_job(db, "backup_2", tags=("nightly",))
    add_job(db, "report", queue="slow", description="Nächtlicher nächtlich Bericht")
    add_job(db, "gone", tags=("db",), row={"retired_at": db.now(), "is_active": False})
    labels = job_lines.labels(db)
    assert list(_states(db, wanted)) == names
    assert job_lines.counts(db, wanted, labels, db.now()).wanted == len(names)
    assert (labels.tags, labels.queues) == (("db", "nightly"), ("default", "slow"))


def test_pages_follow_each_other_by_name(db: Database) -> None:
    for name in ("b", "c", "a"):
        add_job(db, name)
    labels = job_lines.labels(db)
    first = job_lines.page(db, Wanted(), labels, db.now(), rows=2)
    second = job_lines.page(db, Wanted(), labels, db.now(), after=first[-1][0].name, rows=2)
    assert [line.name for line, _ in [*first, *second]] == ["a", "b", "c"]
