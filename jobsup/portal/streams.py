"""Streams of a run's output as server-sent events: many at once, each looked at as often as the load allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

from jobsup.portal.call import Call
from jobsup.store.engine import Database

LOOK_SECONDS = 0.05
"""Between two looks for new output while a stream is young, or output comes, and few are open."""
FEW_STREAMS = 10
"""With more open streams each is looked at less often, so that all together cost no more."""
IDLE_LOOK_SECONDS = 0.5
BUSY_SECONDS = 20.0
"""Without output for so long, a stream is looked at less often."""
COMMENT_SECONDS = 15.0
"""A proxy closes what is silent; a comment keeps it open."""
STREAMS_MAX = 200
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


def stream(call: Call, look: Callable[[Database], Look]) -> Response:
    """Answer with what `look` finds, again and again until it tells an end; 503 when too many do so."""
    if len(_open_streams) >= STREAMS_MAX:
        return Response(TOO_MANY, 503, {"Retry-After": "30"}, media_type="text/plain")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(call, look), media_type="text/event-stream", headers=headers)


_open_streams: set[object] = set()


async def _events(call: Call, look: Callable[[Database], Look]) -> AsyncIterator[str]:
    """Yield events until the run has ended, the reader has gone, or we leave."""
    loop = asyncio.get_running_loop()
    mark = object()
    _open_streams.add(mark)
    last_output = last_word = loop.time()
    try:
        yield "retry: 1000\n\n"
        while not call.site.draining.is_set():
            found = await call.ask(look)
            now = loop.time()
            if found.text:
                last_output = last_word = now
                yield found.text
            if found.end:
                yield found.end
                return
            if found.is_behind:
                continue
            if now - last_word > COMMENT_SECONDS:
                last_word = now
                yield ": still here\n\n"
            await _pause(call, _look_seconds(is_busy=now - last_output < BUSY_SECONDS))
    finally:
        _open_streams.discard(mark)


def _look_seconds(*, is_busy: bool) -> float:
    return min(1.0, (LOOK_SECONDS if is_busy else IDLE_LOOK_SECONDS) * max(1.0, len(_open_streams) / FEW_STREAMS))


async def _pause(call: Call, seconds: float) -> None:
    try:
        await asyncio.wait_for(call.site.draining.wait(), seconds)
    except TimeoutError:
        return
