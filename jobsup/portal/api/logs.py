"""What runs printed, for programs: a stretch, a search, a stream, and the very bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response, StreamingResponse

from jobsup.actions.operations.base import flag, text, whole
from jobsup.actions.runs import RUN_ID_MAX
from jobsup.errors import NotFoundError, UsageError
from jobsup.model import STDERR, Role
from jobsup.portal.api.documents import document, read_query
from jobsup.portal.api.twins import plain
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry, Handler
from jobsup.portal.streams import Look, stream
from jobsup.portal.views.log import NEEDLE_CHARS_MAX, search
from jobsup.store import log_ranges

BEHIND_ALL = 1 << 62
"""A place that no output gets to."""
STRETCH_BYTES_DEFAULT = 64 * 1024
FROM = whole("The first byte's place.", 0, RUN_ID_MAX)
STRETCH = {"from": FROM, "len": whole("How many bytes.", 1, log_ranges.RANGE_BYTES_MAX)}
SEARCH = {"q": text("The text that is looked for, in whatever case.", most=NEEDLE_CHARS_MAX, least=1)}
STREAM = {
    "from": FROM,
    "follow": flag("false: end with what there is, instead of with the run."),
    "output": flag("false: only tell the end."),
}
RAW = {"from": FROM, "len": whole("How many bytes; else all.", 1, RUN_ID_MAX)}


async def log(call: Call) -> Response:
    """Answer with a stretch of the output, piece by piece of its two streams, as text and as bytes."""
    given, number = read_query(call.request, STRETCH), _number(call)
    start, length = given.get("from", 0), given.get("len", STRETCH_BYTES_DEFAULT)
    extent, pieces = await call.ask(lambda database: log_ranges.read(database, number, start, length))
    return document(
        {
            "id": number,
            "status": extent.status,
            "final": extent.is_final,
            "total": extent.total,
            "gap": None if not extent.dropped else {"from": extent.gap_start, "to": extent.gap_end},
            "pieces": [_piece(piece) | {"text": piece.data.decode(errors="replace")} for piece in pieces],
        }
    )


async def find(call: Call) -> Response:
    """Answer with the places of a text in the output."""
    given, number = read_query(call.request, SEARCH), _number(call)
    needle = given.get("q")
    if not needle:
        raise UsageError("q is missing: the text to look for")
    found = await call.ask(lambda database: search(database, number, needle))
    return document({"id": number, **plain(found)})


async def follow(call: Call) -> Response:
    """Stream the output as events: `output` with a piece each, `end` with the run's state."""
    given, number = read_query(call.request, STREAM), _number(call)
    last = call.request.headers.get("last-event-id", "")
    place = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else given.get("from", 0)
    await call.ask(lambda database: log_ranges.extent(database, number))  # there is such a run
    place = place if given.get("output", True) else BEHIND_ALL
    ear = _Ear(place, follow=given.get("follow", True))
    return stream(call, number, ear)


async def output(call: Call) -> Response:
    """Send the very bytes that are kept, from a place on; a hole is told in a header."""
    given, number = read_query(call.request, RAW), _number(call)
    extent = await call.ask(lambda database: log_ranges.extent(database, number))
    start = given.get("from", 0)
    stop = min(start + given["len"], extent.total) if "len" in given else extent.total
    return StreamingResponse(
        kept(call, number, start, stop),
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="run-{number}.log"',
            "Jobsup-Output-Total": str(extent.total),
            "Jobsup-Output-Dropped": str(extent.dropped),
            "Jobsup-Output-Final": "true" if extent.is_final else "false",
        },
    )


async def kept(call: Call, number: int, start: int, stop: int) -> AsyncIterator[bytes]:
    """Yield the kept bytes whose places are in [start, stop), a stretch at a time."""
    place = start
    while place < stop:
        _, pieces = await call.ask(partial(log_ranges.forward, dispatch_id=number, start=place))
        if not pieces:
            return
        for piece in pieces:
            if piece.offset < stop:
                yield piece.data[: stop - piece.offset]
        place = pieces[-1].end


@dataclass
class _Ear:
    """One stream's reader: what it has sent so far."""

    place: int
    follow: bool

    def take(self, extent: log_ranges.Extent, pieces: Sequence[log_ranges.Piece]) -> Look:
        if not pieces:
            return Look("", end=_end(extent) if extent.is_final or not self.follow else "")
        self.place = pieces[-1].end
        return Look("".join(_event(piece) for piece in pieces), is_behind=True)


def _event(piece: log_ranges.Piece) -> str:
    return f"id: {piece.end}\nevent: output\ndata: {json.dumps(_piece(piece))}\n\n"


def _end(extent: log_ranges.Extent) -> str:
    told = {"status": extent.status, "final": extent.is_final, "total": extent.total}
    return f"event: end\ndata: {json.dumps(told)}\n\n"


def _piece(piece: log_ranges.Piece) -> dict[str, Any]:
    return {
        "offset": piece.offset,
        "stream": piece.stream,
        "is_stderr": piece.stream == STDERR,
        "data": base64.b64encode(piece.data).decode(),
    }


def _number(call: Call) -> int:
    number: int = call.path["id"]
    if number > RUN_ID_MAX:
        raise NotFoundError("no run has so high a number")
    return number


def _entry(path: str, handler: Handler, summary: str, *, name: str, query: Any, media: str = "") -> Entry:
    return Entry(
        "GET",
        f"/api/v1/runs/{{id:int}}/{path}",
        handler,
        Role.VIEWER,
        summary,
        "read",
        name=name,
        query=query,
        media=media or "application/json",
        is_stream=bool(media),
    )


ENTRIES = (
    _entry("log", log, "Get a stretch of a run's output.", name="readLog", query=STRETCH),
    _entry("search", find, "Find a text in a run's output.", name="searchLog", query=SEARCH),
    _entry(
        "stream",
        follow,
        "Follow a run's output as server-sent events.",
        name="followLog",
        query=STREAM,
        media="text/event-stream",
    ),
    _entry(
        "output",
        output,
        "Get the bytes of a run's output.",
        name="getOutput",
        query=RAW,
        media="application/octet-stream",
    ),
)
