"""`depends_on` over all jobs: whom each waits for, and whether that ever comes to an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from jobsup.config.report import Place, hint, shown
from jobsup.errors import Problem
from jobsup.model import JobSpec

NOBODY: Mapping[str, Sequence[str]] = MappingProxyType({})


def faults(
    jobs: Sequence[JobSpec], places: Mapping[str, Place], others: Mapping[str, Sequence[str]] = NOBODY
) -> Iterator[Problem]:
    """Say which jobs do not exist, are disabled, or wait for themselves; `places` are those of all names.

    `others` are jobs that stand elsewhere, each with those it waits for.
    """
    known = {job.name: job for job in jobs}
    for job in jobs:
        for index, other in enumerate(job.depends_on):
            place = places[job.name]
            if other not in places and other not in others:
                nearest = hint(other, {**others, **places})
                yield place.problem(f"there is no job {shown(other)}{nearest}", "depends_on", index)
            elif job.enabled and other in known and not known[other].enabled:
                yield place.problem(
                    f"{shown(other)} is disabled: it ends only when it is run by hand",
                    "depends_on",
                    index,
                    warning=True,
                )
    for circle in circles({**others, **{job.name: job.depends_on for job in jobs}}):
        ours = next((places[name] for name in circle if name in places), None)
        if ours is not None:
            yield ours.problem(f"goes in a circle: {' -> '.join(circle)}; break it", "depends_on")


def circles(edges: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Yield circles, each from its first name back to it, until every name is seen; iteratively, for long chains."""
    done: set[str] = set()
    for root in edges:
        way: list[str] = []
        on_way: dict[str, int] = {}
        waiting = [(root, iter(edges[root]))] if root not in done else []
        if waiting:
            on_way[root] = 0
            way.append(root)
        while waiting:
            name, others = waiting[-1]
            other = next((each for each in others if each in edges and each not in done), None)
            if other is None:
                waiting.pop()
                done.add(name)
                on_way.pop(way.pop())
            elif other in on_way:
                yield [*way[on_way[other] :], other]
            else:
                on_way[other] = len(way)
                way.append(other)
                waiting.append((other, iter(edges[other])))
