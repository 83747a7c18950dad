"""Figures: a number with its unit and its target, and the table of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


class MeasureError(Exception):
    """Something could not be measured; its text says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    target: float | None = None
    """The most it should be; None: only told, or `is_exact`'s wanted value."""
    is_exact: bool = False
    """The value must be the target, e.g. no doubles."""
    is_least: bool = False
    """The target is the least it should be."""

    @property
    def verdict(self) -> str:
        """`ok`, `MISSED`, or nothing where there is no target."""
        if self.target is None:
            return ""
        if self.is_least:
            return "ok" if self.value >= self.target else "MISSED"
        is_met = self.value == self.target if self.is_exact else self.value <= self.target
        return "ok" if is_met else "MISSED"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0..1) of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned lines."""
    width = max((len(figure.name) for figure in figures), default=0)
    return "\n".join(_line(figure, width) for figure in figures)


def _line(figure: Figure, width: int) -> str:
    name, value = f"{figure.name:<{width}}", f"{figure.value:>10.3f}"
    return f"{name}  {value} {figure.unit:<12} {_wanted(figure):<12} {figure.verdict}".rstrip()


def _wanted(figure: Figure) -> str:
    if figure.target is None:
        return ""
    sign = "=" if figure.is_exact else ">=" if figure.is_least else "<="
    return f"{sign} {figure.target:g}"
