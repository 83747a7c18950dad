"""What people do to jobs: choose them, pause and resume them, and ask when they run next."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from jobsup.actions.marks import blackouts_of, mark, pause_words
from jobsup.errors import NotFoundError, UsageError
from jobsup.model import BlackoutSpec, DependsMode, DependsWhen, JobSpec, On
from jobsup.schedule import compile as compile_schedule
from jobsup.store import hosts, jobs, notifier
from jobsup.store.engine import Database
from jobsup.store.hosts import Host
from jobsup.store.jobs import JobFacts

__all__ = ["Tick", "choose", "depends_words", "next_ticks", "pause", "pause_words", "resume", "waits_for"]


@dataclass(frozen=True, slots=True)
class Tick:
    """An instant at which a job is due."""

    at: datetime
    job: str
    note: str = ""
    """What a clock change, a calendar or a blackout does to it, or why it will not run."""
    starts: datetime | None = None
    """When it can start; None when it will be skipped."""
    hosts: tuple[str, ...] | None = None
    """Of a job that runs on each host, those that would have a run now; None: it runs on one, whichever."""


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
    blackouts = blackouts_of(database)
    living = hosts.living_now(database) if any(facts.spec.on is On.EACH for facts in found) else []
    ticks = (_ticks(facts, blackouts.get(facts.set_name, ()), after, living) for facts in found)
    return list(islice(heapq.merge(*ticks, key=lambda tick: tick.at), count))


def waits_for(database: Database, names: Sequence[str]) -> list[str]:
    """Say of those of the jobs that start when others end which these are, a sentence each."""
    found = [jobs.get_job(database, name) for name in names]
    return [f"{facts.name} starts {depends_words(facts.spec)}" for facts in found if facts.spec.depends_on]


def depends_words(spec: JobSpec) -> str:
    """Say which ends start a job: `when load and clean have completed since its last run`."""
    ended = {
        DependsWhen.SUCCESS: "completed",
        DependsWhen.FAILURE: "failed after the last retry",
        DependsWhen.ANY: "ended",
    }[spec.depends_when]
    if len(spec.depends_on) == 1:
        return f"when {spec.depends_on[0]} has {ended}"
    if spec.depends_mode is DependsMode.ANY:
        return f"when {' or '.join(spec.depends_on)} has {ended}"
    return f"when {' and '.join(spec.depends_on)} have {ended} since its last such start"


def _ticks(
    facts: JobFacts, blackouts: Sequence[BlackoutSpec], after: datetime, living: Sequence[Host]
) -> Iterator[Tick]:
    schedule = compile_schedule(facts.spec.schedule, name=facts.name) if facts.is_active else None
    if schedule is None:
        return
    spec = facts.spec
    able = tuple(hosts.able(living, spec.queue, spec.requires)) if spec.on is On.EACH else None
    at = schedule.next_after(after)
    while at is not None:
        marked = mark(facts, schedule, blackouts, at)
        yield Tick(at, facts.name, marked.text, marked.starts, able)
        at = schedule.next_after(at)
