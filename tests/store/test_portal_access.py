"""Users, sessions, tokens, keyed requests and the audit: the same on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobsup.errors import ConflictError, NotFoundError
from jobsup.model import Role
from jobsup.store import audit, requests, tokens, users
from jobsup.store.engine import Database

HOUR = timedelta(hours=1)


def test_a_name_is_taken_once_and_a_deleted_user_takes_their_sessions_along(db: Database) -> None:
    users.add(db, "ann", Role.ADMIN, "hash")
    users.add(db, "bob", Role.OPERATOR, "hash")
    with pytest.raises(ConflictError, match="exists"):
        users.add(db, "ann", Role.VIEWER, "hash")
    secret = users.begin_session(db, "bob", "hash", lifetime=HOUR, address="::1", agent="x" * 1000)
    session = users.find_session(db, secret)
    assert session is not None
    assert (session.user.name, session.user.role, session.address, len(session.agent)) == (
        "bob",
        Role.OPERATOR,
        "::1",
        users.AGENT_CHARS_MAX,
    )
    users.remove(db, "bob")
    assert users.find_session(db, secret) is None
    with pytest.raises(NotFoundError, match="did you mean"):
        users.set_role(db, "anm", Role.VIEWER)


def test_a_token_is_found_by_its_secret_and_its_name_is_taken_once(db: Database) -> None:
    secret = tokens.create(db, "ci", ["run", "read", "read"], by="ann")
    with pytest.raises(ConflictError, match="exists"):
        tokens.create(db, "ci", ["read"], by="ann")
    found = tokens.find(db, secret)
    assert found is not None
    assert (found.name, found.scopes, found.job, found.last_used_at) == ("ci", ("read", "run"), None, None)
    assert tokens.list_tokens(db)[0].last_used_at == db.now()
    assert tokens.find(db, secret + "x") is None


def test_a_keyed_request_is_done_once_and_its_key_is_forgotten_after_a_day(db: Database) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made) + 1)
        return made[-1]

    assert requests.once(db, "key", "body", make) == (1, True)
    assert requests.once(db, "key", "body", make) == (1, False)
    with pytest.raises(ConflictError, match="another request"):
        requests.once(db, "key", "other", make)
    db.clock.advance(requests.KEPT + HOUR)  # type: ignore[attr-defined]  # a test's clock
    assert requests.once(db, "key", "other", make) == (2, True)


def test_a_keyed_request_that_comes_while_the_first_is_at_work_is_told_to_wait(db: Database) -> None:
    def make() -> int:
        with pytest.raises(ConflictError, match="being worked on"):
            requests.once(db, "key", "body", lambda: 0)
        return 7

    assert requests.once(db, "key", "body", make) == (7, True)


def test_the_audit_is_read_from_the_newest_on_by_any_condition(db: Database) -> None:
    for number in range(5):
        actor = "ann" if number % 2 else "bob"
        audit.record(db, actor=actor, origin="cli", verb="job.pause", subject=f"job-{number}", detail={"n": number})
    newest = audit.entries(db, last=2)
    assert [row.detail for row in newest] == [{"n": 4}, {"n": 3}]
    assert [row.subject for row in audit.entries(db, before=newest[-1].id, actor="bob")] == ["job-2", "job-0"]
    assert audit.entries(db, subject="job-1")[0].actor == "ann"
    assert audit.entries(db, since=db.now() + HOUR) == []
