"""Jobs that stand in no file: saved, changed and removed one at a time, beside those that files define."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.config.document import config_hash
from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import JobSpec, Origin, Reason, ScheduleSpec, Status
from jobsup.store import jobs, keeping
from jobsup.store.engine import Database
from tests.support.store import add_dispatch, dispatches_of, job_spec

HOURLY = ScheduleSpec(every=timedelta(hours=1))


def save(db: Database, spec: JobSpec, replaces: str | None = None) -> jobs.JobFacts:
    keeping.save(db, spec, origin=Origin.PORTAL, set_name="default", replaces=replaces)
    return jobs.get_job(db, spec.name)


def sync(db: Database, *specs: JobSpec) -> jobs.Synced:
    return jobs.sync(db, "default", specs, content_hash="x", node="here", path="jobsup.toml")


def test_a_saved_job_is_due_by_its_schedule_and_outlives_the_reloads_of_the_file(db: Database) -> None:
    sync(db, job_spec("filed"))
    made = save(db, job_spec("made", schedule=HOURLY, priority=3, depends_on=("filed",)))
    assert (made.origin, made.set_name, made.is_active) == (Origin.PORTAL, "default", True)
    assert made.next_run is not None
    assert made.next_run > db.now()
    assert sync(db, job_spec("other")).removed == ("filed",)
    assert jobs.get_job(db, "made").retired_at is None
    assert keeping.waits(db, "default") == {"made": ["filed"], "other": []}


def test_a_change_keeps_the_pause_and_takes_the_new_schedule(db: Database) -> None:
    made = save(db, job_spec("made", schedule=HOURLY))
    jobs.pause(db, ["made"], by="ann", reason="disk")
    changed = save(db, job_spec("made", schedule=ScheduleSpec(every=timedelta(hours=5))), made.config_hash)
    assert changed.paused_reason == "disk"
    assert changed.next_run != made.next_run


def test_a_change_of_what_was_changed_meanwhile_is_refused(db: Database) -> None:
    made = save(db, job_spec("made"))
    save(db, job_spec("made", description="first"), made.config_hash)
    with pytest.raises(ConflictError, match="changed meanwhile"):
        save(db, job_spec("made", description="second"), made.config_hash)
    assert jobs.get_job(db, "made").spec.description == "first"


def test_a_name_that_is_taken_is_refused_and_a_removed_one_is_free(db: Database) -> None:
    spec = job_spec("made")
    sync(db, job_spec("filed"))
    with pytest.raises(ConflictError, match="stands in a file"):
        save(db, job_spec("filed"))
    save(db, spec)
    with pytest.raises(ConflictError, match="already"):
        save(db, spec)
    keeping.remove(db, "made")
    with pytest.raises(ConflictError, match="removed meanwhile"):
        save(db, spec, config_hash(spec))
    assert save(db, spec).retired_at is None


def test_removing_cancels_what_waits_and_keeps_the_history(db: Database) -> None:
    made = save(db, job_spec("made", schedule=HOURLY))
    add_dispatch(db, made, Status.FAILED)
    add_dispatch(db, made, Status.PENDING)
    keeping.remove(db, "made")
    gone = jobs.get_job(db, "made")
    assert gone.retired_at is not None
    assert gone.next_run is None
    ended = [(row["status"], row["reason"]) for row in dispatches_of(db, gone)]
    assert ended == [(Status.FAILED, Reason.EXIT_CODE), (Status.CANCELLED, Reason.JOB_REMOVED)]
    with pytest.raises(NotFoundError):
        keeping.remove(db, "made")


def test_a_job_that_others_wait_for_is_not_removed_and_a_files_never(db: Database) -> None:
    sync(db, job_spec("filed"))
    save(db, job_spec("first"))
    save(db, job_spec("then", depends_on=("first",)))
    with pytest.raises(ConflictError, match="then waits for it"):
        keeping.remove(db, "first")
    with pytest.raises(ConflictError, match="stands in a file"):
        keeping.remove(db, "filed")
