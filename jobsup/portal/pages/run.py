"""One run: its page, its output as a stream and as a file, and what is done to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from functools import partial

from starlette.responses import Response, StreamingResponse

from jobsup.actions import runs as actions
from jobsup.errors import NotFoundError
from jobsup.model import Role, Status
from jobsup.portal.call import Call
from jobsup.portal.pages.keys import number
from jobsup.portal.routes import Entry
from jobsup.portal.streams import Look, stream
from jobsup.portal.views.ansi import Reader
from jobsup.portal.views.log import NEEDLE_CHARS_MAX, as_json
from jobsup.portal.views.run import run_of
from jobsup.portal.views.words import command, told, why
from jobsup.store import log_ranges
from jobsup.store.engine import Database


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
    return stream(call, run_id, _Eye(Reader(int(place), style)))


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
    said = "It starts now." if new == run_id else f"This is the new attempt at what run {run_id} was for."
    return call.go(f"/runs/{new}", said)


class _Eye:
    """The reader of one page: it has the output drawn as lines and colours."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def place(self) -> int:
        return self._reader.next_place

    def take(self, extent: log_ranges.Extent, pieces: Sequence[log_ranges.Piece]) -> Look:
        reader = self._reader
        is_last = extent.is_final and (not pieces or pieces[-1].end >= extent.total)
        tokens = as_json(reader.read(pieces, is_final=is_last))
        text = f"id: {reader.place};{reader.style}\ndata: {json.dumps(tokens)}\n\n" if tokens else ""
        if not tokens and extent.is_final:
            return Look("", end=f"event: end\ndata: {json.dumps(extent.status)}\n\n")
        return Look(text, is_behind=bool(tokens) and (reader.place < extent.total or extent.is_final))


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
    Entry("GET", "/runs/{id:int}/output", raw, Role.VIEWER, is_stream=True),
    Entry("GET", "/runs/{id:int}/follow", follow, Role.VIEWER, is_stream=True),
    Entry("POST", "/runs/{id:int}/cancel", cancel, Role.OPERATOR),
    Entry("POST", "/runs/{id:int}/retry", retry, Role.OPERATOR),
)
