"""How what is acted on stands, as the audit tells it before and after; never a secret."""

from __future__ import annotations

from typing import Any

from jobsup.clock import rfc3339
from jobsup.errors import NotFoundError
from jobsup.store import jobs, tokens, users
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts

Standing = dict[str, Any] | None
"""None: there is none, or nothing to tell."""


def of_pause(facts: JobFacts) -> Standing:
    """Tell who paused a job, until when and why; None when it is not paused."""
    if facts.paused_at is None:
        return None
    until = rfc3339(facts.paused_until)
    return {"paused_at": rfc3339(facts.paused_at), "until": until, "by": facts.paused_by, "reason": facts.paused_reason}


def of_job(database: Database, name: str) -> Standing:
    """Tell of a job whether it is paused."""
    try:
        return of_pause(jobs.get_job(database, name))
    except NotFoundError:
        return None


def of_user(database: Database, name: str) -> Standing:
    """Tell a user's role, and how many browsers they are signed in with."""
    for user in users.list_users(database):
        if user.name == name:
            return {"role": str(user.role), "sessions": len(users.sessions_of(database, user.id))}
    return None


def of_token(database: Database, name: str) -> Standing:
    """Tell what a token may do, and until when."""
    for token in tokens.list_tokens(database):
        if token.name == name:
            return {"scopes": list(token.scopes), "job": token.job, "expires_at": rfc3339(token.expires_at)}
    return None
