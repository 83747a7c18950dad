"""Whether a draft's table is one that the configuration accepts: its own checks are asked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from jobsup.clock import Clock, SystemClock
from jobsup.config import jobs
from jobsup.config.report import Report
from jobsup.config.source import Source
from jobsup.errors import Problem
from jobsup.importing.draft import Basket, Draft, Fault, Harvest
from jobsup.model import SetSpec

_DEFAULTS: dict[str, Any] = {"timezone": "UTC", "timeout": timedelta(seconds=600), "max_retries": 3}


def faults(table: dict[str, Any], clock: Clock | None = None) -> list[str]:
    """Return what the configuration would refuse in the table, a sentence each."""
    now = (clock or SystemClock()).now()
    report = Report()
    source = Source("", Path("/jobs.toml"), "", {"job": [table]})
    jobs.read_jobs([source], dict(_DEFAULTS), SetSpec(), now, report)
    return [_sentence(problem) for problem in report.errors()]


def _sentence(problem: Problem) -> str:
    """Name the key, unless the sentence begins with it."""
    if not problem.key or problem.message.startswith(problem.key):
        return problem.message
    return f"{problem.key}: {problem.message}"


def proved(harvest: Harvest) -> Harvest:
    """Turn the drafts that the configuration would refuse into faults."""
    basket = Basket(faults=list(harvest.faults))
    for draft in harvest.drafts:
        found = faults(draft.table)
        if found:
            basket.faults.append(Fault(draft.place, "; ".join(found)))
        else:
            basket.drafts.append(draft)
    return basket.harvest()


def disabled(draft: Draft, *notes: str) -> Draft:
    """Return the draft switched off, with the reasons."""
    return Draft(draft.place, {**draft.table, "enabled": False}, (*draft.notes, *notes))


def run_as(draft: Draft, user: str | None) -> Draft:
    """Let the draft's job run as a user; switch it off, with the reason, when it could not. None: as jobsup."""
    if user is None:
        return draft
    refused = [fault for fault in faults({**draft.table, "user": user}) if fault.startswith("user:")]
    if not refused:
        return Draft(draft.place, {**draft.table, "user": user}, draft.notes)
    if "no user" in refused[0]:
        return disabled(draft, f"switched off: it runs as user {user}, whom this machine does not know")
    note = f'switched off: it runs as another user; start jobsup as root, and write user = "{user}", enabled = true'
    return disabled(draft, note)
