"""A stretch of what a run printed, found by its place: never the whole output at once.

Places are byte offsets into all that the run printed, both streams together, also into what was dropped. They stay
true when a live run ends and its pieces are folded into its log row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, LargeBinary, func, select, type_coerce

from jobsup.errors import NotFoundError
from jobsup.model import STDOUT, Status
from jobsup.store import packing
from jobsup.store.engine import Database
from jobsup.store.rows import JobDispatch, JobExecutionLog, JobOutputChunk

RANGE_BYTES_MAX = 1 << 20
"""What one call reads."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much output there is, and what of it is not kept."""

    status: Status
    is_final: bool
    """False: it may still grow."""
    total: int
    """Bytes printed so far."""
    gap_start: int | None = None
    """Where the dropped bytes began; None: none were."""
    gap_end: int | None = None

    @property
    def dropped(self) -> int:
        return 0 if self.gap_start is None or self.gap_end is None else self.gap_end - self.gap_start


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one stream, and their place."""

    offset: int
    stream: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


def extent(database: Database, dispatch_id: int) -> Extent:
    """Tell how much a run has printed. Raises NotFoundError."""
    with database.read() as connection:
        return _extent(connection, dispatch_id)[0]


def read(database: Database, dispatch_id: int, start: int, length: int) -> tuple[Extent, list[Piece]]:
    """Read at most `length` (and RANGE_BYTES_MAX) bytes from place `start` on, in order; a gap is between pieces.

    Raises NotFoundError.
    """
    begin, stop = max(0, start), max(0, start) + max(0, min(length, RANGE_BYTES_MAX))
    with database.read() as connection:  # one state: the run may end meanwhile
        found, log = _extent(connection, dispatch_id)
        if log is None:
            return found, list(_live(connection, dispatch_id, begin, stop))
        return found, list(_kept(connection, log, begin, stop))


def forward(
    database: Database, dispatch_id: int, start: int, length: int = RANGE_BYTES_MAX
) -> tuple[Extent, list[Piece]]:
    """Read the next `length` bytes from place `start` on, over a hole when one begins there. Raises NotFoundError.

    Nothing means that there is nothing more for now.
    """
    found, pieces = read(database, dispatch_id, start, length)
    if pieces or start >= found.total:
        return found, pieces
    with database.read() as connection:
        beyond = select(func.min(JobOutputChunk.offset)).where(
            JobOutputChunk.dispatch_id == dispatch_id, JobOutputChunk.offset > start
        )
        live_end = connection.execute(beyond).scalar_one_or_none()
    end = found.gap_end if live_end is None else live_end
    return read(database, dispatch_id, end, length) if end is not None and end > start else (found, pieces)


def _extent(connection: Connection, dispatch_id: int) -> tuple[Extent, Any]:
    status = connection.execute(select(JobDispatch.status).where(JobDispatch.id == dispatch_id)).scalar_one_or_none()
    if status is None:
        raise NotFoundError(f"no run {dispatch_id}: see `jobsup runs`")
    log = connection.execute(_LOG.where(JobExecutionLog.dispatch_id == dispatch_id)).one_or_none()
    if log is None:
        last = connection.execute(
            select(JobOutputChunk.offset, func.length(JobOutputChunk.data))
            .where(JobOutputChunk.dispatch_id == dispatch_id)
            .order_by(JobOutputChunk.offset.desc())
            .limit(1)
        ).one_or_none()
        total = 0 if last is None else last[0] + last[1]
        return Extent(Status(status), Status(status).is_terminal, total), None
    has_gap = log.output_gap_at is not None and log.output_dropped > 0
    return (
        Extent(
            Status(status),
            True,
            log.output_bytes,
            log.output_gap_at if has_gap else None,
            log.output_gap_at + log.output_dropped if has_gap else None,
        ),
        log,
    )


def _live(connection: Connection, dispatch_id: int, start: int, stop: int) -> Iterator[Piece]:
    mine = JobOutputChunk.dispatch_id == dispatch_id
    before = select(func.max(JobOutputChunk.offset)).where(mine, JobOutputChunk.offset <= start).scalar_subquery()
    rows = connection.execute(
        select(JobOutputChunk.offset, JobOutputChunk.stream, JobOutputChunk.data)
        .where(mine, JobOutputChunk.offset >= func.coalesce(before, 0), JobOutputChunk.offset < stop)
        .order_by(JobOutputChunk.offset)
    )
    for offset, stream, data in rows:
        first, last = max(start, offset), min(stop, offset + len(data))
        if first < last:
            yield Piece(first, stream, data[first - offset : last - offset])


def _kept(connection: Connection, log: Any, start: int, stop: int) -> Iterator[Piece]:
    """Yield the kept bytes whose places are in [start, stop), parted by stream and at the gap."""
    gap_at = log.output_gap_at if log.output_dropped else None
    head_end = log.kept if gap_at is None else gap_at
    stretches = [(0, head_end, 0)]
    if gap_at is not None:
        stretches.append((gap_at, log.kept, log.output_dropped))
    for first, last, moved in stretches:
        begin, end = max(first, start - moved), min(last, stop - moved)
        if begin >= end:
            continue
        data = _bytes(connection, log.id, begin, end - begin)
        for place, length, stream in _streams(log.stream_marks, begin, end):
            yield Piece(place + moved, stream, data[place - begin : place - begin + length])


def _bytes(connection: Connection, log_id: int, start: int, length: int) -> bytes:
    """Read a part of the kept output. SQLite's `substr` would load all of it first; its blob handle does not."""
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.driver_connection
        with raw.blobopen("job_execution_log", "log_output", log_id, readonly=True) as blob:
            return b"".join(packing.read_part(partial(_of_blob, blob), start, length))
    return b"".join(packing.read_part(partial(_of_column, connection, log_id), start, length))


def _of_blob(blob: Any, start: int, length: int) -> bytes:
    blob.seek(start)
    return bytes(blob.read(length))


def _of_column(connection: Connection, log_id: int, start: int, length: int) -> bytes:
    part = func.substr(type_coerce(JobExecutionLog.log_output, LargeBinary()), start + 1, length, type_=LargeBinary())
    return bytes(connection.execute(select(part).where(JobExecutionLog.id == log_id)).scalar_one())


def _streams(marks: list[list[int]], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield (place, length, stream) over [start, stop); what no mark speaks of was printed all the same."""
    place = 0
    for length, stream in marks:
        first, last = max(start, place), min(stop, place + length)
        if first < last:
            yield first, last - first, stream
        place += length
        if place >= stop:
            return
    if place < stop:
        first = max(start, place)
        yield first, stop - first, STDOUT


_LOG = select(
    JobExecutionLog.id,
    (JobExecutionLog.output_bytes - JobExecutionLog.output_dropped).label("kept"),
    JobExecutionLog.output_bytes,
    JobExecutionLog.output_dropped,
    JobExecutionLog.output_gap_at,
    JobExecutionLog.stream_marks,
)
