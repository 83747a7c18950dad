"""The slots of one kind of child: kept filled, scaled, rolled to a new generation, stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from jobsup.clock import Clock
from jobsup.errors import ExitCode
from jobsup.events import emit
from jobsup.supervisor.backoff import Backoff, Bucket, Rest
from jobsup.supervisor.child import Child
from jobsup.supervisor.exits import Exit
from jobsup.supervisor.spec import ChildSpec
from jobsup.supervisor.yard import Yard

NEVER = float("inf")


class Slot:
    """One place for one child; it outlives the processes that fill it."""

    def __init__(self, number: int, spec: ChildSpec, yard: Yard, bucket: Bucket, clock: Clock) -> None:
        self.number = number
        self.spec = spec
        self.child: Child | None = None
        """The process that fills it."""
        self.replacement: Child | None = None
        """Of the next generation; takes the child's place once it is ready."""
        self.rest: Rest | None = None
        """Why there is no child; None while there is one."""
        self.rest_since = clock.now()
        self.start_at = NEVER
        self.restarts = 0
        self.last_exit = ""
        self.was_ready = False
        self.is_wanted = True
        self._yard = yard
        self._clock = clock
        self._backoff = Backoff(bucket)
        self._boot_timeouts = 0

    @property
    def name(self) -> str:
        return f"{self.spec.kind}-{self.number}"

    def start(self) -> None:
        """Fill the slot now."""
        self.rest = None
        self.start_at = NEVER
        try:
            self.child = self._yard.spawn(self.spec, self.number, self._boot_timeouts)
        except OSError as error:
            self._wait(f"no process could be started: {error.strerror}", None, is_config_fault=False)

    def replace(self, spec: ChildSpec) -> None:
        """Start a child of a new generation beside the present one; OSError when there is no room for a process."""
        self.replacement = self._yard.spawn(spec, self.number)

    def promote(self) -> Child | None:
        """Let the replacement, which is ready, take the place; returns the child that leaves, already told to."""
        assert self.replacement is not None  # noqa: S101  # asked only by whoever started it
        before, self.child, self.replacement = self.child, self.replacement, None
        self.spec = self.child.spec
        self.rest, self.start_at, self._boot_timeouts = None, NEVER, 0
        self._backoff.failures = 0
        self.was_ready = True
        if before is not None:
            before.stop()
        return before

    def vacate(self) -> None:
        """Have the child leave and fill the slot no more."""
        self.is_wanted = False
        self.start_at = NEVER
        for child in (self.child, self.replacement):
            if child is not None:
                child.stop()

    def check(self, now: float) -> float:
        """Start a child that is due; returns the seconds until one is."""
        if self.is_wanted and now >= self.start_at:
            self.restarts += 1
            self.start()
        return self.start_at - now

    def ended(self, child: Child, end: Exit, text: str) -> None:
        """Take note that the slot's own child is gone."""
        self.child = None
        self.last_exit = text
        if child.boot_timed_out:
            self._boot_timeouts += 1
        if self.is_wanted:
            is_config_fault = end.code == ExitCode.CONFIG and child.ready_since is None
            self._wait(text, child.ready_since, is_config_fault=is_config_fault)

    def _wait(self, why: str, ready_since: float | None, *, is_config_fault: bool) -> None:
        now = self._clock.monotonic()
        verdict = self._backoff.ended(now, ready_since, is_config_fault=is_config_fault)
        self.rest, self.rest_since = verdict.rest, self._clock.now()
        self.start_at = now + verdict.delay
        words = f"{self.name}: {why}; {_REST_WORDS[verdict.rest]}, next start in {verdict.delay:.2f} s"
        level = logging.INFO if verdict.rest is Rest.WAITING else logging.ERROR
        emit(f"slot.{verdict.rest}", words, level=level, slot=self.number, failures=self._backoff.failures)


class Pool:
    """All slots of one kind."""

    def __init__(self, spec: ChildSpec, yard: Yard, clock: Clock) -> None:
        self.spec = spec
        self.slots: dict[int, Slot] = {}
        self._yard = yard
        self._clock = clock
        self._bucket = Bucket(clock.monotonic())

    def __iter__(self) -> Iterator[Slot]:
        return iter(tuple(self.slots.values()))

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def wanted(self) -> list[Slot]:
        return [slot for slot in self if slot.is_wanted]

    @property
    def ready_count(self) -> int:
        return sum(slot.child is not None and slot.child.is_ready for slot in self.wanted)

    @property
    def is_degraded(self) -> bool:
        return any(slot.rest in (Rest.DEGRADED, Rest.CONFIG_FAULT) for slot in self.wanted)

    def scale(self, count: int) -> list[Slot]:
        """Have so many slots: new ones are made (and returned, not yet started), the highest ones are vacated."""
        for slot in sorted(self.wanted, key=lambda slot: slot.number)[count:]:
            slot.vacate()
        added = [self.add() for _ in range(count - len(self.wanted))]
        self._forget_vacated()
        return added

    def add(self) -> Slot:
        """Make the lowest slot that is free."""
        number = next(number for number in range(1, len(self.slots) + 2) if number not in self.slots)
        slot = Slot(number, self.spec, self._yard, self._bucket, self._clock)
        self.slots[number] = slot
        return slot

    def adopt(self, spec: ChildSpec) -> None:
        """Take over a specification that leaves running children as they are."""
        self.spec = spec
        for slot in self:
            slot.spec = spec
            for child in (slot.child, slot.replacement):
                if child is not None:
                    child.spec = spec

    def check(self, now: float) -> float:
        """Start what is due; returns the seconds until something is."""
        self._forget_vacated()
        return min((slot.check(now) for slot in self), default=NEVER)

    def ready(self, child: Child) -> Slot | None:
        """Take note that a child works; returns its slot when it is a replacement, which is then promoted."""
        slot = self.slots.get(child.slot)
        if slot is None:
            return None
        if slot.replacement is child:
            return slot
        if slot.child is child:
            slot.was_ready = True
        return None

    def ended(self, child: Child, end: Exit, text: str, *, is_final: bool) -> Slot | None:
        """Take note that a child is gone (`is_final`: none follows); returns its slot if it was a replacement."""
        slot = self.slots.get(child.slot)
        if slot is None:
            return None
        if slot.replacement is child:
            slot.replacement = None
            return slot
        if slot.child is child:
            slot.is_wanted = slot.is_wanted and not is_final
            slot.ended(child, end, text)
        return None

    def vacate(self) -> None:
        for slot in self:
            slot.vacate()

    def _forget_vacated(self) -> None:
        for slot in self:
            if not slot.is_wanted and slot.child is None and slot.replacement is None:
                del self.slots[slot.number]


_REST_WORDS = {
    Rest.WAITING: "restarting",
    Rest.DEGRADED: "degraded: it ends again and again",
    Rest.CONFIG_FAULT: "configuration fault: mend it and reload",
}
