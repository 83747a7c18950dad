"""All processes that are ours: the one place that starts children, hears from them, and clears up after them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from jobsup.clock import Clock
from jobsup.events import emit
from jobsup.runtime import procs, trees
from jobsup.runtime.cgroups import Groups
from jobsup.runtime.channel import ChannelError
from jobsup.runtime.service import Loop
from jobsup.supervisor import guardian as guardians
from jobsup.supervisor.backoff import Backoff, Bucket
from jobsup.supervisor.child import Child, Event
from jobsup.supervisor.exits import Exit
from jobsup.supervisor.spawn import spawn_child
from jobsup.supervisor.spec import ChildSpec
from jobsup.supervisor.task import Outcome, Task

STRANGERS_SECONDS = 1.0
"""How long one clearing may hold up the loop; what is left is looked at again."""
STRANGERS_ROUNDS_MAX = 10
NEVER = float("inf")


class Yard:
    """Knows every process we started. `on_ready` and `on_ended` hear of children."""

    def __init__(
        self, loop: Loop, clock: Clock, instance: str, release: Callable[[], None], groups: Groups | None = None
    ) -> None:
        self.on_news: Callable[[], None] = lambda: None
        """Called before an end is judged: a signal to our whole group reaches children and us, and we hear it first."""
        self.on_ready: Callable[[Child], None] = lambda _child: None
        self.on_ended: Callable[[Child, Exit, str], None] = lambda _child, _end, _text: None
        self.guardian: guardians.Guardian | None = None
        self.guardian_restarts = 0
        self._loop = loop
        self._clock = clock
        self._instance = instance
        self._release = release
        self._groups = groups
        self._children: dict[int, Child] = {}
        self._tasks: dict[int, Task] = {}
        self._guardian_backoff = Backoff(Bucket(clock.monotonic()))
        self._guardian_since = clock.monotonic()
        self._guardian_at = NEVER

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self._children.values()))

    @property
    def is_empty(self) -> bool:
        return not self._children and not self._tasks

    def spawn(self, spec: ChildSpec, slot: int, boot_timeouts: int = 0) -> Child:
        """Fork a child; OSError when the machine has no room for another process."""
        child = spawn_child(spec, slot, self._release, self._clock, boot_timeouts)
        self._children[child.pid] = child
        if self.guardian is not None:
            self.guardian.add(child.pid, child.start_time)
        self._loop.watch(child.pidfd, partial(self._child_ended, child))
        self._loop.watch(child.channel.fileno(), partial(self._child_speaks, child))
        emit("child.started", f"{child.name} started as pid {child.pid}", kind=spec.kind, slot=slot, pid=child.pid)
        return child

    def run(self, name: str, work: Callable[[], Any], on_done: Callable[[Outcome], None]) -> None:
        """Have a short-lived child do `work`, and call back with what came of it."""

        def done(outcome: Outcome) -> None:
            del self._tasks[task.pid]
            if self.guardian is not None:
                self.guardian.remove(task.pid)
            self.clear_strangers()
            on_done(outcome)

        try:
            task = Task(name, work, done, self._loop, self._release)
        except OSError as error:
            on_done(Outcome(error=ChannelError(f"{name}: no process could be started: {error.strerror}")))
            return
        self._tasks[task.pid] = task
        if self.guardian is not None:
            self.guardian.add(task.pid, procs.start_time(task.pid) or 0)

    def cancel_tasks(self, why: str) -> None:
        for task in self._tasks.values():
            task.kill(why)

    def send(self, child: Child, message: dict[str, Any]) -> bool:
        """Tell a child something; False when it does not listen any more."""
        try:
            child.channel.send(message)
        except ChannelError as error:
            emit("child.deaf", f"{child.name}: {error}", level=logging.WARNING, pid=child.pid)
            return False
        return not child.channel.closed

    def check(self, now: float, judged_from: float) -> float:
        """Look after the deadlines of children and tasks, and after the guardian; returns seconds until the next."""
        seconds = [child.check(now, judged_from) for child in self]
        seconds += [task.check(now) for task in tuple(self._tasks.values())]
        for child in self:
            child.channel.flush()
        if now >= self._guardian_at:
            self.start_guardian()
        return min([*seconds, self._guardian_at - now])

    def start_guardian(self) -> None:
        """Fork the guardian and tell it what there is."""
        self._guardian_at = NEVER
        try:
            self.guardian = guardians.start(self._instance, self._release, self._groups)
        except OSError as error:
            self._retry_guardian(f"it could not be started: {error.strerror}")
            return
        self._guardian_since = self._clock.monotonic()
        self._loop.watch(self.guardian.pidfd, self._guardian_ended)
        for child in self:
            self.guardian.add(child.pid, child.start_time)

    def renew_guardian(self) -> None:
        """Put a guardian forked now in the place of the one there is: it shares what was loaded since."""
        before = self.guardian
        if before is None:
            return  # it is being replaced anyway
        self.start_guardian()
        if self.guardian is not before:
            self._loop.unwatch(before.pidfd)
            before.dismiss()

    def dismiss_guardian(self) -> None:
        self._guardian_at = NEVER
        if self.guardian is not None:
            self._loop.unwatch(self.guardian.pidfd)
            self.guardian.dismiss()
            self.guardian = None

    def clear_strangers(self) -> None:
        """End and reap processes that were re-parented to us: leftovers of dead children, with all below them."""
        for _ in range(STRANGERS_ROUNDS_MAX):
            strangers = self._strangers()
            if not strangers:
                return
            left = trees.kill_tree(
                strangers, deadline_seconds=STRANGERS_SECONDS / STRANGERS_ROUNDS_MAX, keep=self._known()
            )
            for pid in set(strangers) - set(left):
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        emit("strangers.left", f"Processes that do not die: {self._strangers()}", level=logging.ERROR)

    def reap_strangers(self) -> None:
        """Reap adopted processes that ended by themselves, and leave the living alone."""
        for pid in self._strangers():
            found = procs.stat(pid)
            if found is not None and found.state == "Z":
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def close_in_child(self) -> None:
        """Close, in a forked child, the sockets to its siblings; plain descriptors are closed together later."""
        for child in self._children.values():
            child.channel.close()

    def _known(self) -> set[int]:
        guardian = [] if self.guardian is None else [self.guardian.pid]
        return {*self._children, *self._tasks, *guardian}

    def _strangers(self) -> list[int]:
        return [pid for pid in procs.children(os.getpid()) if pid not in self._known()]

    def _child_speaks(self, child: Child) -> None:
        try:
            messages = child.channel.receive()
        except ChannelError as error:
            child.kill(f"broke the protocol: {error}")
            return
        for message in messages:
            if isinstance(message.get("facts"), dict):
                child.facts = message["facts"]
            if message.get("ready") and child.happen(Event.SAID_READY):
                emit("child.ready", f"{child.name} is ready", level=logging.DEBUG, pid=child.pid)
                self.on_ready(child)
        if child.channel.closed:
            self._loop.unwatch(child.channel.fileno())

    def _child_ended(self, child: Child) -> None:
        end = child.look()
        if end is None:
            return
        self.on_news()
        if not child.channel.closed:
            self._child_speaks(child)  # its last words: facts we need to clear up after it
        self._loop.unwatch(child.channel.fileno())
        self._loop.unwatch(child.pidfd)
        del self._children[child.pid]
        text = child.bury(end)
        if self.guardian is not None:
            self.guardian.remove(child.pid)
        if self._groups is not None:
            self._groups.end(f"{child.pid}.", wait_seconds=STRANGERS_SECONDS)
        self.clear_strangers()
        level = logging.INFO if child.is_leaving and not child.cause else logging.ERROR
        emit("child.ended", f"{child.name} (pid {child.pid}) ended: {text}", level=level, pid=child.pid, exit=text)
        self.on_ended(child, end, text)

    def _guardian_ended(self) -> None:
        if self.guardian is None or (end := self.guardian.look()) is None:
            return
        self._loop.unwatch(self.guardian.pidfd)
        self.guardian.bury()
        self.guardian = None
        self.guardian_restarts += 1
        self._retry_guardian(f"it ended: {end}")

    def _retry_guardian(self, why: str) -> None:
        now = self._clock.monotonic()
        verdict = self._guardian_backoff.ended(now, self._guardian_since)
        self._guardian_at = now + verdict.delay
        emit("guardian.ended", f"The guardian is replaced: {why}", level=logging.WARNING)
