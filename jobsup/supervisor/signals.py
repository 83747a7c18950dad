"""The fixed table of what each signal asks of the supervisor."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jobsup.errors import ConflictError
from jobsup.events import emit
from jobsup.runtime import logs
from jobsup.supervisor import status as pictures

if TYPE_CHECKING:
    from jobsup.supervisor.supervisor import Supervisor


def signal_table(supervisor: Supervisor) -> Mapping[int, Callable[[], None]]:
    """Bind the signals to one supervisor."""

    def more() -> None:
        _scale_by(supervisor, 1)

    def fewer() -> None:
        _scale_by(supervisor, -1)

    def reopen_logs() -> None:
        logs.reopen()
        supervisor.crew.signal(signal.SIGUSR1)

    def dump_state() -> None:
        for line in pictures.lines(supervisor.status()):
            emit("supervisor.state", line)

    return {
        signal.SIGTERM: supervisor.stop_sooner,
        signal.SIGINT: supervisor.stop_sooner,
        signal.SIGQUIT: supervisor.cancel,
        signal.SIGHUP: supervisor.reload_unasked,
        signal.SIGTTIN: more,
        signal.SIGTTOU: fewer,
        signal.SIGUSR1: reopen_logs,
        signal.SIGUSR2: dump_state,
    }


def _scale_by(supervisor: Supervisor, change: int) -> None:
    for pool in supervisor.crew:
        if pool.spec.is_scalable:
            try:
                supervisor.scale(pool.kind, max(0, len(pool.wanted) + change))
            except ConflictError as error:
                emit("scale.refused", f"Scale: {error}", level=logging.WARNING)
