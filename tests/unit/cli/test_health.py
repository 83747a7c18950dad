"""When `status` calls it healthy, and what it says when it does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobsup.actions.documents import status_document
from jobsup.actions.health import Health, holder_pid, judge, role
from jobsup.cli.status import exit_code
from jobsup.clock import rfc3339
from jobsup.model import Status, WorkerStatus
from jobsup.store import jobs, leases
from jobsup.store.engine import Database
from tests.support.clock import FakeClock
from tests.support.store import add_dispatch, add_job, add_worker, job_spec

DURATION = timedelta(seconds=8)


def answer(state: str = "running", child_state: str = "ready", **facts: Any) -> dict[str, Any]:
    scheduler = {
        "kind": "scheduler",
        "slot": 1,
        "pid": 77,
        "state": child_state,
        "restarts": 2,
        "last_exit": "signal 9",
    }
    return {"state": state, "supervisor": {"pid": 1, "last_reload": None}, "children": [scheduler], **facts}


def judged(db: Database | None, **kinds: Any) -> Health:
    return judge(answer(**kinds), db, set_name="default")


def code_of(health: Health) -> int:
    return exit_code(status_document(health, "jobsup.toml"))


@pytest.mark.parametrize(
    ("state", "code"), [("running", 0), ("reloading", 0), ("degraded", 1), ("starting", 1), ("stopping", 1)]
)
def test_the_supervisors_state_decides_the_exit_code(db: Database, state: str, code: int) -> None:
    assert code_of(judged(db, state=state)) == code


def test_nothing_running_is_its_own_code(db: Database) -> None:
    assert code_of(judge({}, db, set_name="default")) == 3


def test_a_child_that_cannot_be_kept_up_is_a_problem(db: Database) -> None:
    health = judged(db, child_state="config_fault")
    assert health.state == "degraded"
    assert health.problems == ("scheduler-1 is in state config_fault, last exit: signal 9",)
    assert code_of(health) == 1


def test_a_tick_that_waits_too_long_is_a_problem_and_a_short_wait_is_none(db: Database, clock: FakeClock) -> None:
    add_job(db, next_run=db.now())
    clock.advance(29)
    assert judged(db).is_healthy
    clock.advance(2)
    [problem] = judged(db).problems
    assert problem == "a tick has waited for 31 s to be dispatched, and no scheduler leads"


def test_an_unreachable_database_is_a_problem_beside_the_processes() -> None:
    health = judge(answer(), None, set_name="default", trouble="database x: locked")
    assert health.problems == ("database x: locked",)
    assert code_of(health) == 1


def test_no_space_left_is_a_problem(db: Database) -> None:
    assert judged(db, free_space_min=1).is_healthy
    assert "no job is started" in judged(db, free_space_min=1 << 62).problems[0]


def test_definitions_that_another_host_put_into_force_are_a_warning(db: Database) -> None:
    ours, theirs = [job_spec("a")], [job_spec("a", description="changed")]
    jobs.sync(db, "default", theirs, content_hash=jobs.content_hash(theirs), node="other", path="/etc/x.toml")
    health = judged(db, content_hash=jobs.content_hash(ours))
    assert health.is_healthy
    assert "are those of /etc/x.toml on other" in health.warnings[0]
    assert judged(db, content_hash=jobs.content_hash(theirs)).warnings == ()


def test_a_clock_that_is_ahead_is_a_warning(db: Database) -> None:
    add_worker(db, node="ahead", last_heartbeat=db.now() + timedelta(seconds=30))
    assert judged(db).warnings == ("the clock of ahead is 30 s ahead of this one",)


def test_every_host_whose_clock_is_more_than_a_second_off_is_named_on_any_host(db: Database) -> None:
    add_worker(db, "worker-1", node="ahead", clock_offset=300.0)
    add_worker(db, "worker-2", node="behind", clock_offset=-1.5)
    add_worker(db, "worker-3", node="right", clock_offset=0.9)
    add_worker(db, "worker-4", node="unknown")
    assert [line.partition(",")[0] for line in judged(db).warnings] == [
        "the clock of ahead is 300.0 s ahead of the database server's",
        "the clock of behind is 1.5 s behind the database server's",
    ]
    hosts = status_document(judged(db), "x.toml")["hosts"]
    assert [host["clock_offset_seconds"] for host in hosts] == [300.0, -1.5, 0.9, None]


def test_a_failed_reload_is_remembered_as_a_warning(db: Database) -> None:
    supervisor = {"pid": 1, "last_reload": {"error": "refused"}}
    health = judge({**answer(), "supervisor": supervisor}, db, set_name="default")
    assert health.warnings == ("the last reload failed: refused",)


def test_the_role_is_leader_only_while_the_lease_is_this_hosts(db: Database, clock: FakeClock) -> None:
    assert role(judged(db)) == "standby"
    leases.acquire(db, "here/boot/77/123", "here", DURATION)
    assert role(judged(db)) == "leader"
    clock.advance(9)
    assert role(judged(db)) == "standby"
    leases.acquire(db, "other/boot/78/123", "other", DURATION)
    assert role(judged(db)) == "standby"
    assert role(judge({}, db, set_name="default")) == "none"


def test_a_holder_that_is_no_process_has_no_pid() -> None:
    assert holder_pid("a/b/c/boot/12/345") == 12
    assert holder_pid("") is None


def test_every_host_is_shown_with_its_workers_and_who_leads_since_when(db: Database, clock: FakeClock) -> None:
    leases.acquire(db, "away/boot/78/123", "away", DURATION)
    clock.advance(3)
    add_worker(db, "worker-1", node="here", concurrency=4, version="1.2", queues=["a"], status=WorkerStatus.DRAINING)
    add_worker(db, "worker-2", node="here", concurrency=2)
    add_worker(db, "worker-3", node="there", tags=["host:there", "gpu"])
    add_dispatch(db, add_job(db), Status.IN_PROGRESS, worker_id="worker-2")
    found = status_document(judged(db), "x.toml")
    held = found["scheduler"]
    assert (held["role"], held["leader"], held["lease_left_seconds"]) == ("standby", "away", 5.0)
    assert held["lease_age_seconds"] == 3.0
    assert held["leader_since"] == rfc3339(db.now() - timedelta(seconds=3))
    leases.stand_by(db, "standby-host", DURATION)
    leases.stand_by(db, "there", DURATION)
    found = status_document(judged(db), "x.toml")
    away, here, standing, there = found["hosts"]
    assert [host["stands_by"] for host in found["hosts"]] == [False, False, True, True]
    assert (standing["node"], standing["workers"], standing["last_heartbeat"]) == ("standby-host", 0, None)
    assert (away["node"], away["leads"], away["workers"], away["last_heartbeat"]) == ("away", True, 0, None)
    assert (here["leads"], here["workers"], here["draining"], here["places"], here["running"]) == (False, 2, 1, 6, 1)
    assert (here["versions"], here["queues"]) == (["0", "1.2"], ["a"])
    assert there["tags"] == ["gpu", "host:there"]
