"""What a transaction has to tell when it is committed, beside the kinds of listeners all of whom it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_OFFER = "offer"
_BETWEEN = "\n"
"""In no name, queue or tag."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Runs that can be claimed now: for as many workers as can have one, not for all. It says who can."""

    queue: str
    target: str = ""
    """The host they have to run on; empty: any."""
    requires: str = ""
    """The tags their worker must have, as `job_dispatch.requires` has them; empty: none."""

    @property
    def key(self) -> str:
        """Return what the news are kept by until the commit."""
        return _BETWEEN.join((_OFFER, self.queue, self.target, self.requires))


def offers(news: Mapping[str, int]) -> dict[Offer, int]:
    """Return the offers among some news, and of how many runs each is."""
    return {Offer(*key.split(_BETWEEN)[1:]): count for key, count in news.items() if key.startswith(_OFFER + _BETWEEN)}


def kinds(news: Mapping[str, int]) -> list[str]:
    """Return whom of all are told."""
    return sorted(key for key in news if not key.startswith(_OFFER + _BETWEEN))
