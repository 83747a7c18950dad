"""Answers that are given again: while many ask at once, who asks the same within two seconds gets the same.

Alone, nobody gets anything but a fresh answer. In a crowd one look at the database serves all who ask for one thing
with one and the same cookie or token, so that a thousand requests a second cost little more than their transport. One
of them has an answer renewed before it is too old, and the others need not wait for that. A change made through this
portal ends what is remembered; one made elsewhere is seen two seconds later at most, where a page that keeps itself up
asks every five.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from jobsup.clock import Clock

SECONDS = 2.0
"""How old an answer may be, and how long a crowd counts as one after it was seen."""
RENEWED_SECONDS = 1.7
"""At this age the next who asks gets a new one; the others have the old one until that is there."""
BYTES_MAX = 8 << 20
"""Of all bodies that are remembered."""

WHO = (b"cookie", b"authorization")

Keep = Callable[[Response, str, float], None]
"""Takes a response, the name of the token it is shown to, and when what it shows was looked at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody got."""

    response: Response
    token: str
    """The name of the token it was shown to; empty: it was a session."""
    at: float
    """When it was begun, or what it shows was looked at, by the monotonic clock."""


class Repeats:
    """All answers of the last moment; used by the portal's loop alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._coming: dict[bytes, asyncio.Future[Answer | None]] = {}
        self._bytes = 0
        self._crowded_until = float("-inf")

    def crowd(self) -> None:
        """Take note that many ask at once."""
        self._crowded_until = self._clock.monotonic() + SECONDS

    @property
    def are_given(self) -> bool:
        """Whether many ask, or did a moment ago."""
        return self._clock.monotonic() <= self._crowded_until

    async def find(self, key: bytes) -> Answer | None:
        """Return an answer that serves, also one that is just being made; None: nobody waits, or there is none."""
        if not key or not self.are_given:
            return None
        known, coming = self._answers.get(key), self._coming.get(key)
        age = math.inf if known is None else self._clock.monotonic() - known.at
        if age < RENEWED_SECONDS or (age < SECONDS and coming is not None):
            return known
        return await asyncio.shield(coming) if coming is not None else None

    @contextmanager
    def making(self, key: bytes) -> Iterator[Keep]:
        """Let others wait for an answer while it is made; what is yielded takes it, if it may be given again."""
        if not key or key in self._coming:
            yield lambda _response, _token, _seen_at: None
            return
        began, made = self._clock.monotonic(), list[Answer]()

        def keep(response: Response, token: str, seen_at: float) -> None:
            if _is_whole(response):
                made.append(Answer(response, token, min(began, seen_at)))

        future = self._coming[key] = asyncio.get_running_loop().create_future()
        try:
            yield keep
        finally:
            if self._coming.get(key) is future:  # else something was changed meanwhile
                del self._coming[key]
                self._remember(key, made)
            future.set_result(made[0] if made else None)

    def forget(self) -> None:
        """Something was changed: what was read before is no answer any more, nor is what is being read."""
        self._answers.clear()
        self._coming.clear()
        self._bytes = 0

    def _remember(self, key: bytes, made: list[Answer]) -> None:
        self._drop(key)
        for answer in made:
            self._answers[key] = answer
            self._bytes += len(answer.response.body)
        while self._bytes > BYTES_MAX:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: bytes) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._bytes -= len(answer.response.body)


def key_of(scope: Scope, headers: Headers) -> bytes:
    """Return what two requests have in common that may get one answer; empty: this one wants an answer of its own.

    All headers that say who asks count, however many: a cookie may come in several.
    """
    if "no-cache" in headers.get("cache-control", ""):
        return b""
    who = [b"%s:%s" % each for each in scope["headers"] if each[0] in WHO]
    return hashlib.sha256(b"\0".join((scope["path"].encode(), scope["query_string"], *who))).digest()


def _is_whole(response: Response) -> bool:
    """Say whether a response is a page or a document, and not a stream, an error or the making of a cookie."""
    return response.status_code == 200 and hasattr(response, "body") and "set-cookie" not in response.headers
