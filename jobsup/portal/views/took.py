"""How long the last runs of a job took, as a drawing: a bar a run, with lines for what is usual and what is long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobsup.portal.render import lasted
from jobsup.store.standing import Mark, usual

WIDTH, HEIGHT = 320.0, 84.0
TOP = 8.0
BARS_MIN = 2
"""Fewer runs need no drawing."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One run, in the units of the drawing."""

    x: float
    y: float
    width: float
    height: float
    status: str
    title: str
    run_id: int


@dataclass(frozen=True, slots=True)
class Level:
    """A line across the drawing."""

    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Took:
    """The whole drawing."""

    bars: tuple[Bar, ...]
    levels: tuple[Level, ...]


def took_of(marks: Sequence[Mark]) -> Took | None:
    """Lay the runs out that ran to an end, the newest at the right; None when there are too few."""
    ran = [(mark, mark.took) for mark in marks if mark.took is not None and mark.status.is_terminal]
    longest = max((took for _, took in ran), default=timedelta(0))
    if len(ran) < BARS_MIN or not longest:
        return None
    step = WIDTH / len(ran)
    bars = tuple(
        _bar(mark, took / longest, number * step, step, lasted(took)) for number, (mark, took) in enumerate(ran)
    )
    named = ((usual(marks), "half take less"), (usual(marks, 0.95), "95 of 100 take less"))
    levels = tuple(
        Level(round(HEIGHT - (HEIGHT - TOP) * (length / longest), 1), f"{words} than {lasted(length)}")
        for length, words in named
        if length is not None
    )
    return Took(bars, levels)


def _bar(mark: Mark, share: float, x: float, step: float, words: str) -> Bar:
    height = max(1.5, (HEIGHT - TOP) * share)
    width = max(0.8, step * 0.8)
    title = f"run {mark.id}: {mark.status.lower().replace('_', ' ')}, {words}"
    return Bar(round(x, 1), round(HEIGHT - height, 1), round(width, 1), round(height, 1), mark.status, title, mark.id)
