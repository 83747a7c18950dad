"""Who a scheduler is, as the lease tells others: enough to know whether that very process still runs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from jobsup.runtime import procs
from jobsup.runtime.procs import HostIdentity

FIELDS = 4
"""What follows the node, which may hold slashes itself: boot, pid namespace, pid, start."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One scheduler process on one boot of one machine."""

    host: HostIdentity
    pid: int
    started: int
    """Clock ticks after boot; tells a pid that was used again."""

    def __str__(self) -> str:
        return "/".join((self.host.node, self.host.boot_id, self.host.pid_ns, str(self.pid), str(self.started)))


def own(host: HostIdentity) -> Holder:
    """Return the identity of this process."""
    pid = os.getpid()
    return Holder(host, pid, procs.start_time(pid) or 0)


def parse(text: str) -> Holder | None:
    """Read a holder back; None for what another version may have written."""
    node, *fields = text.rsplit("/", FIELDS)
    if len(fields) != FIELDS or not (fields[2].isdigit() and fields[3].isdigit()):
        return None
    return Holder(HostIdentity(node, fields[0], fields[1]), int(fields[2]), int(fields[3]))


def is_dead(text: str, here: HostIdentity) -> bool:
    """Say whether a holder is a process of this very host that has ended; of any other host nothing is known."""
    holder = parse(text)
    if holder is None or holder.host != here:
        return False
    return not procs.is_alive(holder.pid, holder.started)
