"""A worker's whole traffic with the database: one transaction a round, however much came together meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobsup.model import Claim, Heartbeat, OutputChunk, Reason, RunResult
from jobsup.store.engine import Database


@dataclass(frozen=True, slots=True)
class Worker:
    """The registered worker that acts."""

    worker_id: str
    node: str
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """What a worker wants of the database at once."""

    started: dict[int, datetime] = field(default_factory=dict)
    """Dispatches whose process runs since then."""
    chunks: Sequence[OutputChunk] = ()
    """Live output to add."""
    dropped: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Dispatch -> live output from one offset up to another that is past its cap and goes."""
    results: Sequence[RunResult] = ()
    release: Sequence[int] = ()
    """Claimed and not started: to be given back without counting an attempt."""
    claim: int = 0
    """How many dispatches it wants."""
    heartbeat: Heartbeat | None = None
    watch_cancels: bool = False
    """Ask which of its runs somebody wants to end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database said."""

    claims: tuple[Claim, ...] = ()
    refused: frozenset[int] = frozenset()
    """Results that changed nothing, because the dispatch was no longer this worker's."""
    cancels: dict[int, Reason] = field(default_factory=dict)
    next_available_at: datetime | None = None
    """When a claim found less than it wanted: the earliest instant at which waiting work becomes claimable."""
    is_registered: bool = True
    """False: the worker's row is gone or OFFLINE; it must end its runs and leave."""


def exchange(database: Database, worker: Worker, request: Round) -> Answer:
    """Do a whole round in one transaction: started, output, results (with retries), give-backs, heartbeat, claim."""
    raise NotImplementedError


def resolve(database: Database, worker: Worker, request: Round) -> Answer | None:
    """After an error whose commit may have happened: None when it has not, so that the round can be sent again."""
    raise NotImplementedError
