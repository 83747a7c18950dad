"""How long things took, read from the evidence of a fleet: what the table of the long form shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.support.checker import Fault, History
from tests.support.checker.runs import LOST


@dataclass(frozen=True, slots=True)
class Measures:
    """Seconds after a fault's begin, or after its end for `recovery`; None: there was nothing of the kind."""

    takeover: float | None
    """Until another scheduler had begun a term."""
    closed: float | None
    """Until the last of the runs that were lost with the host was closed."""
    rerun: float | None
    """Until the last of them had begun anew."""
    margin: float | None
    """How long the processes of lost runs had been dead at the least when they began anew; negative: an overlap."""
    recovery: float | None
    """After the end: until every host had begun a run or renewed its registration, and a new tick had been written."""
    lost: int
    """How many runs were lost."""


NOTHING = Measures(None, None, None, None, None, 0)


def worst(found: Sequence[Measures]) -> Measures:
    """Put together what several faults in a row led to: the worst of each, and the recovery from the last."""
    return Measures(
        takeover=_most(each.takeover for each in found),
        closed=_most(each.closed for each in found),
        rerun=_most(each.rerun for each in found),
        margin=min((each.margin for each in found if each.margin is not None), default=None),
        recovery=found[-1].recovery,
        lost=sum(each.lost for each in found),
    )


def measure(
    history: History,
    terms: Mapping[int, tuple[str, float]],
    fault: Fault,
    beats: Mapping[str, Sequence[float]] | None = None,
) -> Measures:
    """Read what a fault led to; `beats`: when the workers of each host were heard of."""
    lost = [
        row
        for row in history.attempts
        if row.reason in LOST
        and row.completed_at is not None
        and fault.begin <= row.completed_at <= fault.end + history.bounds.recovery
        and (not fault.host or row.host == fault.host)
    ]
    following = {row.retry_of: row for row in history.attempts}
    again = [
        (row, mark) for row in lost if row.id in following for mark in history.starts.get(following[row.id].id, [])[:1]
    ]
    deaths = [
        mark.mono - history.death_of(first) for row, mark in again for first in history.starts.get(row.id, [])[:1]
    ]
    return Measures(
        takeover=_takeover(terms, fault),
        closed=max(row.completed_at or 0.0 for row in lost) - fault.begin if lost else None,
        rerun=max(mark.real for _, mark in again) - fault.begin if again else None,
        margin=min(deaths, default=None),
        recovery=_recovery(history, fault.end, beats or {}),
        lost=len(lost),
    )


def _most(found: Iterable[float | None]) -> float | None:
    return max((each for each in found if each is not None), default=None)


def _takeover(terms: Mapping[int, tuple[str, float]], fault: Fault) -> float | None:
    """Tell how long nobody led, if the fault was one of the leader's host."""
    before = [(since, node) for node, since in terms.values() if since < fault.begin]
    begun = [since for _, since in terms.values() if since >= fault.begin]
    led = max(before)[1] if before else ""
    return min(begun) - fault.begin if begun and led == fault.host else None


def _recovery(history: History, end: float, beats: Mapping[str, Sequence[float]]) -> float | None:
    """From an instant until each host that lives on works, and ticks are written.

    Where there are more hosts than work, one may be without a run for long: that its worker is heard of counts as well.
    """
    marks = [mark for mark in history.marks if mark.kind == "start" and mark.real >= end]
    firsts = [
        min(
            (
                *(mark.real for mark in marks if history.host_of(mark) == host),
                *(at for at in beats.get(host, ()) if at >= end),
            ),
            default=None,
        )
        for host in {history.host_of(mark) for mark in marks}
    ]
    ticks = [row.created_at for row in history.attempts if row.source == "schedule" and row.created_at >= end]
    found = [each for each in (*firsts, min(ticks, default=None)) if each is not None]
    return max(found) - end if ticks and firsts else None
