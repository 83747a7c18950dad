"""How long calls of each function take: what decides which may wait behind each other."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from jobsup.model import JobSpec

QUICK_SECONDS = 0.005
"""Calls of a function that take no longer on average may wait behind each other."""
LEARNING = 0.2
"""The weight of a call in the average of its function."""
LEARNING_QUICK = 0.5
"""The weight of one below the average: the first call of a function, which imports it, is soon forgotten."""
FUNCTIONS_MAX = 10_000
"""Functions whose average is kept."""


@dataclass(slots=True)
class Durations:
    """The average of each function in seconds, the latest used last."""

    _seconds: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def known(self, job: JobSpec) -> float | None:
        """Return the average of calls of this job's function; None: there were none."""
        return self._seconds.get(job.python or "")

    def is_slow(self, job: JobSpec) -> bool:
        """Say whether calls like this one are known to take long."""
        return self._seconds.get(job.python or "", 0.0) > QUICK_SECONDS

    def learn(self, job: JobSpec, seconds: float) -> None:
        """Hear how long a call took."""
        function = job.python or ""
        before = self._seconds.get(function, seconds)
        self._seconds[function] = before + (seconds - before) * (LEARNING if seconds > before else LEARNING_QUICK)
        self._seconds.move_to_end(function)
        if len(self._seconds) > FUNCTIONS_MAX:
            self._seconds.popitem(last=False)
