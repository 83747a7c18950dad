"""A judge of whole runs that knows nothing of how jobsup works: no import of it, no query of its own making but a dump.

Evidence comes from the jobs themselves (`ledger_job` writes a line when it starts and when it ends), from whoever
broke things (`History.faults`), asked for things (`History.requests`) and watched processes die (`watch.Witness`),
and from the tables as they stand in the end (`dump`). `judge` holds it against the properties P1 to P12 and returns
what is violated; `explain` tells it with the job, the tick and the lines that belong to it.
"""

from __future__ import annotations

from tests.support.checker.history import (
    Attempt,
    Bounds,
    Fault,
    FaultKind,
    History,
    JobLaw,
    Mark,
    Request,
    Sample,
    Usage,
    Window,
)
from tests.support.checker.verdict import Violation, explain, judge

__all__ = [
    "Attempt",
    "Bounds",
    "Fault",
    "FaultKind",
    "History",
    "JobLaw",
    "Mark",
    "Request",
    "Sample",
    "Usage",
    "Violation",
    "Window",
    "explain",
    "judge",
]
