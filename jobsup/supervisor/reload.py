"""One reload: prepare, compare, roll, apply - and the truth about it at the end.

prepare (in a child)  -> an error: nothing has changed, the old generation goes on
compare               -> kinds with the same fingerprint keep their processes; counts are scaled
roll, one by one      -> a new child must be ready before the old one leaves; the first failure ends the roll
apply (in a child)    -> what the new generation brings outside of the processes
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from jobsup.errors import ExitCode, JobsupError
from jobsup.events import emit
from jobsup.supervisor.child import Child
from jobsup.supervisor.crew import Crew
from jobsup.supervisor.pool import Slot
from jobsup.supervisor.spawn import freeze_memory
from jobsup.supervisor.spec import ChildSpec, Plan
from jobsup.supervisor.task import Outcome
from jobsup.supervisor.yard import Yard

LINES_TOLD_MAX = 20
"""So many lines of a reload go into one record of the log."""


class Steps(Protocol):
    """What the owner of the supervisor does in a reload."""

    def prepare(self, old: Any | None) -> Any: ...
    def compose(self, prepared: Any) -> Plan: ...
    def apply(self, prepared: Any) -> Any: ...


@dataclass
class Report:
    """What a reload did."""

    exit_code: int = 0
    lines: list[str] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)
    """`{"kind", "slot", "old_pid", "new_pid"}` of each child that was replaced."""
    error: str = ""

    def told(self, what: str) -> str:
        """Put the lines behind what they led to, for the log: nobody else may have heard them."""
        shown = self.lines[:LINES_TOLD_MAX]
        more = [f"and {len(self.lines) - len(shown)} more"] if len(self.lines) > len(shown) else []
        return f"{what}: {'; '.join([*shown, *more])}" if shown else what


class Reload:
    """One reload under way; `on_line` is told as it goes, `on_done` once at the end."""

    def __init__(
        self,
        steps: Steps,
        crew: Crew,
        yard: Yard,
        *,
        before: tuple[Any, Plan],
        is_dry_run: bool,
        on_line: Callable[[str], None],
        on_done: Callable[[Reload], None],
    ) -> None:
        self.report = Report()
        self.is_dry_run = is_dry_run
        self.is_rolled = False
        """The children are those of the new plan."""
        self.prepared: Any = None
        self.plan: Plan | None = None
        self._steps = steps
        self._crew = crew
        self._yard = yard
        self._before, self._plan_before = before
        self._on_line = on_line
        self._on_done = on_done
        self._to_roll: deque[tuple[Slot, ChildSpec]] = deque()
        self._rolling: Slot | None = None
        self._is_over = False

    def begin(self) -> None:
        before = self._before
        self._yard.run("prepare", lambda: self._steps.prepare(before), self._prepared)

    def abandon(self, why: str) -> None:
        """Give up, because the instance stops."""
        self._finish(ExitCode.FAILED, f"the reload was given up: {why}")

    def child_ready(self, slot: Slot) -> None:
        """Let the replacement that is ready take its place, and go on with the next."""
        if slot is not self._rolling or self._is_over:
            return
        before = slot.promote()
        assert slot.child is not None  # noqa: S101  # just promoted
        old_pid = None if before is None else before.pid
        kind = slot.spec.kind
        self.report.replaced.append({"kind": kind, "slot": slot.number, "old_pid": old_pid, "new_pid": slot.child.pid})
        self._say(f"{slot.name}: pid {slot.child.pid} took the place of {old_pid or 'none'}")
        self._roll_next()

    def child_failed(self, slot: Slot, child: Child, text: str) -> None:
        """Stop the roll: the children that have not been replaced yet go on as they are."""
        if slot is not self._rolling or self._is_over:
            return
        self._rolling = None
        self._stop_roll(f"the new {child.name} did not get ready: {text}")

    def _prepared(self, outcome: Outcome) -> None:
        if self._is_over:
            return
        if outcome.error is not None:
            self._refuse(outcome.error)
            return
        try:
            plan = self._steps.compose(outcome.value)
        except JobsupError as error:
            self._refuse(error)
            return
        self.prepared, self.plan = outcome.value, plan
        for line in plan.lines or ("no changes",):
            self._say(line)
        if self.is_dry_run:
            self._finish(ExitCode.OK)
            return
        try:
            plan.begin()
        except JobsupError as error:
            self._refuse(error)
            return
        self._compare(plan)
        freeze_memory()
        self._roll_next()

    def _compare(self, plan: Plan) -> None:
        """Scale and adopt what can stay, and line up what must be replaced."""
        for spec in plan.specs:
            pool = self._crew.pools.get(spec.kind)
            old = self._plan_before.spec(spec.kind)
            if pool is None or old is None:
                slots = self._crew.add_pool(spec).scale(spec.count)
                self._to_roll.extend((slot, spec) for slot in slots)
                continue
            # A count that people changed while it ran stays, unless the file's own count changed.
            count = len(pool.wanted) if spec.count == old.count else spec.count
            if spec.fingerprint == old.fingerprint:
                pool.adopt(spec)
                for slot in pool.scale(count):
                    slot.start()
            else:
                pool.scale(min(count, len(pool.wanted)))
                kept = sorted(pool.wanted, key=lambda slot: slot.number)
                added = pool.scale(count)
                self._to_roll.extend((slot, spec) for slot in (*kept, *added))

    def _roll_next(self) -> None:
        self._rolling = None
        if not self._to_roll:
            self._rolled()
            return
        slot, spec = self._to_roll.popleft()
        if not slot.is_wanted:  # scaled away meanwhile
            self._roll_next()
            return
        self._rolling = slot
        try:
            slot.replace(spec)
        except OSError as error:
            self._rolling = None
            self._stop_roll(f"no process could be started for {slot.name}: {error.strerror}")

    def _stop_roll(self, why: str) -> None:
        left = [slot.name for slot, _ in self._to_roll]
        self._to_roll.clear()
        if not self.report.replaced:
            self._restore()
            self._finish(ExitCode.FAILED, f"{why}; the old ones stay, nothing was replaced")
            return
        self.is_rolled = True
        self._adopt_all()
        self._finish(ExitCode.FAILED, f"{why}; not replaced: {', '.join(left) or 'that one'}; mend it and reload again")

    def _restore(self) -> None:
        """Undo the comparison: kinds and counts as before."""
        with suppress(JobsupError):  # it could be done once; what it cannot do now stays as the new plan has it
            self._plan_before.begin()
        for pool in self._crew:
            old = self._plan_before.spec(pool.kind)
            if old is None:
                self._crew.drop_pool(pool.kind)
                continue
            pool.adopt(old)
            if self.plan is not None and (new := self.plan.spec(pool.kind)) is not None and new.count != old.count:
                for slot in pool.scale(old.count):
                    slot.start()

    def _adopt_all(self) -> None:
        assert self.plan is not None  # noqa: S101  # composed before anything is rolled
        for pool in self._crew:
            spec = self.plan.spec(pool.kind)
            if spec is None:
                self._crew.drop_pool(pool.kind)
            else:
                pool.adopt(spec)

    def _rolled(self) -> None:
        self.is_rolled = True
        self._adopt_all()
        prepared = self.prepared
        self._yard.run("apply", lambda: self._steps.apply(prepared), self._applied)

    def _applied(self, outcome: Outcome) -> None:
        if self._is_over:
            return
        if outcome.error is not None:
            self._finish(outcome.error.exit_code, f"the new configuration could not be applied: {outcome.error}")
            return
        for line in _lines(outcome.value):
            self._say(line)
        self._finish(ExitCode.OK)

    def _refuse(self, error: JobsupError) -> None:
        for line in str(error).splitlines():
            self._say(line)
        self._finish(error.exit_code, "refused, the running configuration goes on unchanged")

    def _say(self, line: str) -> None:
        self.report.lines.append(line)
        self._on_line(line)

    def _finish(self, exit_code: int, error: str = "") -> None:
        if self._is_over:
            return
        self._is_over = True
        self.report.exit_code = int(exit_code)
        self.report.error = error
        if error:
            self._on_line(error)
            emit("reload.failed", self.report.told(f"Reload: {error}"), level=logging.ERROR, lines=self.report.lines)
        self._on_done(self)


def _lines(value: Any) -> tuple[str, ...]:
    """Take what `apply` wants to say: lines, or nothing."""
    return tuple(str(line) for line in value) if isinstance(value, (list, tuple)) else ()
