"""Why a job ran, or did not: told from the rows there are, never guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobsup.actions.jobs import depends_words
from jobsup.actions.marks import blackouts_of, mark, pause_words
from jobsup.actions.runs import get, serving_workers
from jobsup.clock import rfc3339
from jobsup.model import Reason, Skip, Source, Status
from jobsup.schedule import Schedule
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import MOMENT
from jobsup.store import jobs, leases, slots
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.overview import RunRow

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LATE = timedelta(seconds=1)
"""Less than this is on time."""
NAMED_MAX = 10
"""Runs named in one sentence."""


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
        _say_attempt(teller, facts, attempt, is_only=len(chain) == 1)
    if last.status.is_terminal:
        _say_filled_in(teller, facts, first, at)
        _say_followers(teller, last)
        _say_next(teller, facts)
    return Story(facts.name, at or first.scheduled_for, last.status, tuple(teller.told), chain, facts.next_run)


def _say_origin(teller: _Teller, facts: JobFacts, run: RunRow, at: datetime | None) -> None:
    if run.source is Source.DEPENDENCY:
        teller.say(f"Run {run.id} was started by the end of run {run.parent_id} at {rfc3339(run.created_at)}.")
    elif run.source is Source.BACKFILL:
        by = f" by {run.requested_by}" if run.requested_by else ""
        teller.say(f"Run {run.id} was filled in for the tick of {rfc3339(run.scheduled_for)}{by}.")
    elif run.source is Source.SCHEDULE or (run.source is Source.RETRY and run.scheduled_for):
        tick = at or run.scheduled_for
        teller.say(f"Run {run.id} is the tick of {rfc3339(tick)}.")
        note = run.note or _note(facts, tick)
        if note:
            teller.say(f"What is special about it: {note}.")
    else:
        by = f" by {run.requested_by}" if run.requested_by else ""
        teller.say(f"Run {run.id} was asked for{by} at {rfc3339(run.created_at)}.")


def _note(facts: JobFacts, tick: datetime | None) -> str | None:
    schedule = compile_schedule(facts.spec.schedule, name=facts.name)
    return schedule.note(tick) if schedule is not None and tick is not None else None


def _say_attempt(teller: _Teller, facts: JobFacts, run: RunRow, *, is_only: bool) -> None:
    subject = "It" if is_only else f"Attempt {run.retry_count + 1} (run {run.id})"
    match run.status:
        case Status.SKIPPED:
            teller.say(_skipped(run))
        case Status.PENDING:
            _say_waiting(teller, facts, run, subject)
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


def _say_waiting(teller: _Teller, facts: JobFacts, run: RunRow, subject: str) -> None:
    if run.available_at > teller.now:
        teller.say(f"{subject} waits for {_delay(run)} at {rfc3339(run.available_at)} at the earliest.")
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
    serving = serving_workers(teller.database, run.queue)
    if not serving:
        teller.say(f"{subject} waits for a worker: none that serves the queue {run.queue!r} is running.")
    elif run.target and run.target not in {row.node for row in serving}:
        teller.say(f"{subject} waits for a worker on {run.target}: none is running there.")
    else:
        busy = sum(row.current_job_id is not None for row in serving)
        before = slots.ahead(teller.database, run.id)
        more = f"; {before} waiting {'run stands' if before == 1 else 'runs stand'} before it" if before else ""
        teller.say(f"{subject} waits for a free worker: {busy} of the {len(serving)} that serve it are busy{more}.")


def _delay(run: RunRow) -> str:
    """Say what a run waits for that may not start yet."""
    if run.retry_of:
        return f"its retry delay: attempt {run.retry_count + 1} starts"
    if run.note and "held by" in run.note:
        return f"the end of a blackout ({run.note}): it starts"
    if run.source is Source.SCHEDULE:
        return "its jitter: it starts"
    return "its time: it starts"


def _all_taken(places: int) -> str:
    return "its one place is taken" if places == 1 else f"its {places} places are taken"


def _pool_name(run: RunRow) -> str:
    return f'"{(run.pool or "").partition("/")[2]}"'


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


def _say_filled_in(teller: _Teller, facts: JobFacts, run: RunRow, at: datetime | None) -> None:
    """Tell of the run that a skipped tick was given afterwards."""
    tick = at or run.scheduled_for
    if run.status is not Status.SKIPPED or tick is None:
        return
    filled = slots.filled_in(teller.database, facts.job_id, tick)
    if filled is not None:
        teller.say(f"It was filled in afterwards, as run {filled}, which is {get(teller.database, filled).status}.")


def _say_followers(teller: _Teller, run: RunRow) -> None:
    for dispatch_id, job in slots.followers(teller.database, run.id)[:NAMED_MAX]:
        teller.say(f"Its end started run {dispatch_id} of {job}.")


def _say_next(teller: _Teller, facts: JobFacts) -> None:
    if facts.retired_at is not None:
        teller.say(f"The job was removed from its file at {rfc3339(facts.retired_at)}.")
    elif not facts.is_active:
        teller.say("The job is disabled in its file, so nothing comes next.")
    elif facts.spec.schedule.is_manual:
        if facts.spec.depends_on:
            _say_depends(teller, facts)
        else:
            teller.say("The job has no schedule: it runs when somebody asks for it.")
    elif facts.next_run is None:
        teller.say("Its schedule has no further tick.")
    else:
        _say_tick_to_come(teller, facts, facts.next_run)


def _say_depends(teller: _Teller, facts: JobFacts) -> None:
    teller.say(f"It starts {depends_words(facts.spec)}.")
    for name, ended_by in slots.ends_seen(teller.database, facts.job_id):
        if ended_by is not None:
            teller.say(f"Of {name} run {ended_by} has ended so; it waits for the others.")


def _say_tick_to_come(teller: _Teller, facts: JobFacts, tick: datetime) -> None:
    """Say what will become of a tick by what is known today."""
    schedule = compile_schedule(facts.spec.schedule, name=facts.name)
    left_out = _left_out(schedule, tick) if schedule is not None else None
    if left_out is not None:
        teller.say(f"The tick of {rfc3339(tick)} will be skipped: {_SKIP_WORDS[left_out.reason]}.")
        following = schedule.next_after(tick) if schedule is not None else None
        if following is None:
            return
        tick = following
    if schedule is None:
        return
    marked = mark(facts, schedule, blackouts_of(teller.database).get(facts.set_name, ()), tick)
    special = f" ({marked.text})" if marked.words else ""
    if marked.starts is None:
        teller.say(f"The next tick is {rfc3339(tick)}: it will be skipped, for it is {marked.text}.")
    elif marked.starts > tick:
        teller.say(f"The next tick is {rfc3339(tick)}: it will run, from {rfc3339(marked.starts)} on{special}.")
    else:
        teller.say(f"The next tick is {rfc3339(tick)}: it will run{special}.")


def _say_tick_at(teller: _Teller, facts: JobFacts, schedule: Schedule, tick: datetime) -> None:
    """Say the same of a tick that others come before."""
    marked = mark(facts, schedule, blackouts_of(teller.database).get(facts.set_name, ()), tick)
    if marked.starts is None:
        teller.say(f"It will be skipped, for it is {marked.text}.")
    elif marked.words:
        teller.say(f"It will run, from {rfc3339(marked.starts)} on ({marked.text}).")
    else:
        teller.say("It will run.")


def _left_out(schedule: Schedule, instant: datetime) -> Skip | None:
    """Return the range of ticks around an instant that a clock change or a calendar takes away."""
    for skip in schedule.skips(instant - MOMENT, instant + DAY):
        if skip.first > instant:
            return None
        if instant <= skip.last and schedule.last_before(instant) != instant:
            return skip
    return None


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
    left_out = _left_out(schedule, instant) if tick is None else None
    if left_out is not None:
        will = "will be" if left_out.last > teller.now else "is"
        which = "What it has then" if left_out.count == 1 else f"Each of its {left_out.count} ticks of that day"
        teller.say(f"{which} {will} skipped: {_SKIP_WORDS[left_out.reason]}.")
        _say_next(teller, facts)
        return "not_yet" if left_out.last > teller.now else "unknown"
    if tick is None:
        before, after = schedule.last_before(instant), schedule.next_after(instant)
        teller.say("By its schedule of today it is not due then.")
        teller.say(f"The tick before is {rfc3339(before) or 'none'}, the one after {rfc3339(after) or 'none'}.")
        return "not_due"
    if tick > teller.now:
        teller.say(f"The tick of {rfc3339(tick)} has not come yet.")
        if facts.is_active and tick != facts.next_run:
            _say_tick_at(teller, facts, schedule, tick)
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
    Reason.OVERLAP: "an earlier run had not ended, and its runs do not overlap",
    Reason.PAUSED: "the job was paused",
    Reason.MISSED: "nothing was running at that instant, and catch_up does not ask for it",
    Reason.MISFIRE_GRACE: "it would have been later than misfire_grace allows",
    Reason.CATCH_UP_LIMIT: "more ticks were missed than catch_up_limit lets run",
    Reason.QUEUE_FULL: "as many runs were waiting as queue_limit allows",
    Reason.CALENDAR: "the job's calendar leaves that day out",
    Reason.BLACKOUT: "a blackout covered it",
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
