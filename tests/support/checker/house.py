"""P9 and P10: one leader at a time, soon followed by the next, and no row that was there is gone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.support.checker.history import Attempt, FaultKind, History
from tests.support.checker.violation import Violation

LEADERLESS = (FaultKind.PARTITION, FaultKind.FREEZE, FaultKind.KILL, FaultKind.STOP)


def one_leader(history: History) -> Iterator[Violation]:
    """P9: ticks are written term by term, and the next term begins soon after its leader's host was lost."""
    rows = [row for row in history.attempts if row.source == "schedule"]
    for row in rows:
        if row.epoch is None:
            yield Violation("P9", row.job, f"run {row.id} is of no term", row.scheduled_for, (row,))
    in_order = sorted((row for row in rows if row.epoch is not None), key=lambda row: row.id)
    for before, after in pairwise(in_order):
        if (after.epoch or 0) < (before.epoch or 0):
            what = f"run {after.id} of term {after.epoch} was written after one of term {before.epoch}"
            yield Violation("P9", after.job, what, after.scheduled_for, (before, after))
    for fault in history.faults:
        if fault.kind in LEADERLESS and fault.host:
            yield from _taken_over(history, in_order, fault.begin)


def _taken_over(history: History, rows: list[Attempt], begin: float) -> Iterator[Violation]:
    """Some leader, the old one elsewhere or a new one, wrote ticks again within the bound."""
    due = begin + history.bounds.takeover + history.bounds.created
    others = [f for f in history.touched(begin, due) if f.begin != begin]
    if due >= history.window.end or others:
        return  # the database, or another host, was in the way as well
    # The leader may have written until it was struck; after that, somebody must.
    if not any(begin + history.bounds.clock < row.created_at <= due for row in rows):
        yield Violation("P9", "", f"no tick was written for {history.bounds.takeover:g} s after {begin:.3f}")


def conserved(history: History) -> Iterator[Violation]:
    """P10: what was seen once is there in the end, unless retention says that it removed so many."""
    seen = {run for sample in history.samples for run in sample.statuses} | set(history.starts)
    missing = sorted(seen - set(history.by_id))
    if len(missing) > history.removed:
        yield Violation("P10", "", f"{len(missing)} rows are gone, {history.removed} were removed: {missing[:5]}")
    if len(history.by_id) != len(history.attempts):
        yield Violation("P10", "", "a run has two rows")
    ids = set(history.by_id)
    for row in history.attempts:
        if row.retry_of is not None and row.retry_of not in ids:
            yield Violation("P10", row.job, f"the attempt before run {row.id} is gone", row.scheduled_for, (row,))
