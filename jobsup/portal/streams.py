"""Streams of a run's output as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response, StreamingResponse

from jobsup.portal.call import Call
from jobsup.store.log_ranges import Extent, Piece

COMMENT_SECONDS = 15.0
"""A proxy closes what is silent; a comment keeps it open."""
STREAMS_MAX = 200
LITTLE_BYTES = 4096
"""More than this is put into events in a thread: the loop has others to serve."""
TOO_MANY = "too many logs are being followed: close some, or use `jobsup logs -f`\n"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a run found."""

    text: str
    """Events to send, each ended; empty: nothing new."""
    is_behind: bool = False
    """There is more already."""
    end: str = ""
    """The last event, when the run has ended and all of it is sent."""


class Follower(Protocol):
    """One stream's reader."""

    @property
    def place(self) -> int:
        """Where it reads on."""
        ...

    def take(self, extent: Extent, pieces: Sequence[Piece]) -> Look:
        """Make events of what was found there, and go on."""
        ...


def stream(call: Call, run_id: int, follower: Follower) -> Response:
    """Answer with what a follower makes of a run's output until it tells an end; 503 when too many do so."""
    if call.site.watches.followers >= STREAMS_MAX:
        return Response(TOO_MANY, 503, {"Retry-After": "30"}, media_type="text/plain")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(call, run_id, follower), media_type="text/event-stream", headers=headers)


async def _events(call: Call, run_id: int, follower: Follower) -> AsyncIterator[str]:
    """Yield events until the run has ended, the reader has gone, or we leave."""
    watches = call.site.watches
    with watches.following():
        yield "retry: 1000\n\n"
        while not call.site.draining.is_set():
            with watches.watching(run_id) as change:
                extent, pieces = await watches.read(run_id, follower.place)
                is_much = sum(len(piece.data) for piece in pieces) > LITTLE_BYTES
                took = asyncio.to_thread(follower.take, extent, pieces) if is_much else None
                found = follower.take(extent, pieces) if took is None else await took
                if found.text:
                    yield found.text
                if found.end:
                    yield found.end
                    return
                if not found.is_behind and not await _comes(change):
                    yield ": still here\n\n"


async def _comes(change: asyncio.Event) -> bool:
    """Wait for a change; False: there was none for so long that a proxy would hang up."""
    try:
        await asyncio.wait_for(change.wait(), COMMENT_SECONDS)
    except TimeoutError:
        return False
    return True
