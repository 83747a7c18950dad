"""Why a job ran, or did not: told from the rows there are, never guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobsup.actions.jobs import pause_words
from jobsup.actions.runs import get, serving_workers
from jobsup.clock import rfc3339
from jobsup.model import Reason, Source, Status
from jobsup.schedule import Schedule
from jobsup.schedule import compile as compile_schedule
from jobsup.store import jobs, leases, slots
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.overview import RunRow

MINUTE = timedelta(minutes=1)
LATE = timedelta(seconds=1)
"""Less than this is on time."""


@dataclass(frozen=True, slots=True)
class Story:
    """The answer: what became of it in one word, sentences in order, and the attempts they are about."""

    job: str
    at: datetime | None
    """The tick it is about; None for a run without one."""
    outcome: str
    """A status, or `not_due`, `not_yet`, `due`, `unknown`, `never_ran`."""
    sentences: tuple[str, ...]
    runs: tuple[RunRow, ...] = ()
    next_run: datetime | None = None


@dataclass(slots=True)
class _Teller:
    """What all sentences need."""

    database: Database
    now: datetime
    told: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        self.told.append(sentence)


def about_run(database: Database, dispatch_id: int) -> Story:
    """Tell the story of a run: all its attempts, and what it waits for. Raises NotFoundError."""
    run = get(database, dispatch_id)
    facts = jobs.get_job(database, run.job)
    return _story_of(database, facts, dispatch_id)


def about_job(database: Database, name: str) -> Story:
    """Tell the last that happened to a job, and what comes next. Raises NotFoundError."""
    facts = jobs.get_job(database, name)
    newest = slots.latest(database, facts.job_id)
    if newest is not None:
        return _story_of(database, facts, newest)
    teller = _Teller(database, database.now())
    teller.say("It has not run yet.")
    _say_next(teller, facts)
    return Story(name, None, "never_ran", tuple(teller.told), next_run=facts.next_run)


def about_instant(database: Database, name: str, instant: datetime) -> Story:
    """Tell what became of the tick at an instant (or within the minute it names). Raises NotFoundError."""
    facts = jobs.get_job(database, name)
    schedule = compile_schedule(facts.spec.schedule, name=name)
    tick = _tick(schedule, instant)
    for wanted in dict.fromkeys((instant, tick)):
        row = None if wanted is None else slots.at_instant(database, facts.job_id, wanted)
        if row is not None:
            return _story_of(database, facts, row, at=wanted)
    teller = _Teller(database, database.now())
    outcome = _without_row(teller, facts, schedule, instant, tick)
    return Story(name, tick or instant, outcome, tuple(teller.told), next_run=facts.next_run)


def _story_of(database: Database, facts: JobFacts, dispatch_id: int, at: datetime | None = None) -> Story:
    chain = tuple(get(database, each) for each in slots.attempts(database, dispatch_id))
    teller = _Teller(database, database.now())
    first, last = chain[0], chain[-1]
    _say_origin(teller, facts, first, at)
    for attempt in chain:
        _say_attempt(teller, attempt, is_only=len(chain) == 1)
    if last.status.is_terminal:
        _say_next(teller, facts)
    return Story(facts.name, at or first.scheduled_for, last.status, tuple(teller.told), chain, facts.next_run)


def _say_origin(teller: _Teller, facts: JobFacts, run: RunRow, at: datetime | None) -> None:
    if run.source is Source.SCHEDULE or (run.source is Source.RETRY and run.scheduled_for):
        tick = at or run.scheduled_for
        teller.say(f"Run {run.id} is the tick of {rfc3339(tick)}.")
        schedule = compile_schedule(facts.spec.schedule, name=facts.name)
        note = schedule.note(tick) if schedule is not None and tick is not None else None
        if note:
            teller.say(f"A clock change: {note}.")
    else:
        by = f" by {run.requested_by}" if run.requested_by else ""
        teller.say(f"Run {run.id} was asked for{by} at {rfc3339(run.created_at)}.")


def _say_attempt(teller: _Teller, run: RunRow, *, is_only: bool) -> None:
    subject = "It" if is_only else f"Attempt {run.retry_count + 1} (run {run.id})"
    match run.status:
        case Status.SKIPPED:
            teller.say(_skipped(run))
        case Status.PENDING:
            _say_waiting(teller, run, subject)
        case Status.IN_PROGRESS:
            since = f"has run since {rfc3339(run.started_at)}" if run.started_at else "is being started"
            teller.say(f"{subject} {since} on {run.worker_id}{_late(run)}.")
            if run.cancel_requested_at:
                by = f" by {run.cancel_requested_by}" if run.cancel_requested_by else ""
                teller.say(f"It is being cancelled{by}.")
        case _:
            teller.say(f"{subject} {_ended(run)}.")


def _skipped(run: RunRow) -> str:
    count = run.skipped_count or 1
    which = f"{count} ticks, up to {rfc3339(run.skipped_until)}, were" if count > 1 else "It was"
    why = _SKIP_WORDS.get(run.reason, str(run.reason))
    detail = f" ({run.error_message})" if run.error_message else ""
    return f"{which} skipped: {why}{detail}."


def _say_waiting(teller: _Teller, run: RunRow, subject: str) -> None:
    if run.available_at > teller.now:
        what = f"its retry delay: attempt {run.retry_count + 1} starts" if run.retry_of else "its time: it starts"
        teller.say(f"{subject} waits for {what} at {rfc3339(run.available_at)} at the earliest.")
        return
    holder = slots.holder(teller.database, run.id)
    if holder is not None:
        teller.say(f"{subject} waits for run {holder} of the same job to end.")
        return
    serving = serving_workers(teller.database, run.queue)
    if not serving:
        teller.say(f"{subject} waits for a worker: none that serves the queue {run.queue!r} is running.")
    elif run.target and run.target not in {row.node for row in serving}:
        teller.say(f"{subject} waits for a worker on {run.target}: none is running there.")
    else:
        busy = sum(row.current_job_id is not None for row in serving)
        teller.say(f"{subject} waits for a free worker: {busy} of the {len(serving)} that serve it are busy.")


def _ended(run: RunRow) -> str:
    took = ""
    if run.started_at and run.completed_at:
        took = f" after {_seconds(run.completed_at - run.started_at)}"
    where = f" on {run.worker_id}" + (f" at {run.host}" if run.host else "") if run.worker_id else ""
    verb = {
        Status.COMPLETED: "completed",
        Status.FAILED: "failed",
        Status.TIMEOUT: "was ended for time",
        Status.CANCELLED: "was cancelled",
    }[run.status]
    by = f" by {run.cancel_requested_by}" if run.cancel_requested_by else ""
    return f"{verb}{by}{took}{_late(run)}{where}{_cause(run)}"


def _cause(run: RunRow) -> str:
    words = [_END_WORDS[run.reason]] if run.reason in _END_WORDS else []
    if run.exit_code is not None:
        words.append(f"exit code {run.exit_code}")
    if run.signal is not None:
        words.append(f"signal {run.signal}")
    if run.error_message:
        words.append(run.error_message)
    return f": {', '.join(dict.fromkeys(words))}" if words else ""


def _late(run: RunRow) -> str:
    """Say how long after its time it started, and nothing when that is no time."""
    due = max(run.scheduled_for, run.available_at) if run.retry_of and run.scheduled_for else run.scheduled_for
    if run.started_at is None or due is None or run.started_at - due < LATE:
        return ""
    return f", started {_seconds(run.started_at - due)} late"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.1f} s"


def _say_next(teller: _Teller, facts: JobFacts) -> None:
    if facts.retired_at is not None:
        teller.say(f"The job was removed from its file at {rfc3339(facts.retired_at)}.")
    elif not facts.is_active:
        teller.say("The job is disabled in its file, so nothing comes next.")
    elif facts.spec.schedule.is_manual:
        teller.say("The job has no schedule: it runs when somebody asks for it.")
    elif facts.next_run is None:
        teller.say("Its schedule has no further tick.")
    else:
        will = f"will be skipped, for it is {pause_words(facts)}" if facts.is_paused(facts.next_run) else "will run"
        teller.say(f"The next tick is {rfc3339(facts.next_run)}: it {will}.")


def _tick(schedule: Schedule | None, instant: datetime) -> datetime | None:
    """Return the tick at an instant; an instant on a full minute means the first tick within it."""
    if schedule is None:
        return None
    at = schedule.last_before(instant)
    if at == instant:
        return at
    after = schedule.next_after(instant)
    is_minute = instant.second == 0 and instant.microsecond == 0
    return after if is_minute and after is not None and after < instant + MINUTE else None


def _without_row(
    teller: _Teller, facts: JobFacts, schedule: Schedule | None, instant: datetime, tick: datetime | None
) -> str:
    if schedule is None:
        teller.say("The job has no schedule, so it was not due then.")
        return "not_due"
    if tick is None:
        before, after = schedule.last_before(instant), schedule.next_after(instant)
        teller.say("By its schedule of today it is not due then.")
        teller.say(f"The tick before is {rfc3339(before) or 'none'}, the one after {rfc3339(after) or 'none'}.")
        return "not_due"
    if tick > teller.now:
        teller.say(f"The tick of {rfc3339(tick)} has not come yet.")
        _say_next(teller, facts)
        return "not_yet"
    if facts.is_active and facts.next_run is not None and facts.next_run <= tick:
        teller.say(f"The tick of {rfc3339(tick)} is due, and no scheduler has dispatched it yet: {_leader(teller)}.")
        return "due"
    if tick < facts.created_at:
        teller.say(f"The job was first defined at {rfc3339(facts.created_at)}, after that instant.")
    elif tick < facts.updated_at:
        teller.say(
            f"There is no record of it; the job's definition changed at {rfc3339(facts.updated_at)}, after that."
        )
    else:
        teller.say("There is no record of it; ended runs are deleted after scheduler.cleanup_retention_days.")
    return "unknown"


def _leader(teller: _Teller) -> str:
    leader = leases.current(teller.database)
    if leader is None or leader.until < teller.now:
        since = f" since {rfc3339(leader.until)}" if leader is not None else ""
        return f"none is running{since}"
    return f"the one on {leader.node} leads until {rfc3339(leader.until)}"


_SKIP_WORDS = {
    Reason.OVERLAP: 'an earlier run had not ended, and the job says overlap = "skip"',
    Reason.PAUSED: "the job was paused",
    Reason.MISSED: "nothing was running at that instant, and catch_up does not ask for it",
    Reason.MISFIRE_GRACE: "it would have been later than misfire_grace allows",
    Reason.CATCH_UP_LIMIT: "more ticks were missed than catch_up_limit lets run",
    Reason.DST_GAP: 'its local time did not exist that day, and the job says dst = "skip"',
}

_END_WORDS = {
    Reason.SPAWN: "its process could not be started",
    Reason.NOT_RUNNABLE: "it cannot be run, so it is not retried",
    Reason.EXCEPTION: "it raised",
    Reason.INTERNAL: "jobsup could not run it",
    Reason.DEADLINE: "it ran longer than its timeout",
    Reason.WORKER_LOST: "its worker was lost",
    Reason.SHUTDOWN: "the drain of its worker ran out",
    Reason.NO_OWNER: "nobody owned it any more",
    Reason.REPLACED: "a newer tick took its place",
    Reason.JOB_REMOVED: "the job was removed or disabled before it started",
}
