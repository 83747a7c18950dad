"""What an import has made of a source: jobs to be, with notes, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be taken over, and its place in the source."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A job to be: its table as the configuration file would hold it, and what a person should know of it."""

    place: str
    """Where it is from, such as `/etc/crontab:12`."""
    table: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.table["name"])


@dataclass(frozen=True, slots=True)
class Harvest:
    """All that one source gave."""

    drafts: tuple[Draft, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass
class Basket:
    """A harvest under way."""

    drafts: list[Draft] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def add(self, harvest: Harvest) -> None:
        self.drafts += harvest.drafts
        self.faults += harvest.faults

    def fault(self, place: str, message: str) -> None:
        self.faults.append(Fault(place, message))

    def harvest(self) -> Harvest:
        return Harvest(tuple(self.drafts), tuple(self.faults))


def joined(harvests: Iterable[Harvest]) -> Harvest:
    basket = Basket()
    for harvest in harvests:
        basket.add(harvest)
    return basket.harvest()
