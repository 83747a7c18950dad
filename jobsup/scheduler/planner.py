"""What becomes of a due job's ticks: a pure decision from its schedule, its policies and the time.

A tick since `watched_since` is on time, however late the loop got to it: it runs. An earlier one was missed, and
`catch_up` decides. Ticks of a pause and of a gap in the clock are SKIPPED whenever they were. Ranges are counted by
arithmetic, so that years of down-time cost no more than a second of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jobsup.model import CatchUp, DueJob, Reason, Skip, TickPlan
from jobsup.schedule import Schedule

MOMENT = timedelta(microseconds=1)
"""The smallest step of an instant: (t - MOMENT, u] is [t, u]."""
SKIPS_AHEAD = timedelta(days=366)
"""How far ahead a job without a next tick is looked through for ticks that must be told as SKIPPED."""


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


def plan(job: DueJob, schedule: Schedule | None, *, now: datetime, watched_since: datetime) -> TickPlan:
    """Decide on every tick of `job` from its `next_run` to `now`, and name the tick after them."""
    if schedule is None:
        return TickPlan(job.job_id, job.next_run, None)
    due = Span(job.next_run - MOMENT, now)
    if due.is_empty:  # the clock was set back since it was read
        return TickPlan(job.job_id, job.next_run, job.next_run)
    paused, free = _split_pause(job, due, now)
    missed = [span.before(watched_since) for span in free]
    on_time = [span.since(watched_since) for span in free]
    runs, skips = _catch_up(job, schedule, missed, now)
    too_late, fresh = _split_grace(job, on_time, now)
    runs += _ticks(schedule, fresh)
    skips += _skips(schedule, too_late, Reason.MISFIRE_GRACE)
    skips += [replace(skip, text=_pause_text(job)) for skip in _skips(schedule, [paused], Reason.PAUSED)]
    skips += _left_out(schedule, due)
    skips.sort(key=lambda skip: skip.first)
    return TickPlan(job.job_id, job.next_run, next_instant(schedule, now), tuple(sorted(runs)), tuple(skips))


def next_instant(schedule: Schedule, after: datetime) -> datetime | None:
    """Return when the job is due next: its next tick, or the end of ticks before it that are told as SKIPPED."""
    tick = schedule.next_after(after)
    skip = next(schedule.skips(after, tick or after + SKIPS_AHEAD), None)
    return tick if skip is None else skip.last


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
    if job.catch_up is CatchUp.NONE:
        return [], _skips(schedule, missed, Reason.MISSED)
    if job.catch_up is CatchUp.LATEST:
        chosen, rest = _take_latest(schedule, missed, 1)
        late = _is_too_late(job, chosen, now)
        skips = _skips(schedule, rest, Reason.MISSED)
        skips += [Skip(tick, tick, 1, Reason.MISFIRE_GRACE) for tick in chosen if late]
        return ([] if late else chosen), skips
    too_late, fresh = _split_grace(job, missed, now)
    chosen, rest = _take_latest(schedule, fresh, job.catch_up_limit)
    skips = _skips(schedule, too_late, Reason.MISFIRE_GRACE)
    return chosen, skips + _skips(schedule, rest, Reason.CATCH_UP_LIMIT)


def _is_too_late(job: DueJob, ticks: list[datetime], now: datetime) -> bool:
    return job.misfire_grace is not None and any(now - tick > job.misfire_grace for tick in ticks)


def _split_grace(job: DueJob, spans: list[Span], now: datetime) -> tuple[list[Span], list[Span]]:
    """Part what is later than `misfire_grace` allows from what may still run."""
    if job.misfire_grace is None:
        return [], spans
    limit = now - job.misfire_grace
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
