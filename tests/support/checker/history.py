"""What is known of one run of the whole: everything the properties are judged by. Instants are seconds since 1970."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path


class FaultKind(StrEnum):
    """What was done to the system, and so what may follow from it."""

    PARTITION = "partition"
    """A host was cut off: its runs may be lost, and nothing of its own is on time."""
    FREEZE = "freeze"
    """All processes of a host stood still: the one fault after which two attempts may overlap."""
    KILL = "kill"
    """Processes of a host were killed: runs may be lost at once."""
    STOP = "stop"
    """A host was told to stop in order."""
    DATABASE = "database"
    """The database did not answer, or ended connections: things are late; runs are lost only if it lasts."""
    LOAD = "load"
    """The machine itself was so busy that nothing could be on time."""


LOSING = (FaultKind.PARTITION, FaultKind.FREEZE, FaultKind.KILL, FaultKind.STOP)
"""Faults of a host that may lose its runs."""


@dataclass(frozen=True, slots=True)
class JobLaw:
    """What was asked for: one job and its policies."""

    name: str
    every: float | None = None
    """Seconds between two ticks, counted from 1970; None: only by hand."""
    attempts_max: int = 4
    overlap: str = "skip"
    timeout: float = 600.0
    grace: float = 10.0
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """When the jobs' definitions were in force: surely from `begin` until `end`, perhaps a little around it."""

    first: float
    begin: float
    end: float
    last: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What was promised, in seconds."""

    created: float = 2.0
    """A tick's row exists so soon."""
    started: float = 5.0
    """Its first attempt has begun so soon."""
    recovery: float = 10.0
    """After a fault everything is normal again so soon."""
    takeover: float = 10.0
    """A leader that is gone is replaced so soon."""
    fence: float = 17.5
    """A worker that cannot renew for so long may end its runs itself."""
    clock: float = 0.25
    """How far the instants of two clocks may be apart on one machine, statements under way included."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done, to a host or (host "") to what all share."""

    kind: FaultKind
    begin: float
    end: float
    host: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A run that was asked for: "ok" with the run's id, "failed", or "unknown" when no answer came."""

    job: str
    result: str
    at: float
    run: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of the ledger."""

    kind: str
    job: str
    run: int
    attempt: int
    scheduled_for: str
    pid: int
    started: int
    real: float
    mono: float
    network: int = 0
    boot: str = ""
    exit: int | None = None
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of job_dispatch in the end, with what its log row adds."""

    id: int
    job: str
    source: str
    status: str
    created_at: float
    scheduled_for: float | None = None
    target: str = ""
    reason: str = ""
    retry_count: int = 0
    retry_of: int | None = None
    skipped_until: float | None = None
    skipped_count: int | None = None
    claimed_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    worker_id: str | None = None
    host: str | None = None
    epoch: int | None = None
    message: str = ""
    exit_code: int | None = None
    output: str | None = None
    output_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds: memory of its own in bytes, and children that have ended and were not waited for."""

    descriptors: int
    threads: int
    memory: int
    zombies: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the tables said once in between: run -> status."""

    at: float
    statuses: dict[int, str]


@dataclass(frozen=True)
class History:
    """All the evidence of one run."""

    jobs: tuple[JobLaw, ...]
    window: Window
    attempts: tuple[Attempt, ...]
    marks: tuple[Mark, ...]
    read_at: float
    """When the tables were read, after all was quiet."""
    faults: tuple[Fault, ...] = ()
    requests: tuple[Request, ...] = ()
    deaths: dict[str, float] = field(default_factory=dict)
    """"pid/start" of a job's process -> when it was seen dead, on the monotonic clock."""
    samples: tuple[Sample, ...] = ()
    survivors: tuple[int, ...] = ()
    """Processes of ours that were there when all had been stopped."""
    hosts: dict[int, str] = field(default_factory=dict)
    """Network namespace -> name of the host that lives in it."""
    used_before: dict[str, Usage] = field(default_factory=dict)
    """"host/kind-slot" of each process of ours -> what it held before anything was broken."""
    used_after: dict[str, Usage] = field(default_factory=dict)
    """The same, when all was quiet."""
    files_left: tuple[str, ...] = ()
    """What was kept on disk for a while and is there in the end."""
    removed: int = 0
    """How many rows retention says it has removed."""
    bounds: Bounds = Bounds()

    @cached_property
    def laws(self) -> dict[str, JobLaw]:
        return {job.name: job for job in self.jobs}

    @cached_property
    def by_id(self) -> dict[int, Attempt]:
        return {row.id: row for row in self.attempts}

    @cached_property
    def starts(self) -> dict[int, list[Mark]]:
        """Run -> its start lines."""
        return _grouped(self.marks, "start")

    @cached_property
    def ends(self) -> dict[int, list[Mark]]:
        """Run -> its end lines."""
        return _grouped(self.marks, "end")

    @cached_property
    def chains(self) -> list[list[Attempt]]:
        """The attempts at one and the same thing, first to last, as `retry_of` links them."""
        following = {row.retry_of: row for row in self.attempts if row.retry_of is not None}
        chains = []
        for root in self.attempts:
            if root.retry_of is None:
                chain = [root]
                while (after := following.get(chain[-1].id)) is not None and after not in chain:
                    chain.append(after)
                chains.append(chain)
        return chains

    def host_of(self, mark: Mark) -> str:
        return self.hosts.get(mark.network, "")

    def death_of(self, mark: Mark) -> float:
        """When the process of a start line was gone, on the monotonic clock; never, if nobody saw it go."""
        ends = [end.mono for end in self.ends.get(mark.run, []) if (end.pid, end.started) == (mark.pid, mark.started)]
        return min([*ends, self.deaths.get(f"{mark.pid}/{mark.started}", math.inf)])

    def touched(
        self, begin: float, end: float, *, kinds: Sequence[FaultKind] = tuple(FaultKind), host: str | None = None
    ) -> list[Fault]:
        """Return the faults (of a host, or of all) that may have had a part in what happened from `begin` to `end`."""
        return [
            fault
            for fault in self.faults
            if fault.kind in kinds
            and (host is None or fault.host in ("", host))
            and fault.begin - self.bounds.clock <= end
            and begin <= fault.end + self.bounds.recovery
        ]

    def save(self, path: Path) -> None:
        """Keep the evidence, to be judged again."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> History:
        """Read evidence that was kept."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            jobs=tuple(JobLaw(**each) for each in kept["jobs"]),
            window=Window(**kept["window"]),
            attempts=tuple(Attempt(**each) for each in kept["attempts"]),
            marks=tuple(Mark(**each) for each in kept["marks"]),
            read_at=kept["read_at"],
            faults=tuple(Fault(**{**each, "kind": FaultKind(each["kind"])}) for each in kept["faults"]),
            requests=tuple(Request(**each) for each in kept["requests"]),
            deaths=kept["deaths"],
            samples=tuple(
                Sample(each["at"], {int(run): status for run, status in each["statuses"].items()})
                for each in kept["samples"]
            ),
            survivors=tuple(kept["survivors"]),
            hosts={int(network): host for network, host in kept["hosts"].items()},
            used_before={name: Usage(**each) for name, each in kept["used_before"].items()},
            used_after={name: Usage(**each) for name, each in kept["used_after"].items()},
            files_left=tuple(kept["files_left"]),
            removed=kept["removed"],
            bounds=Bounds(**kept["bounds"]),
        )


def read_ledger(path: Path) -> tuple[Mark, ...]:
    """Read what the jobs wrote."""
    if not path.exists():
        return ()
    return tuple(Mark(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())


def instant(text: str) -> float:
    """Read an RFC 3339 instant as the jobs are given it."""
    return datetime.fromisoformat(text).timestamp()


def _grouped(marks: Sequence[Mark], kind: str) -> dict[int, list[Mark]]:
    found: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.kind == kind:
            found.setdefault(mark.run, []).append(mark)
    return found
