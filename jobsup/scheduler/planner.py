"""What becomes of a due job's ticks: a pure decision from its schedule, its policies and the time.

A tick since `watched_since` is on time, however late the loop got to it: it runs. An earlier one was missed, and
`catch_up` decides. Ticks of a pause and of a gap in the clock are SKIPPED whenever they were. Ranges are counted by
arithmetic, so that years of down-time cost no more than a second of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, islice

from jobsup.clock import rfc3339
from jobsup.model import BlackoutPolicy, BlackoutSpec, CatchUp, DueJob, Reason, Skip, TickPlan
from jobsup.schedule import Schedule, uses_name
from jobsup.schedule.blackouts import Window, window_at, window_over, windows_between
from jobsup.schedule.due import next_due, zone_rules
from jobsup.schedule.jitter import jitter_of

MOMENT = timedelta(microseconds=1)
"""The smallest step of an instant: (t - MOMENT, u] is [t, u]."""
WINDOWS_MAX = 1000
"""Blackout windows of one due time that are told apart; only years of down-time have more."""


@dataclass(frozen=True, slots=True)
class Span:
    """The instants in (after, until]."""

    after: datetime
    until: datetime

    def before(self, instant: datetime) -> Span:
        """Return the part strictly before an instant; it may be empty."""
        return Span(self.after, min(self.until, instant - MOMENT))

    def since(self, instant: datetime) -> Span:
        """Return the part from an instant on; it may be empty."""
        return Span(max(self.after, instant - MOMENT), self.until)

    @property
    def is_empty(self) -> bool:
        return self.after >= self.until


def plan(
    job: DueJob,
    schedule: Schedule | None,
    *,
    now: datetime,
    watched_since: datetime,
    down_since: datetime | None = None,
) -> TickPlan:
    """Decide on every tick of `job` from its `next_run` to `now`, and name the tick after them.

    `down_since` is until when somebody watched before `watched_since`, where that is known.
    """
    if schedule is None:
        return TickPlan(job.job_id, job.next_run, None)
    due = Span(job.next_run - MOMENT, now)
    if due.is_empty:  # the clock was set back since it was read
        return TickPlan(job.job_id, job.next_run, job.next_run, zone_fingerprint=zone_rules(job.rules.schedule, now))
    paused, free = _split_pause(job, due, now)
    barred, free = _split_blackouts(job, free)
    missed = [span.before(watched_since) for span in free]
    on_time = [span.since(watched_since) for span in free]
    runs, skips = _catch_up(job, schedule, missed, now)
    skips = [replace(skip, text=_down_text(down_since, watched_since)) for skip in skips]
    too_late, fresh = _split_grace(job, on_time, now)
    runs += _ticks(schedule, fresh)
    skips += _skips(schedule, too_late, Reason.MISFIRE_GRACE)
    skips += [replace(skip, text=_pause_text(job)) for skip in _skips(schedule, [paused], Reason.PAUSED)]
    for window, span in barred:
        skips += [replace(skip, text=window.words) for skip in _skips(schedule, [span], Reason.BLACKOUT)]
    skips += _left_out(schedule, due)
    arranged = _arrange(job, schedule, sorted(runs), now, watched_since)
    skips += arranged.skips
    skips.sort(key=lambda skip: skip.first)
    return TickPlan(
        job.job_id,
        job.next_run,
        next_due(schedule, now),
        tuple(arranged.runs),
        tuple(skips),
        starts=arranged.starts,
        held=frozenset(arranged.held),
        notes=arranged.notes,
        zone_fingerprint=zone_rules(job.rules.schedule, now),
    )


def minds_its_name(job: DueJob) -> bool:
    """Tell whether a job's ticks, or when they start, depend on what it is called."""
    return bool(job.rules.jitter) or uses_name(job.rules.schedule)


@dataclass(slots=True)
class _Arranged:
    """When the ticks that run start, and which of them one other runs for."""

    runs: list[datetime] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    starts: dict[datetime, datetime] = field(default_factory=dict)
    held: list[datetime] = field(default_factory=list)
    notes: dict[datetime, str] = field(default_factory=dict)


def _arrange(
    job: DueJob, schedule: Schedule, ticks: list[datetime], now: datetime, watched_since: datetime
) -> _Arranged:
    """Delay starts by the job's jitter, and to the end of a blackout that they would fall into."""
    made = _Arranged()
    first_until: dict[datetime, datetime] = {}
    for tick in ticks:
        start = tick + jitter_of(job.name, tick, job.rules.jitter)
        if tick < watched_since:
            start = max(start, now)  # it was missed, and starts now: that is the time that must be free
        window = window_over(job.blackouts, start) if job.blackouts else None
        words = []
        if window is not None and window.policy is BlackoutPolicy.SKIP:
            made.skips.append(Skip(tick, tick, 1, Reason.BLACKOUT, window.words))
            continue
        if window is not None:
            first = first_until.setdefault(window.end, tick)
            if first != tick:
                _stand_in(made.skips, tick, f"{window.words}: the tick of {rfc3339(first)} runs for all it held")
                continue
            start = window.end
            made.held.append(tick)
            words.append(f"held by {window.words}")
        if schedule.may_have_notes(tick - MOMENT, tick):
            words += [note] if (note := schedule.note(tick)) else []
        if words:
            made.notes[tick] = "; ".join(reversed(words))
        if start > now:
            made.starts[tick] = start
        made.runs.append(tick)
    return made


def _stand_in(skips: list[Skip], tick: datetime, text: str) -> None:
    """Tell that another tick runs for this one; a row of them is one range."""
    if skips and skips[-1].text == text:
        last = skips.pop()
        skips.append(Skip(last.first, tick, last.count + 1, Reason.BLACKOUT, text))
    else:
        skips.append(Skip(tick, tick, 1, Reason.BLACKOUT, text))


def _down_text(down_since: datetime | None, watched_since: datetime) -> str:
    """Say from when to when nothing was up, for the ticks of that time."""
    since = f"from {rfc3339(down_since)} " if down_since is not None else ""
    return f"no scheduler was up {since}until {rfc3339(watched_since)}"


def _split_blackouts(job: DueJob, spans: list[Span]) -> tuple[list[tuple[Window, Span]], list[Span]]:
    """Cut what falls into blackouts that skip out of the due time; what a blackout holds is looked at tick by tick."""
    blackouts = [blackout for blackout in job.blackouts if blackout.policy is BlackoutPolicy.SKIP]
    barred: list[tuple[Window, Span]] = []
    free: list[Span] = []
    for span in spans:
        rest = span
        for window in _windows(blackouts, span):
            inside = rest.since(window.start).before(window.end)
            if not inside.is_empty:
                barred.append((window, inside))
                free.append(rest.before(window.start))
                rest = rest.since(window.end)
        free.append(rest)
    return barred, [span for span in free if not span.is_empty]


def _windows(blackouts: list[BlackoutSpec], span: Span) -> list[Window]:
    """Return the blackout windows that cover a part of a span, in the order of their starts."""
    if span.is_empty:
        return []
    found: list[Window] = []
    for blackout in blackouts:
        open_already = window_at(blackout, span.after + MOMENT)
        later = windows_between(blackout, span.after + MOMENT, span.until)
        found += islice(chain([open_already] if open_already else [], later), WINDOWS_MAX)
    return sorted(found, key=lambda window: window.start)


def _split_pause(job: DueJob, due: Span, now: datetime) -> tuple[Span, list[Span]]:
    """Cut what the pause covers out of the due time; while it lasts, that is all: nothing of a paused job starts."""
    empty = Span(due.until, due.until)
    if job.paused_at is None:
        return empty, [due]
    if job.paused_until is None or job.paused_until > now:
        return due, []
    paused = due.since(job.paused_at).before(job.paused_until)
    if paused.is_empty:
        return empty, [due]
    return paused, [due.before(job.paused_at), due.since(job.paused_until)]


def _pause_text(job: DueJob) -> str | None:
    """Keep who paused the job and why with the ticks it cost: the pause itself is forgotten when it ends."""
    by = f"by {job.paused_by}" if job.paused_by else ""
    return ": ".join(part for part in (by, job.paused_reason) if part) or None


def _catch_up(job: DueJob, schedule: Schedule, missed: list[Span], now: datetime) -> tuple[list[datetime], list[Skip]]:
    """Choose which missed ticks run after all: none, the latest, or all of the latest `catch_up_limit`."""
    if job.rules.catch_up is CatchUp.NONE:
        return [], _skips(schedule, missed, Reason.MISSED)
    if job.rules.catch_up is CatchUp.LATEST:
        chosen, rest = _take_latest(schedule, missed, 1)
        late = _is_too_late(job, chosen, now)
        skips = _skips(schedule, rest, Reason.MISSED)
        skips += [Skip(tick, tick, 1, Reason.MISFIRE_GRACE) for tick in chosen if late]
        return ([] if late else chosen), skips
    too_late, fresh = _split_grace(job, missed, now)
    chosen, rest = _take_latest(schedule, fresh, job.rules.catch_up_limit)
    skips = _skips(schedule, too_late, Reason.MISFIRE_GRACE)
    return chosen, skips + _skips(schedule, rest, Reason.CATCH_UP_LIMIT)


def _is_too_late(job: DueJob, ticks: list[datetime], now: datetime) -> bool:
    return job.rules.misfire_grace is not None and any(now - tick > job.rules.misfire_grace for tick in ticks)


def _split_grace(job: DueJob, spans: list[Span], now: datetime) -> tuple[list[Span], list[Span]]:
    """Part what is later than `misfire_grace` allows from what may still run."""
    if job.rules.misfire_grace is None:
        return [], spans
    limit = now - job.rules.misfire_grace
    return [span.before(limit) for span in spans], [span.since(limit) for span in spans]


def _take_latest(schedule: Schedule, spans: list[Span], count: int) -> tuple[list[datetime], list[Span]]:
    """Take the `count` latest ticks; returns them, latest first, and the time before them."""
    chosen: list[datetime] = []
    left = [span for span in spans if not span.is_empty]
    while left and len(chosen) < count:
        span = left.pop()
        tick = schedule.last_before(span.until)
        if tick is None or tick <= span.after:
            continue
        chosen.append(tick)
        left.append(span.before(tick))
    return chosen, left


def _ticks(schedule: Schedule, spans: Iterable[Span]) -> list[datetime]:
    """List every tick; only for times bounded by how long a loop can be late."""
    found: list[datetime] = []
    for span in spans:
        tick = schedule.next_after(span.after)
        while tick is not None and tick <= span.until:
            found.append(tick)
            tick = schedule.next_after(tick)
    return found


def _skips(schedule: Schedule, spans: Iterable[Span], reason: Reason) -> list[Skip]:
    """Sum up each span's ticks as one counted range."""
    found: list[Skip] = []
    for span in spans:
        count = 0 if span.is_empty else schedule.count_between(span.after, span.until)
        first = schedule.next_after(span.after)
        last = schedule.last_before(span.until)
        if count and first is not None and last is not None:
            found.append(Skip(first, last, count, reason))
    return found


def _left_out(schedule: Schedule, due: Span) -> list[Skip]:
    """Tell the ticks that a clock change or a calendar took away; where a tick runs then, it stands for one of them."""
    return [
        skip
        for skip in schedule.skips(due.after, due.until)
        if skip.count > 1 or schedule.last_before(skip.first) != skip.first
    ]
