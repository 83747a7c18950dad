"""How a call ended, read from what its runner said or from how that runner ended."""

from __future__ import annotations

from datetime import UTC, datetime

from jobsup.clock import Clock
from jobsup.model import Reason
from jobsup.worker.answers import Answer
from jobsup.worker.failure import NotStartedError
from jobsup.worker.run import Exit, Run


def moment_of(clock: Clock) -> tuple[float, float]:
    """Return what both our clocks say: seconds of the epoch, and of the monotonic one."""
    return clock.now().timestamp(), clock.monotonic()


def exit_of_call(answer: Answer, run: Run, moment: tuple[float, float]) -> Exit:
    """Read what a runner said of a call, with its instants by our clock, which said `moment` by both its ways."""
    epoch = moment[0] - moment[1]
    run.begin_at(datetime.fromtimestamp(epoch + answer.began, UTC), answer.began)
    said = answer.ending
    return Exit(
        at=datetime.fromtimestamp(epoch + answer.ended, UTC),
        code=said.get("exit_code"),
        reason=Reason(said["reason"]) if "reason" in said else Reason.NONE,
        error=said.get("error"),
        result=said.get("result"),
        cpu_user=answer.cpu_user,
        cpu_system=answer.cpu_system,
        max_rss=answer.max_rss,
        io_read=answer.io_read,
        io_write=answer.io_write,
    )


def never_began(ending: Exit) -> NotStartedError:
    """Say of a call that it never began, because its runner ended like this."""
    said = f"exit code {ending.code}" if ending.signal is None else f"signal {ending.signal}"
    return NotStartedError(f"its Python runner ended before the call began: {said}", Reason.INTERNAL)
