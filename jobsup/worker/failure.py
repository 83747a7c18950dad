"""Why a run could not be started, and whether trying again may help."""

from __future__ import annotations

import errno
import os

from jobsup.errors import JobsupError
from jobsup.model import Reason

MESSAGE_CHARS_MAX = 4_000

_MAY_PASS = frozenset(
    (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.EIO, errno.ENOSPC, errno.ESTALE)
)
"""Too little of something, or a moment of bad luck; anything else is the definition's fault and stays so."""


class NotStartedError(JobsupError):
    """A run that could not be started; `reason` is NOT_RUNNABLE (never will), SPAWN (may next time) or INTERNAL."""

    def __init__(self, message: str, reason: Reason = Reason.NOT_RUNNABLE) -> None:
        self.reason = reason
        super().__init__(message)


def explain(error: OSError, what: str) -> NotStartedError:
    """Turn what the kernel said about starting `what` into a sentence and a reason."""
    reason = Reason.SPAWN if error.errno in _MAY_PASS else Reason.NOT_RUNNABLE
    return NotStartedError(f"cannot start {what}: {error.strerror or os.strerror(error.errno or 0)}", reason)


def clean(text: str) -> str:
    """Make any text fit for every database: no NUL, no lone surrogate, not too long."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    return text if len(text) <= MESSAGE_CHARS_MAX else f"{text[:MESSAGE_CHARS_MAX]}..."
