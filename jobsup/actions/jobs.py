"""What people do to jobs: choose them, pause and resume them, and ask when they run next."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from jobsup.clock import rfc3339
from jobsup.errors import NotFoundError, UsageError
from jobsup.schedule import compile as compile_schedule
from jobsup.store import jobs, notifier
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts


@dataclass(frozen=True, slots=True)
class Tick:
    """An instant at which a job is due."""

    at: datetime
    job: str
    note: str = ""
    """What a clock change does to it, or why it will not run."""


def choose(database: Database, names: Sequence[str], *, every: bool = False, tag: str | None = None) -> list[str]:
    """Return the names of the jobs meant: those named, those with a tag, or all there are.

    UsageError when it is not said in exactly one way, NotFoundError when no job has the tag.
    """
    if bool(names) + every + (tag is not None) != 1:
        raise UsageError("say which jobs: names, --tag TAG, or --all")
    if names:
        return list(names)
    found = [facts.name for facts in jobs.list_jobs(database, tag=tag)]
    if not found:
        raise NotFoundError(f"no job has the tag {tag!r}" if tag is not None else "there are no jobs")
    return found


def pause(
    database: Database, names: Sequence[str], *, by: str, reason: str | None = None, until: datetime | None = None
) -> list[JobFacts]:
    """Pause jobs, all or none; their ticks become SKIPPED/paused until then, or until somebody resumes them."""
    paused = jobs.pause(database, names, by=by, reason=reason, until=until)
    notifier.wake(database, "scheduler")
    return paused


def resume(database: Database, names: Sequence[str]) -> list[JobFacts]:
    """Let jobs run by their schedule again; returns those that were paused."""
    resumed = jobs.resume(database, names)
    notifier.wake(database, "scheduler")
    notifier.wake(database, "worker")  # what was filled in of them has waited too
    return resumed


def next_ticks(database: Database, names: Sequence[str], *, after: datetime, count: int) -> list[Tick]:
    """Return the next `count` ticks after an instant, of the jobs named or of all, the soonest first."""
    found = [jobs.get_job(database, name) for name in names] if names else jobs.list_jobs(database)
    return list(islice(heapq.merge(*(_ticks(facts, after) for facts in found), key=lambda tick: tick.at), count))


def pause_words(facts: JobFacts) -> str:
    """Say who paused a job, why and until when: `paused by ann@db1 until ... (disk full)`."""
    by = f" by {facts.paused_by}" if facts.paused_by else ""
    until = f" until {rfc3339(facts.paused_until)}" if facts.paused_until else ""
    why = f" ({facts.paused_reason})" if facts.paused_reason else ""
    return f"paused{by}{until}{why}"


def _ticks(facts: JobFacts, after: datetime) -> Iterator[Tick]:
    schedule = compile_schedule(facts.spec.schedule, name=facts.name) if facts.is_active else None
    if schedule is None:
        return
    at = schedule.next_after(after)
    while at is not None:
        note = pause_words(facts) if facts.is_paused(at) else schedule.note(at)
        yield Tick(at, facts.name, note or "")
        at = schedule.next_after(at)
