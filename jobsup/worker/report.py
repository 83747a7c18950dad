"""What the log says of runs."""

from __future__ import annotations

from jobsup.events import emit, is_heard, is_logged
from jobsup.model import Claim, RunResult, Status

_WORDS = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.TIMEOUT: "timed out",
    Status.CANCELLED: "was cancelled",
}


def claimed(claim: Claim) -> None:
    if not is_heard():
        return
    emit(
        "dispatch.claimed",
        f"Claimed job dispatch {claim.dispatch_id}" if is_logged() else "",
        dispatch_id=claim.dispatch_id,
        job=claim.job.name,
    )


def started(claim: Claim, pid: int) -> None:
    if is_heard():
        emit("run.started", dispatch_id=claim.dispatch_id, job=claim.job.name, pid=pid)


def ended(claim: Claim, result: RunResult, seconds: float | None) -> None:
    """Say in one line how a run ended; `seconds` None: it never started."""
    if not is_heard():
        return
    emit(
        "dispatch.ended",
        _line(claim, result, seconds) if is_logged() else "",
        dispatch_id=claim.dispatch_id,
        job=claim.job.name,
        status=result.status,
        reason=result.reason,
        seconds=seconds,
    )


def _line(claim: Claim, result: RunResult, seconds: float | None) -> str:
    words = _WORDS[result.status]
    if result.status is Status.COMPLETED and seconds is not None:
        words += f" in {seconds:.1f} s"
    text = f'Dispatch {claim.dispatch_id} (job "{claim.job.name}") {words}'
    if result.error_message:
        text += f": {result.error_message}"
    return text
