"""The story of a run in sentences: where it comes from, what it waits for, how it ended, what followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobsup.actions.accounts import account_document, account_words, progress_document, progress_words
from jobsup.actions.marks import pause_words
from jobsup.actions.runs import get
from jobsup.actions.serving import asked_by, lack, living, serving
from jobsup.clock import rfc3339
from jobsup.model import Reason, Source, Status
from jobsup.schedule import compile as compile_schedule
from jobsup.store import slots
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.run_rows import RunRow

LATE = timedelta(seconds=1)
"""Less than this is on time."""
NAMED_MAX = 10
"""Runs named in one sentence."""


@dataclass(slots=True)
class Teller:
    """What all sentences need."""

    database: Database
    now: datetime
    told: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        self.told.append(sentence)


def say_origin(teller: Teller, facts: JobFacts, run: RunRow, at: datetime | None) -> None:
    note = run.note
    if run.source is Source.DEPENDENCY:
        teller.say(f"Run {run.id} was started by the end of run {run.parent_id} at {rfc3339(run.created_at)}.")
    elif run.source is Source.BACKFILL:
        by = f" by {run.requested_by}" if run.requested_by else ""
        teller.say(f"Run {run.id} was filled in for the tick of {rfc3339(run.scheduled_for)}{by}.")
    elif run.source is Source.SCHEDULE or (run.source is Source.RETRY and run.scheduled_for):
        tick = at or run.scheduled_for
        where = f" on {run.target}" if run.target else ""
        teller.say(f"Run {run.id} is the tick of {rfc3339(tick)}{where}.")
        note = run.note or _note(facts, tick)
    else:
        by = f" by {run.requested_by}" if run.requested_by else ""
        teller.say(f"Run {run.id} was asked for{by} at {rfc3339(run.created_at)}.")
    if note:
        teller.say(f"What is special about it: {note}.")


def _note(facts: JobFacts, tick: datetime | None) -> str | None:
    schedule = compile_schedule(facts.spec.schedule, name=facts.name)
    return schedule.note(tick) if schedule is not None and tick is not None else None


def say_attempt(teller: Teller, facts: JobFacts, run: RunRow, *, is_only: bool) -> None:
    if is_only:
        subject = "It"
    elif run.target:
        subject = f"On {run.target} run {run.id}" + (f" (attempt {run.retry_count + 1})" if run.retry_of else "")
    else:
        subject = f"Attempt {run.retry_count + 1} (run {run.id})"
    match run.status:
        case Status.SKIPPED:
            teller.say(_skipped(run, subject))
        case Status.PENDING:
            _say_waiting(teller, facts, run, subject)
        case Status.IN_PROGRESS:
            since = f"has run since {rfc3339(run.started_at)}" if run.started_at else "is being started"
            teller.say(f"{subject} {since} on {run.worker_id}{_late(run)}.")
            if far := progress_words(progress_document(run)):
                teller.say(f"It says how far it is: {far}.")
            if run.cancel_requested_at:
                by = f" by {run.cancel_requested_by}" if run.cancel_requested_by else ""
                teller.say(f"It is being cancelled{by}.")
        case _:
            teller.say(f"{subject} {_ended(run)}.")
            if run.status is not Status.COMPLETED and (far := progress_words(progress_document(run))):
                teller.say(f"It last said how far it was: {far}.")
            if cost := account_words(account_document(run)):
                teller.say(f"It used {cost}.")


def _skipped(run: RunRow, subject: str) -> str:
    count = run.skipped_count or 1
    which = f"{count} ticks, up to {rfc3339(run.skipped_until)}, were" if count > 1 else f"{subject} was"
    why = SKIP_WORDS.get(run.reason, str(run.reason))
    detail = f" ({run.error_message})" if run.error_message else ""
    return f"{which} skipped: {why}{detail}."


def _say_waiting(teller: Teller, facts: JobFacts, run: RunRow, subject: str) -> None:
    if run.available_at > teller.now:
        now = f"; `jobsup retry {run.id}` starts it now" if run.retry_of else ""
        teller.say(f"{subject} waits for {_delay(run)} at {rfc3339(run.available_at)} at the earliest{now}.")
        return
    if run.source is Source.BACKFILL and facts.is_paused(teller.now):
        teller.say(f"{subject} waits for the end of a pause: the job is {pause_words(facts)}.")
        return
    holder = slots.holder(teller.database, run.id)
    if holder is not None:
        teller.say(f"{subject} waits for run {holder} of the same job to end.")
        return
    pool = slots.pool_users(teller.database, run.id)
    if pool is not None and len(pool[1]) >= pool[0]:
        taken = ", ".join(map(str, pool[1][:NAMED_MAX])) + (" ..." if len(pool[1]) > NAMED_MAX else "")
        teller.say(f"{subject} waits for a place of the pool {_pool_name(run)}: {_all_taken(pool[0])} by run {taken}.")
        return
    present = living(teller.database)
    missing = lack(present, asked_by(run))
    if missing is not None:
        teller.say(f"{subject} waits for a worker: {missing}.")
    else:
        able = serving(present, asked_by(run))
        busy = sum(row.current_job_id is not None for row in able)
        before = slots.ahead(teller.database, run.id)
        more = f"; {before} waiting {'run stands' if before == 1 else 'runs stand'} before it" if before else ""
        teller.say(f"{subject} waits for a free worker: {busy} of the {len(able)} that serve it are busy{more}.")


def _delay(run: RunRow) -> str:
    """Say what a run waits for that may not start yet."""
    if run.note and "held by" in run.note:
        return f"the end of a blackout ({run.note}): it starts"
    if run.retry_of:
        return f"its retry delay: attempt {run.retry_count + 1} starts"
    if run.source is Source.SCHEDULE:
        return "its jitter: it starts"
    return "its time: it starts"


def _all_taken(places: int) -> str:
    return "its one place is taken" if places == 1 else f"its {places} places are taken"


def _pool_name(run: RunRow) -> str:
    return f'"{(run.pool or "").partition("/")[2]}"'


_VERBS = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.TIMEOUT: "was ended for time",
    Status.CANCELLED: "was cancelled",
}
_LOST_VERBS = {Reason.WORKER_LOST: "was lost", Reason.NO_OWNER: "was lost", Reason.SHUTDOWN: "was ended"}
"""What TIMEOUT means where it was not the run's own time that ran out."""


def _ended(run: RunRow) -> str:
    took = ""
    if run.started_at and run.completed_at:
        took = f" after {_seconds(run.completed_at - run.started_at)}"
    where = f" on {run.worker_id}" + (f" at {run.host}" if run.host else "") if run.worker_id else ""
    verb = _LOST_VERBS.get(run.reason) if run.status is Status.TIMEOUT else None
    verb = verb or _VERBS[run.status]
    by = f" by {run.cancel_requested_by}" if run.cancel_requested_by else ""
    return f"{verb}{by}{took}{_late(run)}{where}{_cause(run)}"


def _cause(run: RunRow) -> str:
    told = run.error_message or ""
    says_itself = run.reason is Reason.WORKER_LOST and told.startswith("its worker ")  # and which one it was
    words = [_END_WORDS[run.reason]] if run.reason in _END_WORDS and not says_itself else []
    if run.reason is Reason.DEADLINE and told.startswith("ran longer"):  # and which timeout it was
        words, told = [f"it {told}"], ""
    if run.exit_code is not None:
        words.append(f"exit code {run.exit_code}")
    if run.signal is not None:
        words.append(f"signal {run.signal}")
    if told:
        words.append(told)
    return f": {', '.join(dict.fromkeys(words))}" if words else ""


def _late(run: RunRow) -> str:
    """Say how long after its time it started, and nothing when that is no time."""
    due = max(run.scheduled_for, run.available_at) if run.retry_of and run.scheduled_for else run.scheduled_for
    if run.started_at is None or due is None or run.started_at - due < LATE:
        return ""
    return f", started {_seconds(run.started_at - due)} late"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.1f} s"


def say_filled_in(teller: Teller, facts: JobFacts, run: RunRow, at: datetime | None) -> None:
    """Tell of the run that a skipped tick was given afterwards."""
    tick = at or run.scheduled_for
    if run.status is not Status.SKIPPED or tick is None:
        return
    filled = slots.filled_in(teller.database, facts.job_id, tick)
    if filled is not None:
        teller.say(f"It was filled in afterwards, as run {filled}, which is {get(teller.database, filled).status}.")


def say_followers(teller: Teller, run: RunRow) -> None:
    for dispatch_id, job in slots.followers(teller.database, run.id)[:NAMED_MAX]:
        teller.say(f"Its end started run {dispatch_id} of {job}.")


SKIP_WORDS = {
    Reason.OVERLAP: "an earlier run had not ended, and its runs do not overlap",
    Reason.PAUSED: "the job was paused",
    Reason.MISSED: "nothing was running at that instant, and catch_up does not ask for it",
    Reason.MISFIRE_GRACE: "it would have been later than misfire_grace allows",
    Reason.CATCH_UP_LIMIT: "more ticks were missed than catch_up_limit lets run",
    Reason.QUEUE_FULL: "as many runs were waiting as queue_limit allows",
    Reason.CALENDAR: "the job's calendar leaves that day out",
    Reason.BLACKOUT: "a blackout covered it",
    Reason.NO_HOST: 'no living host had a worker that could run it, and the job says on = "each"',
    Reason.DST_GAP: 'its local time did not exist that day, and the job says dst = "skip"',
}

_END_WORDS = {
    Reason.SPAWN: "its process could not be started",
    Reason.NOT_RUNNABLE: "it cannot be run, so it is not retried",
    Reason.OOM: "the kernel ended it for want of memory",
    Reason.EXCEPTION: "it raised",
    Reason.INTERNAL: "jobsup could not run it",
    Reason.DEADLINE: "it ran longer than its timeout",
    Reason.WORKER_LOST: "its worker was lost",
    Reason.SHUTDOWN: "the drain of its worker ran out",
    Reason.NO_OWNER: "nobody owned it any more",
    Reason.REPLACED: "a newer tick took its place",
    Reason.HOST_GONE: "its host was not back in time",
    Reason.JOB_REMOVED: "the job was removed or disabled before it started",
}
