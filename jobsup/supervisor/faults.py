"""Errors of the supervisor's own: said loudly, and survived once there are children, which they must not take down."""

from __future__ import annotations

import logging
import traceback

from jobsup.events import emit

FAULTS_MAX = 100
"""So many are more than one can live with."""


class Faults:
    """Counts them, from the start to the end."""

    def __init__(self) -> None:
        self._count = 0

    def survive(self, error: Exception, *, is_childless: bool) -> bool:
        """Tell what happened; False when there is nothing to go on for, or it has happened too often to go on."""
        self._count += 1
        text = "".join(traceback.format_exception(error)).rstrip()
        if is_childless:
            emit("supervisor.failed", f"Internal error, giving the start up: {text}", level=logging.CRITICAL)
            return False
        emit("supervisor.error", f"Internal error, going on: {text}", level=logging.CRITICAL)
        if self._count < FAULTS_MAX:
            return True
        emit("supervisor.failed", f"{FAULTS_MAX} internal errors: giving up", level=logging.CRITICAL)
        return False
