"""The first generation: prepare, compose, apply - before there are children."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobsup.errors import JobsupError
from jobsup.supervisor.reload import Steps
from jobsup.supervisor.spec import Plan
from jobsup.supervisor.task import Outcome
from jobsup.supervisor.yard import Yard


class Boot:
    """One start under way; `on_done` is handed what was prepared and its plan, `on_failed` why there is none."""

    def __init__(
        self,
        steps: Steps,
        yard: Yard,
        *,
        on_done: Callable[[Any, Plan], None],
        on_failed: Callable[[JobsupError], None],
    ) -> None:
        self._steps = steps
        self._yard = yard
        self._on_done = on_done
        self._on_failed = on_failed
        self._is_over = False

    def begin(self) -> None:
        self._yard.run("prepare", lambda: self._steps.prepare(None), self._prepared)

    def abandon(self) -> None:
        """Give up, because the instance stops."""
        self._is_over = True

    def _prepared(self, outcome: Outcome) -> None:
        if self._is_over:
            return
        if outcome.error is not None:
            self._on_failed(outcome.error)
            return
        prepared = outcome.value
        try:
            plan = self._steps.compose(prepared)
            plan.begin()
        except JobsupError as error:
            self._on_failed(error)
            return
        self._yard.run("apply", lambda: self._steps.apply(prepared), lambda end: self._applied(end, prepared, plan))

    def _applied(self, outcome: Outcome, prepared: Any, plan: Plan) -> None:
        if self._is_over:
            return
        if outcome.error is not None:
            self._on_failed(outcome.error)
        else:
            self._on_done(prepared, plan)
