"""One run: its page, its output as a stream and as a file, and what is done to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

from starlette.responses import Response, StreamingResponse

from jobsup.actions import runs as actions
from jobsup.errors import NotFoundError
from jobsup.model import Role, Status
from jobsup.portal.call import Call
from jobsup.portal.pages.keys import number
from jobsup.portal.routes import Entry
from jobsup.portal.views.ansi import Reader
from jobsup.portal.views.log import NEEDLE_CHARS_MAX, as_json
from jobsup.portal.views.run import run_of
from jobsup.portal.views.words import command, told, why
from jobsup.store import log_ranges
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
EVENT_BYTES = 64 * 1024
STREAMS_MAX = 200
TOO_MANY = "too many logs are being followed: close some, or use `jobsup logs -f`\n"

_open_streams: set[object] = set()


async def run(call: Call) -> Response:
    """Show a run; `?at=` a place in its output, `?q=` searches it."""
    place, needle = number(call, "at"), call.query.get("q", "")[:NEEDLE_CHARS_MAX]
    found = await call.ask(lambda database: run_of(database, _id(call), place=place, needle=needle))
    return call.page("run.html", found=found, needle=needle, why=why, told=told, command=command)


async def raw(call: Call) -> Response:
    """Send the kept output, byte by byte as it was printed; a hole is told in a header."""
    run_id = _id(call)
    extent = await call.ask(lambda database: log_ranges.extent(database, run_id))
    headers = {
        "Content-Disposition": f'attachment; filename="run-{run_id}.log"',
        "X-Content-Type-Options": "nosniff",
        "X-Output-Dropped": str(extent.dropped),
    }
    if extent.is_final:
        headers["Content-Length"] = str(extent.total - extent.dropped)
    body = _kept(call, run_id, extent)
    return StreamingResponse(body, media_type="application/octet-stream", headers=headers)


async def follow(call: Call) -> Response:
    """Stream what a run prints from a place on, as events; the id of each says where to go on."""
    run_id = _id(call)
    place, _, style = (call.request.headers.get("last-event-id") or call.query.get("from", "0")).partition(";")
    if not actions.is_run_id(place):
        raise NotFoundError(f"{place[:40]!r} is no place in the output of run {run_id}")
    await call.ask(lambda database: log_ranges.extent(database, run_id))  # there is such a run
    if len(_open_streams) >= STREAMS_MAX:
        return Response(TOO_MANY, 503, {"Retry-After": "30"}, media_type="text/plain")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    events = _events(call, run_id, Reader(int(place), style))
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def cancel(call: Call) -> Response:
    """End a run."""
    run_id = _id(call)
    after = await call.act("run.cancel", str(run_id), lambda database: actions.cancel(database, run_id, call.by))
    said = (
        "It is cancelled." if after is Status.CANCELLED else "It is being cancelled: TERM now, KILL after kill_grace."
    )
    return call.go(f"/runs/{run_id}", said)


async def retry(call: Call) -> Response:
    """Make a new attempt at what a run was for, and go to it."""
    run_id = _id(call)
    new = await call.act("run.retry", str(run_id), lambda database: actions.retry(database, run_id, call.by))
    return call.go(f"/runs/{new}", f"This is the new attempt at what run {run_id} was for.")


async def _events(call: Call, run_id: int, reader: Reader) -> AsyncIterator[str]:
    """Yield events until the run has ended, the browser has gone, or we leave."""
    loop = asyncio.get_running_loop()
    mark = object()
    _open_streams.add(mark)
    last_output = last_word = loop.time()
    try:
        yield "retry: 1000\n\n"
        while not call.site.draining.is_set():
            extent, tokens = await call.ask(partial(_look, run_id=run_id, reader=reader))
            now = loop.time()
            if tokens:
                last_output = last_word = now
                yield f"id: {reader.place};{reader.style}\ndata: {json.dumps(tokens)}\n\n"
                if reader.place < extent.total:
                    continue
            elif extent.is_final:
                yield f"event: end\ndata: {json.dumps(extent.status)}\n\n"
                return
            elif now - last_word > COMMENT_SECONDS:
                last_word = now
                yield ": still here\n\n"
            if not extent.is_final:
                await _pause(call, _look_seconds(is_busy=now - last_output < BUSY_SECONDS))
    finally:
        _open_streams.discard(mark)


def _look_seconds(*, is_busy: bool) -> float:
    return min(1.0, (LOOK_SECONDS if is_busy else IDLE_LOOK_SECONDS) * max(1.0, len(_open_streams) / FEW_STREAMS))


def _look(database: Database, run_id: int, reader: Reader) -> tuple[log_ranges.Extent, list[list[object]]]:
    extent, pieces = log_ranges.read(database, run_id, reader.next_place, EVENT_BYTES)
    if not pieces and extent.gap_end is not None and reader.next_place < extent.gap_end:
        extent, pieces = log_ranges.read(database, run_id, extent.gap_end, EVENT_BYTES)
    is_last = extent.is_final and (not pieces or pieces[-1].end >= extent.total)
    return extent, as_json(reader.read(pieces, is_final=is_last))


async def _pause(call: Call, seconds: float) -> None:
    try:
        await asyncio.wait_for(call.site.draining.wait(), seconds)
    except TimeoutError:
        return


async def _kept(call: Call, run_id: int, extent: log_ranges.Extent) -> AsyncIterator[bytes]:
    place = 0
    while place < extent.total:
        for piece in await call.ask(partial(_stretch, run_id=run_id, start=place)):
            yield piece.data
        place += log_ranges.RANGE_BYTES_MAX
        if extent.gap_start is not None and extent.gap_end is not None and extent.gap_start <= place < extent.gap_end:
            place = extent.gap_end


def _stretch(database: Database, run_id: int, start: int) -> list[log_ranges.Piece]:
    return log_ranges.read(database, run_id, start, log_ranges.RANGE_BYTES_MAX)[1]


def _id(call: Call) -> int:
    return int(call.path["id"])


ENTRIES = (
    Entry("GET", "/runs/{id:int}", run, Role.VIEWER),
    Entry("GET", "/runs/{id:int}/output", raw, Role.VIEWER),
    Entry("GET", "/runs/{id:int}/follow", follow, Role.VIEWER),
    Entry("POST", "/runs/{id:int}/cancel", cancel, Role.OPERATOR),
    Entry("POST", "/runs/{id:int}/retry", retry, Role.OPERATOR),
)
