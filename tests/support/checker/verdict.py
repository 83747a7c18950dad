"""The verdict: what is violated, and the picture that belongs to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from tests.support.checker import house, resources, runs, ticks
from tests.support.checker.history import Attempt, History
from tests.support.checker.violation import Violation

PROPERTIES: tuple[Callable[[History], Iterator[Violation]], ...] = (
    ticks.exactly_once,
    ticks.nothing_extra,
    ticks.on_time,
    runs.attempts,
    runs.no_overlap,
    runs.ends,
    runs.truth,
    runs.output,
    house.one_leader,
    house.conserved,
    resources.back_to_normal,
    ticks.without_labels,
)
LINES_MAX = 60
AROUND_SECONDS = 15.0


def judge(history: History) -> list[Violation]:
    """Return all that is violated, property by property."""
    return [violation for holds in PROPERTIES for violation in holds(history)]


def explain(history: History, violations: list[Violation]) -> str:
    """Tell the first violation with its timeline, and how many more there are."""
    if not violations:
        return "valid"
    first = violations[0]
    more = [f"  {each.property} {each.job} {_moment(each.tick)}: {each.what}" for each in violations[1:11]]
    head = f"{first.property} is violated: job {first.job or '-'}, tick {_moment(first.tick)}: {first.what}"
    picture = [f"  {_moment(at)}  {what}" for at, what in _timeline(history, first)]
    return "\n".join([head, *picture, *([f"and {len(violations) - 1} more:", *more] if more else [])])


def _timeline(history: History, violation: Violation) -> list[tuple[float, str]]:
    """Put all that is known of the job around the tick in order of time."""
    rows = violation.rows or tuple(
        row for row in history.attempts if row.job == violation.job and row.scheduled_for == violation.tick
    )
    moments = [row.created_at for row in rows] + [m.real for row in rows for m in history.starts.get(row.id, [])]
    moments += [row.completed_at for row in rows if row.completed_at is not None]
    centre = [violation.tick] if violation.tick is not None else []
    begin, end = min([*moments, *centre], default=0.0), max([*moments, *centre], default=0.0)
    span = (begin - AROUND_SECONDS, end + AROUND_SECONDS)
    near = [row for row in history.attempts if row.job == violation.job and span[0] <= row.created_at <= span[1]]
    events = [event for row in near for event in _events(row)]
    runs_near = {row.id for row in near}
    for mark in history.marks:
        if mark.run in runs_near or (mark.job == violation.job and span[0] <= mark.real <= span[1]):
            host = history.host_of(mark) or "?"
            events.append(
                (mark.real, f"ledger: run {mark.run} attempt {mark.attempt} {mark.kind} on {host}, pid {mark.pid}")
            )
            if mark.kind == "start" and f"{mark.pid}/{mark.started}" in history.deaths:
                gone = history.deaths[f"{mark.pid}/{mark.started}"] - mark.mono + mark.real
                events.append((gone, f"death:  run {mark.run}, pid {mark.pid}"))
    for fault in history.faults:
        if fault.begin <= span[1] and span[0] <= fault.end:
            of = fault.host or "what all share"
            events += [
                (fault.begin, f"fault:  {fault.kind} of {of} begins"),
                (fault.end, f"fault:  {fault.kind} of {of} ends"),
            ]
    return list(itertools.islice(sorted(events), LINES_MAX))


def _events(row: Attempt) -> Iterator[tuple[float, str]]:
    of = f"row:    run {row.id} (tick {_moment(row.scheduled_for)}, retry {row.retry_count})"
    yield (
        row.created_at,
        f"{of} made, term {row.epoch}" + (f", skipped as {row.reason}" if row.status == "SKIPPED" else ""),
    )
    if row.claimed_at is not None:
        yield row.claimed_at, f"{of} claimed by {row.worker_id} on {row.host or '?'}"
    if row.completed_at is not None and row.status != "SKIPPED":
        yield row.completed_at, f"{of} {row.status} {row.reason} {row.message}".rstrip()


def _moment(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
