"""Why a job ran, or did not: told from the rows there are, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from jobsup.actions.jobs import depends_words
from jobsup.actions.marks import blackouts_of, mark
from jobsup.actions.runs import get
from jobsup.actions.telling import SKIP_WORDS, Teller, say_attempt, say_filled_in, say_followers, say_origin
from jobsup.clock import rfc3339
from jobsup.model import Skip, Status
from jobsup.schedule import Schedule
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.base import MOMENT
from jobsup.store import jobs, leases, slots
from jobsup.store.engine import Database
from jobsup.store.jobs import JobFacts
from jobsup.store.run_rows import RunRow
from jobsup.store.tables import TROUBLES_IN_ORDER

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


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
        first = slots.attempts(database, newest)[0]
        return _story_of_tick(database, facts, first, None)
    teller = Teller(database, database.now())
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
            return _story_of_tick(database, facts, row, wanted)
    teller = Teller(database, database.now())
    outcome = _without_row(teller, facts, schedule, instant, tick)
    return Story(name, tick or instant, outcome, tuple(teller.told), next_run=facts.next_run)


def _story_of_tick(database: Database, facts: JobFacts, dispatch_id: int, at: datetime | None) -> Story:
    """Tell of a run by its first attempt; of a tick that was due on several hosts, what became of it on each."""
    each = slots.beside(database, dispatch_id)
    if len(each) < 2:
        return _story_of(database, facts, dispatch_id, at)
    chains = [tuple(get(database, attempt) for attempt in slots.attempts(database, first)) for first in each]
    teller = Teller(database, database.now())
    tick = at or chains[0][0].scheduled_for
    teller.say(f"The tick of {rfc3339(tick)} was due on {len(each)} hosts, in a run for each.")
    for attempt in chain.from_iterable(chains):
        say_attempt(teller, facts, attempt, is_only=False)
    last = [attempts[-1].status for attempts in chains]
    if all(status.is_terminal for status in last):
        _say_next(teller, facts)
    worst = next((status for status in _WORST_FIRST if status in last), last[0])
    return Story(facts.name, tick, worst, tuple(teller.told), tuple(chain.from_iterable(chains)), facts.next_run)


_WORST_FIRST = (Status.IN_PROGRESS, Status.PENDING, *TROUBLES_IN_ORDER)
"""Which of several ends is the answer: one that is still to come, else the worst."""


def _story_of(database: Database, facts: JobFacts, dispatch_id: int, at: datetime | None = None) -> Story:
    attempts = tuple(get(database, each) for each in slots.attempts(database, dispatch_id))
    teller = Teller(database, database.now())
    first, last = attempts[0], attempts[-1]
    say_origin(teller, facts, first, at)
    for attempt in attempts:
        say_attempt(teller, facts, attempt, is_only=len(attempts) == 1)
    if last.status.is_terminal:
        say_filled_in(teller, facts, first, at)
        say_followers(teller, last)
        _say_next(teller, facts)
    return Story(facts.name, at or first.scheduled_for, last.status, tuple(teller.told), attempts, facts.next_run)


def _say_next(teller: Teller, facts: JobFacts) -> None:
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


def _say_depends(teller: Teller, facts: JobFacts) -> None:
    teller.say(f"It starts {depends_words(facts.spec)}.")
    for name, ended_by in slots.ends_seen(teller.database, facts.job_id):
        if ended_by is not None:
            teller.say(f"Of {name} run {ended_by} has ended so; it waits for the others.")


def _say_tick_to_come(teller: Teller, facts: JobFacts, tick: datetime) -> None:
    """Say what will become of a tick by what is known today."""
    schedule = compile_schedule(facts.spec.schedule, name=facts.name)
    left_out = _left_out(schedule, tick) if schedule is not None else None
    if left_out is not None:
        teller.say(f"The tick of {rfc3339(tick)} will be skipped: {SKIP_WORDS[left_out.reason]}.")
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


def _say_tick_at(teller: Teller, facts: JobFacts, schedule: Schedule, tick: datetime) -> None:
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
    teller: Teller, facts: JobFacts, schedule: Schedule | None, instant: datetime, tick: datetime | None
) -> str:
    if schedule is None:
        teller.say("The job has no schedule, so it was not due then.")
        return "not_due"
    left_out = _left_out(schedule, instant) if tick is None else None
    if left_out is not None:
        will = "will be" if left_out.last > teller.now else "is"
        which = "What it has then" if left_out.count == 1 else f"Each of its {left_out.count} ticks of that day"
        teller.say(f"{which} {will} skipped: {SKIP_WORDS[left_out.reason]}.")
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


def _leader(teller: Teller) -> str:
    leader = leases.current(teller.database)
    if leader is None or leader.until < teller.now:
        since = f" since {rfc3339(leader.until)}" if leader is not None else ""
        return f"none is running{since}"
    return f"the one on {leader.node} leads until {rfc3339(leader.until)}"
