"""A property that does not hold, and where."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.checker.history import Attempt


@dataclass(frozen=True, slots=True)
class Violation:
    """`property` is "P1" to "P12"; `rows` are the attempts it is about."""

    property: str
    job: str
    what: str
    tick: float | None = None
    rows: tuple[Attempt, ...] = ()
