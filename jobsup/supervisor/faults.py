"""Errors of the supervisor's own: said loudly and survived, for they must not take the children down."""

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

    def survive(self, error: Exception) -> bool:
        """Tell what happened; False when it has happened too often to go on."""
        self._count += 1
        text = "".join(traceback.format_exception(error)).rstrip()
        emit("supervisor.error", f"Internal error, going on: {text}", level=logging.CRITICAL)
        if self._count < FAULTS_MAX:
            return True
        emit("supervisor.failed", f"{FAULTS_MAX} internal errors: giving up", level=logging.CRITICAL)
        return False
