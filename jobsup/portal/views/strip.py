"""The last runs of a job as a row of bars: colour and shape tell how each ended, height how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobsup.model import Status
from jobsup.store.standing import STRIP_RUNS, Mark

WIDTH, HEIGHT = 168, 24
STEP = WIDTH / STRIP_RUNS
BAR_WIDTH = STEP - 1.2
LOW = 5.0
"""The least height of a bar, so that the shortest run is still seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One run, in the units of the drawing."""

    x: float
    y: float
    width: float
    height: float
    status: str
    title: str


def bars(marks: Sequence[Mark]) -> tuple[Bar, ...]:
    """Lay the marks out, the newest at the right end, each with its words."""
    return tuple(replace(bar, title=_title(mark)) for bar, mark in zip(_laid_out(marks), marks, strict=True))


def outlines(marks: Sequence[Mark]) -> tuple[tuple[str, str], ...]:
    """Return (status, outline of all its bars): a list of many jobs weighs a fifth of what single bars do."""
    drawn: dict[str, list[str]] = {}
    for bar in _laid_out(marks):
        drawn.setdefault(bar.status, []).append(f"M{bar.x:g} {bar.y:g}{_OUTLINE_END}")
    return tuple((status, "".join(parts)) for status, parts in drawn.items())


def words(marks: Sequence[Mark]) -> str:
    """Say in words what the strip shows."""
    if not marks:
        return "has not run yet"
    well = sum(mark.status is Status.COMPLETED for mark in marks)
    return f"{well} of the last {len(marks)} went well"


def _laid_out(marks: Sequence[Mark]) -> tuple[Bar, ...]:
    lengths = [took.total_seconds() if (took := mark.took) is not None else 0.0 for mark in marks]
    longest = max(lengths, default=0.0) or 1.0
    first = WIDTH - STEP * len(marks)
    return tuple(
        _bar(round(first + STEP * number, 1), mark.status, length / longest)
        for number, (mark, length) in enumerate(zip(marks, lengths, strict=True))
    )


def _bar(x: float, status: Status, share: float) -> Bar:
    height = LOW + (HEIGHT - LOW) * share
    if status in _NOT_RUN:
        height = LOW
    elif status is not Status.COMPLETED:
        height = HEIGHT  # what failed stands out by its height too, for those who do not see the colour
    return Bar(x, round(HEIGHT - height, 1), _WIDTH, round(height, 1), status, "")


_NOT_RUN = (Status.SKIPPED, Status.CANCELLED, Status.PENDING)
_WIDTH = round(BAR_WIDTH, 1)
_OUTLINE_END = f"h{_WIDTH:g}V{HEIGHT}h-{_WIDTH:g}z"


def _title(mark: Mark) -> str:
    took = f", {mark.took.total_seconds():.1f} s" if mark.took is not None else ""
    return f"run {mark.id}: {mark.status.lower().replace('_', ' ')}{took}"
