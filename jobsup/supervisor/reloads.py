"""The reloads of one supervisor, one at a time: who waits for the one under way, and what came of the last."""

from __future__ import annotations

from typing import Any, Protocol

from jobsup.clock import Clock, rfc3339
from jobsup.control.server import Request
from jobsup.events import emit
from jobsup.runtime.sdnotify import Notifier
from jobsup.supervisor.child import Child
from jobsup.supervisor.crew import Crew
from jobsup.supervisor.pool import Slot
from jobsup.supervisor.reload import Reload, Steps
from jobsup.supervisor.spec import Plan
from jobsup.supervisor.yard import Yard


class Reloaded(Steps, Protocol):
    """What is reloaded."""

    generation: int

    @property
    def in_force(self) -> tuple[Any, Plan]:
        """What was prepared for the generation that is in force, and its plan."""
        ...

    def put_in_force(self, prepared: Any, plan: Plan) -> None:
        """Begin the next generation: its children are there."""
        ...

    def reload_over(self) -> None:
        """Go on where the reload held things up."""
        ...

    def reload_unasked(self) -> None:
        """Begin one that nobody waits for."""
        ...


class Reloads:
    """Whoever begins one has looked whether it may begin."""

    def __init__(self, owner: Reloaded, crew: Crew, yard: Yard, notifier: Notifier, clock: Clock) -> None:
        self.last: dict[str, Any] | None = None
        """What came of the last one that was no dry run, JSON-able."""
        self._owner = owner
        self._crew = crew
        self._yard = yard
        self._notifier = notifier
        self._clock = clock
        self._under_way: Reload | None = None
        self._again = False

    @property
    def is_under_way(self) -> bool:
        return self._under_way is not None

    def begin(self, waiting: Request | None, *, is_dry_run: bool) -> None:
        """Reload; whoever waits sees the lines as they come, and the result."""
        if not is_dry_run:
            self._notifier.reloading()
            emit("reload.started", "Reloading the configuration")
        self._under_way = Reload(
            self._owner,
            self._crew,
            self._yard,
            before=self._owner.in_force,
            is_dry_run=is_dry_run,
            on_line=waiting.line if waiting is not None else lambda _line: None,
            on_done=lambda reload: self._done(reload, waiting),
        )
        self._under_way.begin()

    def begin_again(self) -> None:
        """Let another one follow the one under way."""
        self._again = True

    def child_ready(self, slot: Slot) -> None:
        if self._under_way is not None:
            self._under_way.child_ready(slot)

    def child_failed(self, slot: Slot, child: Child, text: str) -> None:
        if self._under_way is not None:
            self._under_way.child_failed(slot, child, text)

    def abandon(self, why: str) -> None:
        if self._under_way is not None:
            self._under_way.abandon(why)

    def _done(self, reload: Reload, waiting: Request | None) -> None:
        self._under_way = None
        report = reload.report
        if reload.is_rolled and reload.plan is not None:
            self._owner.put_in_force(reload.prepared, reload.plan)
        if not reload.is_dry_run:
            self._note(reload)
        if waiting is not None:
            waiting.done(
                report.exit_code,
                generation=self._owner.generation,
                replaced=report.replaced,
                error=report.error,
                lines=report.lines,
            )
        self._owner.reload_over()
        if self._again:
            self._again = False
            self._owner.reload_unasked()

    def _note(self, reload: Reload) -> None:
        report = reload.report
        self.last = {
            "at": rfc3339(self._clock.now()),
            "exit_code": report.exit_code,
            "error": report.error,
            "lines": report.lines,
        }
        self._notifier.ready()
        if not report.exit_code:
            generation, count = self._owner.generation, len(report.replaced)
            emit("reload.done", report.told(f"Reloaded: generation {generation}, {count} children replaced"))
