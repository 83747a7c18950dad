"""P1 to P3: each tick has exactly one row, nothing else has one, and all of it is in time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator

from tests.support.checker import oracle
from tests.support.checker.history import Attempt, History, JobLaw
from tests.support.checker.violation import Violation

WRITTEN_SECONDS = 1.0
"""That a run has ended is known to others a little later than it did."""


def exactly_once(history: History) -> Iterator[Violation]:
    """P1: one row for each tick, or one range of skipped ticks that counts it; a skip has a cause that was there."""
    for job in history.jobs:
        rows = _scheduled(history, job)
        covered = Counter(tick for row in rows for tick in _covered(job, row))
        for tick in oracle.ticks(job, history.window.begin, history.window.end):
            if tick + history.bounds.created < history.read_at and covered[tick] != 1:
                yield Violation("P1", job.name, f"{covered[tick]} rows for one tick", tick)
        for tick, count in covered.items():
            if count > 1 and not history.window.begin <= tick < history.window.end:
                yield Violation("P1", job.name, f"{count} rows for one tick", tick)
        for row in rows:
            yield from _skipped_rightly(history, job, row)


def _skipped_rightly(history: History, job: JobLaw, row: Attempt) -> Iterator[Violation]:
    if row.status != "SKIPPED":
        return
    told = row.skipped_count or 1
    if told != len(_covered(job, row)):
        yield Violation(
            "P1", job.name, f"a range says {told} ticks and spans {len(_covered(job, row))}", row.scheduled_for, (row,)
        )
    if row.reason in ("overlap", "queue_full"):
        is_explained = job.overlap != "allow" and any(_was_live(history, chain, row) for chain in history.chains)
    elif row.reason == "paused":
        last = row.skipped_until or row.scheduled_for
        is_explained = last is not None and last >= history.window.end - history.bounds.clock
    elif row.reason in ("missed", "catch_up_limit", "misfire_grace"):
        is_explained = bool(history.touched(row.scheduled_for or 0.0, row.created_at))
    else:
        is_explained = False
    if not is_explained:
        yield Violation(
            "P1", job.name, f"skipped as {row.reason or 'nothing'} without such a cause", row.scheduled_for, (row,)
        )


def _was_live(history: History, chain: list[Attempt], row: Attempt) -> bool:
    """Another run of the job waited, ran, or waited for its retry when this tick was looked at."""
    first, last = chain[0], chain[-1]
    if first.job != row.job or first.status == "SKIPPED" or first.id == row.id or first.created_at > row.created_at:
        return False
    if last.completed_at is None or row.created_at <= last.completed_at + WRITTEN_SECONDS:
        return True
    return bool(history.touched(last.completed_at, row.created_at))


def nothing_extra(history: History) -> Iterator[Violation]:
    """P2: each scheduled row has a tick, each row by hand a request; a request has the run it was promised."""
    for row in history.attempts:
        job = history.laws.get(row.job)
        if job is None:
            yield Violation("P2", row.job, "a run of a job nobody defined", row.scheduled_for, (row,))
        elif row.source == "schedule":
            tick = row.scheduled_for
            if tick is None or not oracle.is_tick(job, tick):
                yield Violation("P2", job.name, "a scheduled run at an instant that is no tick", tick, (row,))
            elif not history.window.first <= tick <= history.window.last:
                yield Violation("P2", job.name, "a tick from when the job was not defined", tick, (row,))
        elif row.source == "retry" and row.retry_of not in history.by_id:
            yield Violation("P2", job.name, "a retry of nothing", row.scheduled_for, (row,))
    yield from _requests(history)


def _requests(history: History) -> Iterator[Violation]:
    asked = Counter(request.job for request in history.requests if request.result == "ok")
    perhaps = Counter(request.job for request in history.requests if request.result == "unknown")
    for job in history.jobs:
        made = [row for row in history.attempts if row.job == job.name and row.source == "manual"]
        low, high = asked[job.name], asked[job.name] + perhaps[job.name]
        if not low <= len(made) <= high:
            yield Violation(
                "P2", job.name, f"{len(made)} runs by hand, {low} to {high} were asked for", rows=tuple(made)
            )
    for request in history.requests:
        if request.result == "ok" and request.run is not None and request.run not in history.by_id:
            yield Violation("P2", request.job, f"run {request.run} was promised and is not there")


def on_time(history: History) -> Iterator[Violation]:
    """P3: a tick's row and its first start come in time, or soon after the fault that delayed them."""
    bounds = history.bounds
    for row in history.attempts:
        tick, job = row.scheduled_for, history.laws.get(row.job)
        if row.source != "schedule" or tick is None or job is None or tick < history.window.begin:
            continue
        last = row.skipped_until or tick
        if row.created_at < tick - bounds.clock:
            yield Violation("P3", row.job, "its row was there before its time", tick, (row,))
        if row.created_at > _due(history, last, bounds.created):
            yield Violation("P3", row.job, f"its row came {row.created_at - last:.1f} s late", tick, (row,))
        for mark in history.starts.get(row.id, [])[:1]:
            begun = mark.real
            if begun < tick - bounds.clock:
                yield Violation("P3", row.job, "it began before its time", tick, (row,))
            if job.overlap != "queue" and begun > _due(history, tick, bounds.started):
                yield Violation("P3", row.job, f"it began {begun - tick:.1f} s late", tick, (row,))


def without_labels(history: History) -> Iterator[Violation]:
    """P12: the starts match the ticks by their instants alone, each with the tick whose time runs out first.

    It believes no run's word of which tick it was for, so that labels that are wrong, and fit each other, are found.
    """
    for job in history.jobs:
        if job.every is None or job.overlap == "queue":
            continue
        rows = _scheduled(history, job)
        begun = sorted(
            (mark.real, mark.run)
            for marks in history.starts.values()
            for mark in marks
            if mark.job == job.name and mark.attempt == 1 and mark.scheduled_for
        )
        closed, missed = _matched(_windows(history, job, rows), begun, history.bounds.clock)
        for real, run in missed:
            yield Violation("P12", job.name, f"the start of run {run} is in no tick's time", real)
        never_begun = [r for r in rows if r.status not in ("SKIPPED", "COMPLETED") and r.id not in history.starts]
        if len(closed) > len(never_begun):
            what = f"{len(closed)} ticks have no start in their time, {len(never_begun)} first attempts never began"
            yield Violation("P12", job.name, what, closed[0])


def _windows(history: History, job: JobLaw, rows: list[Attempt]) -> list[tuple[float, float]]:
    """Return (tick, when it must have begun) of each tick that was to run."""
    skipped = {tick for row in rows if row.status == "SKIPPED" for tick in _covered(job, row)}
    near = {
        tick for row in rows for tick in _covered(job, row)
    }  # around the window its definition was in force as well
    wanted = {*oracle.ticks(job, history.window.begin, history.window.end), *near} - skipped
    return sorted((tick, _due(history, tick, history.bounds.started)) for tick in wanted)


def _matched(
    windows: list[tuple[float, float]], begun: list[tuple[float, int]], clock: float
) -> tuple[list[float], list[tuple[float, int]]]:
    """Give each start the open tick whose time runs out first; returns ticks without a start, starts without a tick."""
    waiting = list(windows)
    opened: list[tuple[float, float]] = []
    closed: list[float] = []
    missed = []
    for real, run in begun:
        while waiting and waiting[0][0] - clock <= real:
            tick, due = waiting.pop(0)
            heapq.heappush(opened, (due, tick))
        while opened and opened[0][0] < real:
            closed.append(heapq.heappop(opened)[1])
        if opened:
            heapq.heappop(opened)
        else:
            missed.append((real, run))
    return closed + [tick for _, tick in opened] + [tick for tick, _ in waiting], missed


def _due(history: History, tick: float, within: float) -> float:
    """When it must have happened at the latest: later if a fault was in the way, and another in the way of that."""
    due = tick + within
    while True:
        later = max([due, *(fault.end + history.bounds.recovery + within for fault in history.touched(tick, due))])
        if later <= due:
            return due
        due = later


def _scheduled(history: History, job: JobLaw) -> list[Attempt]:
    return [row for row in history.attempts if row.job == job.name and row.source == "schedule"]


def _covered(job: JobLaw, row: Attempt) -> list[float]:
    tick = row.scheduled_for
    if tick is None or not oracle.is_tick(job, tick):
        return []
    if row.status != "SKIPPED" or row.skipped_until is None:
        return [float(round(tick))]
    return oracle.ticks(job, tick - oracle.CLOSE, row.skipped_until + oracle.CLOSE)
