"""The API as a program meets it: documents, problems, idempotency, hooks, and its own description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobsup.model import On, ParamSpec, Status
from jobsup.portal.api import openapi
from jobsup.portal.app import entries
from jobsup.store import audit, tokens
from jobsup.store.engine import Database
from tests.support.house import House
from tests.support.store import add_dispatch, add_job, add_log, add_worker, dispatches_of


class Program:
    """Somebody with a token of all scopes."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.secret = tokens.create(house.database, "program", tokens.SCOPES, by="test")

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}", **more.pop("headers", {})}
        return self.house.client.request(method, f"/api/v1{path}", headers=headers, **more)


@pytest.fixture
def ask(db: Database, tmp_path: Path) -> Iterator[Program]:
    house = House(db, tmp_path)
    yield Program(house)
    house.close()


def problem(answer: Any) -> tuple[int, str, int]:
    """Return the status, the type's last word and the exit code of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["detail"]
    return answer.status_code, document["type"].rpartition(":")[2], document["exit_code"]


def test_jobs_and_runs_are_documents_with_a_version(ask: Program) -> None:
    found = ask("GET", "/jobs").json()
    assert (found["schema"], [job["name"] for job in found["jobs"]]) == (1, ["backup", "kept"])
    assert ask("GET", "/jobs/backup").json()["job"]["definition"]["command"] == "true"
    assert ask("GET", f"/runs/{ask.house.ended}").json()["run"]["status"] == "FAILED"
    assert ask("GET", "/status").json()["state"] == "running"


def test_whatever_is_refused_on_the_way_is_a_problem_document_too(ask: Program) -> None:
    assert problem(ask("GET", "/nowhere")) == (404, "not-found", 4)
    wrong = ask("GET", "/jobs/backup/run")
    assert (problem(wrong), wrong.headers["allow"]) == ((405, "usage", 2), "POST")
    assert problem(ask("PATCH", "/jobs/backup")) == (405, "usage", 2)
    assert problem(ask("POST", "/jobs/backup/run", content=b"x" * (1 << 21))) == (413, "usage", 2)
    assert problem(ask("POST", "/jobs/backup/run", content=b"<a/>", headers={"Content-Type": "text/xml"}))[0] == 415
    assert problem(ask("POST", "/jobs", json={"toml": "[[job]]\nname = 1"}))[:2] == (422, "config")
    assert problem(ask("GET", "/jobs", headers={"Host": "elsewhere"})) == (421, "usage", 2)


def test_when_too_much_is_asked_who_only_looks_is_sent_away_and_who_acts_is_not(
    ask: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(ask.house.handles), "are_overrun", True)
    refused = ask("GET", "/jobs")
    assert problem(refused) == (503, "unreachable", 3)
    assert refused.headers["retry-after"] == "1"
    assert ask.house.client.get("/jobs").text.endswith("try again in 1 s\n")
    assert ask.house.client.get("/healthz").status_code == 200
    assert ask("POST", "/jobs/backup/pause", json={}).status_code == 200


def test_runs_come_in_pages_until_there_are_no_more(ask: Program) -> None:
    job = add_job(ask.house.database, "many")
    made = [add_dispatch(ask.house.database, job, Status.COMPLETED) for _ in range(5)]
    seen: list[int] = []
    before: int | None = None
    for _ in range(3):
        page = ask("GET", f"/runs?job=many&last=2{f'&before={before}' if before else ''}").json()
        seen += [run["id"] for run in page["runs"]]
        before = page["before"]
    assert (seen, before) == (made[::-1], None)


def test_output_comes_as_the_very_bytes_from_an_offset(ask: Program) -> None:
    job = add_job(ask.house.database, "noisy")
    run = add_dispatch(ask.house.database, job, Status.COMPLETED)
    add_log(ask.house.database, run, b"\x00abc\xff<b>")
    answer = ask("GET", f"/runs/{run}/output?from=1&len=4")
    assert answer.content == b"abc\xff"
    assert answer.headers["Jobsup-Output-Total"] == "8"
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_errors_are_problem_documents_with_the_exit_codes(ask: Program) -> None:
    assert problem(ask("GET", "/jobs/bakup")) == (404, "not-found", 4)
    assert "backup" in ask("GET", "/jobs/bakup").json()["detail"]
    assert problem(ask("GET", "/runs?status=LOST")) == (400, "usage", 2)
    assert problem(ask("GET", "/runs?last=0")) == (400, "usage", 2)
    assert problem(ask("GET", "/jobs/backup/why?at=yesterday")) == (400, "usage", 2)
    assert problem(ask("POST", f"/runs/{ask.house.ended}/cancel")) == (409, "conflict", 6)
    assert problem(ask("POST", "/jobs/backup/run", json={"parms": {}})) == (400, "usage", 2)
    assert problem(ask("POST", "/jobs/backup/run", json=[])) == (400, "usage", 2)
    assert (
        problem(ask("POST", "/jobs/backup/run", content=b"{", headers={"Content-Type": "application/json"}))[0] == 400
    )
    assert problem(ask("POST", "/jobs/backup/run", data={"params": "x"})) == (415, "usage", 2)
    assert problem(ask.house.client.get("/api/v1/jobs")) == (401, "denied", 5)


def test_the_same_idempotency_key_makes_one_run(ask: Program) -> None:
    job = add_job(ask.house.database, "once", params=(ParamSpec("count", "integer"),))
    key = {"Idempotency-Key": "a-1"}
    first = ask("POST", "/jobs/once/run", json={"params": {"count": 3}}, headers=key)
    again = ask("POST", "/jobs/once/run", json={"params": {"count": 3}}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["run"]["id"] == again.json()["run"]["id"]
    assert first.headers["Location"] == f"/api/v1/runs/{first.json()['run']['id']}"
    other = ask("POST", "/jobs/once/run", json={"params": {"count": 4}}, headers=key)
    assert problem(other) == (409, "conflict", 6)
    assert [row["params"] for row in dispatches_of(ask.house.database, job)] == [{"count": 3}]


def test_a_key_whose_request_was_refused_can_be_used_again(ask: Program) -> None:
    add_job(ask.house.database, "once", params=(ParamSpec("count", "integer"),))
    key = {"Idempotency-Key": "a-2"}
    assert ask("POST", "/jobs/once/run", json={"params": {"count": "x"}}, headers=key).status_code == 400
    assert ask("POST", "/jobs/once/run", json={"params": {"count": 1}}, headers=key).status_code == 201


def test_pause_and_resume_are_told_in_the_audit_with_their_reason(ask: Program) -> None:
    answer = ask("POST", "/jobs/backup/pause", json={"reason": "disk full"})
    assert (answer.json()["job"]["state"], answer.json()["job"]["paused_reason"]) == ("paused", "disk full")
    assert ask("POST", "/jobs/backup/resume").json()["job"]["paused_at"] is None
    rows = audit.entries(ask.house.database)
    assert [(row.actor, row.origin, row.verb, row.subject) for row in rows] == [
        ("program", "api", "job.resume", "backup"),
        ("program", "api", "job.pause", "backup"),
    ]
    assert rows[1].detail["before"] is None
    assert rows[1].detail["after"] == rows[0].detail["before"]
    assert (rows[0].detail["before"]["reason"], rows[0].detail["after"]) == ("disk full", None)


def test_what_is_done_to_several_jobs_is_told_of_each_with_what_was_before(ask: Program) -> None:
    ask("POST", "/jobs/backup/pause", json={"reason": "first"})
    assert ask("POST", "/jobs/pause", json={"all": True, "reason": "both"}).status_code == 200
    last = {row.subject: row.detail for row in audit.entries(ask.house.database)[:2]}
    assert {name: (each["before"] or {}).get("reason") for name, each in last.items()} == {
        "backup": "first",
        "kept": None,
    }
    assert {each["after"]["reason"] for each in last.values()} == {"both"}


def test_users_and_tokens_are_told_in_the_audit_with_what_they_were_and_never_a_secret(ask: Program) -> None:
    assert ask("POST", "/users/victim/role", json={"role": "operator"}).status_code == 200
    assert ask("POST", "/users/victim/password", json={"password": "a new and secret one"}).status_code == 200
    assert ask("DELETE", "/users/victim").status_code == 200
    assert ask("DELETE", "/tokens/read").status_code == 200
    told = {row.verb: (row.detail["before"], row.detail["after"]) for row in audit.entries(ask.house.database)}
    assert told == {
        "user.role": ({"role": "viewer", "sessions": 0}, {"role": "operator", "sessions": 0}),
        "user.passwd": ({"role": "operator", "sessions": 0}, {"role": "operator", "sessions": 0}),
        "user.rm": ({"role": "operator", "sessions": 0}, None),
        "token.revoke": ({"scopes": ["read"], "job": None, "expires_at": None}, None),
    }


def test_runs_that_ended_long_ago_are_counted_and_deleted(ask: Program) -> None:
    aged = add_dispatch(ask.house.database, add_job(ask.house.database, "aged"), Status.COMPLETED)
    add_dispatch(ask.house.database, add_job(ask.house.database, "newest"))  # whose number must not be given twice
    ask.house.database.clock.advance(timedelta(days=10))  # type: ignore[attr-defined]  # the test's own clock
    assert problem(ask("POST", "/runs/prune", json={})) == (400, "usage", 2)
    counted = ask("POST", "/runs/prune", json={"older_than_seconds": 86400, "dry_run": True}).json()
    assert (counted["deleted"], counted["left"]) == (0, 2)
    assert ask("POST", "/runs/prune", json={"older_than_seconds": 86400}).json()["deleted"] == 2
    assert problem(ask("GET", f"/runs/{aged}"))[0] == 404
    assert audit.entries(ask.house.database)[0].detail == {"dry_run": False, "deleted": 2, "left": 0}


def test_a_run_of_a_job_of_each_host_answers_with_all_of_them(ask: Program) -> None:
    for number, node in enumerate(("db1", "db2")):
        add_worker(ask.house.database, f"worker-{number}", node=node)
    add_job(ask.house.database, "everywhere", on=On.EACH)
    made = ask("POST", "/jobs/everywhere/run").json()
    assert {run["target"] for run in (made["run"], *made["others"])} == {"db1", "db2"}
    assert ask("POST", "/jobs/everywhere/run", json={"on": "db1"}).json()["others"] == []


def test_a_hook_starts_its_job_and_nothing_else(ask: Program) -> None:
    job = add_job(ask.house.database, "deploy", params=(ParamSpec("ref", "string"),))
    secret = tokens.create(ask.house.database, "push", [], by="test", job="deploy")
    answer = ask.house.client.post(f"/hook/{secret}", json={"params": {"ref": "main"}})
    assert answer.status_code == 202
    assert [(row["params"], row["requested_by"]) for row in dispatches_of(ask.house.database, job)] == [
        ({"ref": "main"}, "push@hook")
    ]
    assert problem(ask.house.client.post("/hook/jobsup_wrong")) == (404, "not-found", 4)
    assert problem(ask.house.client.post(f"/hook/{ask.secret}")) == (404, "not-found", 4)
    assert problem(ask.house.client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {secret}"}))[0] == 403


def test_the_openapi_document_describes_the_routes_there_are(ask: Program) -> None:
    described = ask("GET", "/openapi.json").json()
    assert described == openapi.describe()
    ways = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    of_programs = {(entry.method, entry.path.replace(":int", "")) for entry in entries() if entry.name}
    assert ways == of_programs
    operations = [operation for methods in described["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    assert all(entry.scope for entry in entries() if entry.path.startswith("/api/"))
    assert {entry.path for entry in entries() if entry.name and entry.role is None} == {
        "/hook/{token}",
        "/healthz",
        "/readyz",
    }
