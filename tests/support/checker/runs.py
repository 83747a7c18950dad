"""P4 to P8: attempts are counted and ordered, overlap nowhere, end, end as they say, and keep their output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, pairwise

from tests.support.checker.history import LOSING, Attempt, FaultKind, History, JobLaw, Mark, instant
from tests.support.checker.violation import Violation

TERMINAL = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "SKIPPED")
EDGES = {
    "": ("PENDING", "IN_PROGRESS", *TERMINAL),
    "PENDING": ("IN_PROGRESS", *TERMINAL[:-1]),  # between two looks it may have gone all the way
    "IN_PROGRESS": ("PENDING", *TERMINAL[:-1]),  # PENDING: given back, not started
}
LOST = ("worker_lost", "no_owner")
OVERLAP_WORDS = "may have gone on"
"""How a row says that its process may have run on beside the next attempt."""


def attempts(history: History) -> Iterator[Violation]:
    """P4: numbers without a gap and no more than asked for; at most one start each, while its row was claimed."""
    for chain in history.chains:
        yield from _numbered(history, chain)
    for run, marks in history.starts.items():
        row = history.by_id.get(run)
        if row is None:
            yield Violation("P4", marks[0].job, f"run {run} began and has no row")
            continue
        if len(marks) > 1:
            yield Violation("P4", row.job, f"run {run} began {len(marks)} times", row.scheduled_for, (row,))
        yield from _labelled(row, marks[0])
        yield from _while_claimed(history, row, marks[0])


def _numbered(history: History, chain: list[Attempt]) -> Iterator[Violation]:
    job = history.laws.get(chain[0].job)
    tick = chain[0].scheduled_for
    if chain[0].retry_count != 0:
        yield Violation("P4", chain[0].job, f"a first attempt has number {chain[0].retry_count}", tick, tuple(chain))
    for before, after in pairwise(chain):
        step = 0 if before.reason == "shutdown" else 1
        if after.retry_count != before.retry_count + step:
            numbers = f"{before.retry_count} is followed by {after.retry_count}"
            yield Violation("P4", after.job, f"attempt {numbers}", tick, tuple(chain))
        if before.status not in ("FAILED", "TIMEOUT"):
            yield Violation("P4", after.job, f"a {before.status} attempt was tried again", tick, tuple(chain))
    if job is not None and chain[-1].retry_count + 1 > job.attempts_max:
        yield Violation(
            "P4", job.name, f"{chain[-1].retry_count + 1} attempts of {job.attempts_max}", tick, tuple(chain)
        )
    last = chain[-1]
    if job is not None and last.status in ("FAILED", "TIMEOUT") and last.retry_count + 1 < job.attempts_max:
        yield Violation("P4", job.name, "no attempt followed though some were left", tick, tuple(chain))


def _labelled(row: Attempt, mark: Mark) -> Iterator[Violation]:
    told = instant(mark.scheduled_for) if mark.scheduled_for else None
    if (mark.job, mark.attempt) != (row.job, row.retry_count + 1):
        yield Violation("P4", row.job, f"it was told to be attempt {mark.attempt} of {mark.job}", rows=(row,))
    if told != row.scheduled_for and not (told and row.scheduled_for and abs(told - row.scheduled_for) < 1e-3):
        yield Violation("P4", row.job, "it was told another tick than its own", row.scheduled_for, (row,))


def _while_claimed(history: History, row: Attempt, mark: Mark) -> Iterator[Violation]:
    slack = history.bounds.clock
    if row.claimed_at is None or mark.real < row.claimed_at - slack:
        yield Violation("P4", row.job, f"run {row.id} began before it was claimed", row.scheduled_for, (row,))
    elif row.completed_at is not None and mark.real > row.completed_at + slack and not _thawed(history, row, mark):
        yield Violation("P4", row.job, f"run {row.id} began after it was closed", row.scheduled_for, (row,))


def _thawed(history: History, row: Attempt, mark: Mark) -> bool:
    """Whether a process that was there before a freeze came to its first line right after it, and its row owns up."""
    slack, host = history.bounds.clock, history.host_of(mark)
    frozen = history.touched(mark.real, mark.real, kinds=(FaultKind.FREEZE,), host=host)
    return OVERLAP_WORDS in row.message and any(mark.real <= fault.end + slack for fault in frozen)


def no_overlap(history: History) -> Iterator[Violation]:
    """P5: no two runs of a job at once, on whatever host; after a freeze it may be, and then its row says so."""
    for job in history.jobs:
        if job.overlap == "allow":
            continue
        starts = [mark for marks in history.starts.values() for mark in marks if mark.job == job.name]
        spans = sorted(((mark.mono, history.death_of(mark), mark) for mark in starts), key=lambda span: span[0])
        for index, (_, gone, first) in enumerate(spans):
            for begun, gone_too, second in spans[index + 1 :]:
                if begun < gone:
                    yield from _excused(history, job, (first, second), min(gone, gone_too) - begun)


def _excused(history: History, job: JobLaw, both: tuple[Mark, Mark], seconds: float) -> Iterator[Violation]:
    """Let an overlap pass if one of the two stood still meanwhile, its row says so, and its late result was refused."""
    names = " and ".join(str(mark.run) for mark in both)
    rows = tuple(history.by_id[mark.run] for mark in both if mark.run in history.by_id)
    stood_still = [history.by_id.get(mark.run) for mark in both if _was_frozen(history, mark, both)]
    telling = [row for row in stood_still if row is not None and OVERLAP_WORDS in row.message]
    if not stood_still:
        how_long = "for ever" if math.isinf(seconds) else f"for {seconds:.2f} s"
        yield Violation("P5", job.name, f"runs {names} overlap {how_long}", rows=rows)
    elif not telling:
        yield Violation("P5", job.name, f"neither of runs {names} says that it may have overlapped", rows=rows)
    elif all(row.status == "COMPLETED" for row in telling):
        yield Violation("P5", job.name, f"the late result of run {telling[0].id} was taken", rows=rows)


def _was_frozen(history: History, mark: Mark, both: tuple[Mark, Mark]) -> bool:
    frozen = history.touched(both[0].real, both[1].real, kinds=(FaultKind.FREEZE,), host=history.host_of(mark))
    return bool(frozen)


def ends(history: History) -> Iterator[Violation]:
    """P6: nothing waits or runs for ever; a row that ended never changes again."""
    for row in history.attempts:
        if row.status not in TERMINAL:
            yield Violation("P6", row.job, f"run {row.id} is {row.status} in the end", row.scheduled_for, (row,))
        elif row.completed_at is None:
            yield Violation("P6", row.job, f"run {row.id} ended at no time", row.scheduled_for, (row,))
        if row.status in ("SKIPPED", "TIMEOUT", "CANCELLED") and not row.reason:
            yield Violation("P6", row.job, f"run {row.id} is {row.status} without a reason", row.scheduled_for, (row,))
    final = {row.id: row.status for row in history.attempts}
    looks = [sample.statuses for sample in sorted(history.samples, key=lambda sample: sample.at)]
    last: dict[int, str] = {}
    for look in [*looks, final]:
        for run, status in look.items():
            before = last.get(run, "")
            if status not in (before, *EDGES.get(before, ())):
                row_of = history.by_id.get(run)
                job = row_of.job if row_of else "?"
                yield Violation(
                    "P6", job, f"run {run} went from {before} to {status}", rows=(row_of,) if row_of else ()
                )
            last[run] = status


def truth(history: History) -> Iterator[Violation]:
    """P7: what the rows say of an attempt is what became of it; nothing of it is left."""
    for row in history.attempts:
        problem = _lie(history, row)
        if problem:
            yield Violation("P7", row.job, f"run {row.id} is {row.status} {problem}", row.scheduled_for, (row,))
    for pid in history.survivors:
        yield Violation("P7", "", f"process {pid} is left")


def _lie(history: History, row: Attempt) -> str:
    started, ended = history.starts.get(row.id), history.ends.get(row.id)
    code = ended[0].exit if ended else None
    match row.status:
        case "COMPLETED":
            return "and never began" if not started else "" if code == 0 else f"and ended with {code}"
        case "FAILED":
            return "" if code and code == row.exit_code else f"with {row.exit_code} and ended with {code}"
        case "TIMEOUT":
            return _false_timeout(history, row, started[0] if started else None)
        case "CANCELLED" | "SKIPPED" | "PENDING":
            return "and was started" if started else ""
    return ""


def _false_timeout(history: History, row: Attempt, start: Mark | None) -> str:
    job = history.laws[row.job]
    if row.reason == "deadline":
        if start is None:
            return "by its deadline and never began"
        age = history.death_of(start) - start.mono
        is_in_time = job.timeout - history.bounds.clock <= age <= job.timeout + job.grace + 1 + history.bounds.clock
        return "" if is_in_time else f"by its deadline of {job.timeout:g} s at the age of {age:.1f} s"
    begin = row.claimed_at or row.created_at
    end = row.completed_at or begin
    host = history.host_of(start) if start is not None else row.host
    if row.reason in LOST or row.reason == "shutdown":
        lost = history.touched(begin, end, kinds=LOSING, host=host)
        away = history.touched(begin, end, kinds=(FaultKind.DATABASE,))
        is_lost = bool(lost) or any(fault.end - fault.begin >= history.bounds.fence - 1 for fault in away)
        return "" if is_lost else f"as {row.reason} though nothing befell {host or 'its host'}"
    return f"for {row.reason or 'no reason'}"


def output(history: History) -> Iterator[Violation]:
    """P8: all that a run printed is kept, in order; of one that was killed, what it had printed so far."""
    for row in history.attempts:
        if row.output is None:
            if row.status == "COMPLETED":
                yield Violation("P8", row.job, f"run {row.id} ended well and has no output", row.scheduled_for, (row,))
            continue
        printed = [f"line {number} of run {row.id}\n" for number in range(1, history.laws[row.job].lines + 1)]
        whole = "".join(printed)
        if row.status in ("COMPLETED", "FAILED"):
            is_right = row.output == whole and row.output_dropped == 0
        else:
            is_right = whole.startswith(row.output)
        if not is_right:
            told = row.output if len(row.output) < 80 else f"{row.output[:80]}..."
            yield Violation("P8", row.job, f"run {row.id} has the output {told!r}", row.scheduled_for, (row,))


def overlaps_after_freeze(history: History) -> int:
    """Count the pairs of runs that overlapped; where P5 holds, all of them did so after a freeze."""
    count = 0
    for job in history.jobs:
        if job.overlap == "allow":
            continue
        marks = sorted(
            (mark for found in history.starts.values() for mark in found if mark.job == job.name),
            key=lambda mark: mark.mono,
        )
        count += sum(second.mono < history.death_of(first) for first, second in combinations(marks, 2))
    return count
