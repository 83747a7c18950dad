"""Secrets taken out of what a run prints, as far as their exact bytes show it.

Best effort: a secret that is printed in another shape (encoded, in pieces with something between) is not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

MASK = b"***"
SECRET_BYTES_MIN = 6
"""Shorter values are not masked: they would blot out ordinary words."""


class Mask:
    """The secrets of one run. What may be the begin of one is held back until more has come."""

    def __init__(self, secrets: Iterable[str], learn: Callable[[], Iterable[str]] | None = None) -> None:
        """`learn` returns secrets that have become known since it was last called."""
        self._secrets: set[bytes] = set()
        self._learn = learn
        self._held: dict[int, bytes] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self._add(secrets)

    def feed(self, stream: int, data: bytes) -> bytes:
        """Take what a stream printed next; returns what of it, and of what was held back, may be shown."""
        if self._learn is not None:
            self._add(self._learn())
        if self._pattern is None:
            return data
        shown = self._pattern.sub(MASK, self._held.pop(stream, b"") + data)
        held = self._begun(shown)
        if held:
            self._held[stream] = shown[len(shown) - held :]
            shown = shown[: len(shown) - held]
        return shown

    def rest(self, stream: int) -> bytes:
        """Return what was held back of a stream that has ended."""
        return self._held.pop(stream, b"")

    def text(self, text: str) -> str:
        """Mask a text of our own that may quote the run."""
        if self._pattern is None:
            return text
        return self._pattern.sub(MASK, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def _add(self, secrets: Iterable[str]) -> None:
        values = {part for secret in secrets for part in _parts(secret) if len(part) >= SECRET_BYTES_MIN}
        if values <= self._secrets:
            return
        self._secrets |= values
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def _begun(self, data: bytes) -> int:
        """Return how many of the last bytes may be the begin of a secret."""
        most = 0
        for secret in self._secrets:
            start = max(0, len(data) - len(secret) + 1)
            while (start := data.find(secret[:1], start)) >= 0:
                if secret.startswith(data[start:]):
                    most = max(most, len(data) - start)
                    break  # an earlier begin holds back more than any later one
                start += 1
        return most


def _parts(secret: str) -> Iterable[bytes]:
    """Yield a secret, and each of its lines: a key is often printed line by line."""
    data = secret.encode("utf-8", "surrogateescape")
    yield data
    if b"\n" in data:
        yield from data.splitlines()
