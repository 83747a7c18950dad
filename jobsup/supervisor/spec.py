"""What the supervisor is told: which children to keep, and nothing about what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobsup.runtime.link import SupervisedLink

COUNT_MAX = 1024
"""The most children of one kind."""


@dataclass(frozen=True)
class ChildSpec:
    """One kind of child."""

    kind: str
    """`scheduler`, `worker` ...: the name in status and logs."""
    count: int
    run: Callable[[SupervisedLink], int]
    """What the forked child does; its result is the exit code."""
    fingerprint: str = ""
    """A reload that changes it replaces the children of this kind."""
    boot_timeout: float = 60.0
    """Seconds from the fork to `ready`; lengthened after each time it was not enough."""
    watchdog: float = 10.0
    """Seconds without a turn of its loop after which a child counts as hung."""
    drain_timeout: float = 30.0
    """Seconds between the wish to stop and the end of what still runs."""
    is_degrading: bool = True
    """A child of this kind that cannot be kept up makes the whole instance `degraded`."""
    is_scalable: bool = False
    """People may change the count while it runs."""


@dataclass(frozen=True)
class Plan:
    """One generation: the children to keep, and what to say of them."""

    specs: tuple[ChildSpec, ...]
    config: str = ""
    """The file it was made from, for status."""
    lines: tuple[str, ...] = ()
    """What changed against the generation before, for people."""
    facts: dict[str, Any] = field(default_factory=dict)
    """More for `status`, as it is."""
    begin: Callable[[], None] = lambda: None
    """What changes in the supervisor itself, before the first of these children is forked; JobsupError refuses it."""

    def spec(self, kind: str) -> ChildSpec | None:
        return next((spec for spec in self.specs if spec.kind == kind), None)
