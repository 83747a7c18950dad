"""What a run printed: live while it runs, whole once it has ended."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from jobsup.errors import NotFoundError
from jobsup.model import CapturedOutput, OutputChunk, Status
from jobsup.store import attempts
from jobsup.store.engine import Database
from jobsup.store.rows import JobDispatch, JobExecutionLog


@dataclass(frozen=True, slots=True)
class RunOutput:
    """A run's output as far as it is known."""

    dispatch_id: int
    status: Status
    output: CapturedOutput
    is_final: bool
    """False: the run goes on, and `output` is what it has printed up to about 250 ms ago."""
    result: str | None = None
    """A Python callable's return value, as JSON."""


def read(database: Database, dispatch_id: int) -> RunOutput:
    """Read all that is kept of a run's output: its log row, else its live pieces. Raises NotFoundError."""
    with database.read() as connection:  # one state: a run that ends meanwhile is seen either live or ended
        status = _status(connection, dispatch_id)
        log = connection.execute(_LOG.where(JobExecutionLog.dispatch_id == dispatch_id)).mappings().one_or_none()
        if log is not None:
            return RunOutput(dispatch_id, status, _captured(log), is_final=True, result=log["result"])
        output = attempts.fold(attempts.chunks_of(connection, dispatch_id))
    return RunOutput(dispatch_id, status, output, is_final=status.is_terminal)


def follow(database: Database, dispatch_id: int, offset: int) -> list[OutputChunk]:
    """Read a live run's pieces from byte `offset` of all it printed on, in order; a gap between two was dropped.

    Empty: nothing new, or the run has ended, and `read` has it all (and the end of what was not seen live).
    """
    with database.read() as connection:
        return attempts.chunks_of(connection, dispatch_id, offset)


_LOG = select(
    JobExecutionLog.log_output,
    JobExecutionLog.output_bytes,
    JobExecutionLog.output_dropped,
    JobExecutionLog.output_gap_at,
    JobExecutionLog.stream_marks,
    JobExecutionLog.result,
)


def _status(connection: Connection, dispatch_id: int) -> Status:
    found = connection.execute(select(JobDispatch.status).where(JobDispatch.id == dispatch_id)).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"no run {dispatch_id}: see `jobsup runs`")
    return Status(found)


def _captured(log: RowMapping) -> CapturedOutput:
    return CapturedOutput(
        data=log["log_output"],
        total=log["output_bytes"],
        dropped=log["output_dropped"],
        gap_at=log["output_gap_at"],
        marks=tuple((length, stream) for length, stream in log["stream_marks"]),
    )
