"""The control groups of a worker and its runs, where there are any; and what is said when a limit holds nowhere."""

from __future__ import annotations

import itertools
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field

from jobsup.events import emit
from jobsup.runtime.cgroups import Group, Groups
from jobsup.worker.confinement import Confinement


@dataclass(slots=True)
class Grouping:
    """Makes a group for each process a worker starts, and removes it afterwards."""

    groups: Groups | None = None
    """None: this host has no place for them."""
    _own: Group | None = None
    """The worker's own, in which its plain runs are too."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _told: set[str] = field(default_factory=set)
    """What has been said already: once is enough of each."""

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset() if self.groups is None else self.groups.controllers

    def enter(self) -> None:
        """Have a group for this worker: all that it starts is born into it."""
        if self.groups is None:
            return
        try:
            self._own = self.groups.enter(f"{os.getpid()}.self")
        except OSError as error:
            self._tell("own", f"This worker has no control group: {error.filename}: {error.strerror}")

    def leave(self) -> None:
        """Go back to where the worker came from."""
        if self.groups is not None and self._own is not None:
            with suppress(OSError):
                self.groups.leave()
                self._own.remove()

    def is_short_of_memory(self) -> bool:
        """Say whether the kernel has ended a plain run's process for want of memory since this was last asked."""
        return self._own is not None and self._own.take_oom_kills() > 0

    def open(self, confinement: Confinement) -> Group | None:
        """Make a group with these limits; None when it needs none, or there is none to be had, which is said once."""
        if self.groups is None or not confinement.needs_wrapper:
            return None
        try:
            group = self.groups.make(f"{os.getpid()}.{next(self._numbers)}")
            group.limit(
                memory_max=confinement.memory_max,
                tasks_max=confinement.tasks_max,
                cpu_quota=confinement.cpu_quota,
            )
        except OSError as error:
            text = f"A run has no control group, its processes are found without: {error.filename}: {error.strerror}"
            self._tell("group", text)
            return None
        return group

    def close(self, group: Group) -> None:
        """Remove a group, with whatever still is in it."""
        if self.groups is not None and not group.remove():
            group.kill()
            self.groups.drop(group)

    def tidy(self) -> None:
        if self.groups is not None:
            self.groups.tidy()

    def tell_what_holds_nothing(self, job: str, confinement: Confinement, group: Group | None) -> None:
        """Warn, once for each job, of limits that nothing on this host can hold it to."""
        controllers = frozenset() if group is None else group.controllers
        if confinement.cpu_quota is not None and "cpu" not in controllers:
            self._tell(
                f"{job} cpu", f'Job "{job}": cpu_quota holds nothing: no control group with the controller "cpu"'
            )
        is_root = os.geteuid() == 0 and (confinement.account is None or confinement.account.uid == 0)
        if confinement.tasks_max is not None and "pids" not in controllers and is_root:
            text = 'no control group with the controller "pids", and the kernel counts no processes of root'
            self._tell(f"{job} pids", f'Job "{job}": tasks_max holds nothing: {text}')

    def _tell(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            emit("run.unconfined", text, level=logging.WARNING)
