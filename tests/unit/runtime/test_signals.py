"""Signals wait in a queue from the moment that they have a handler."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from jobsup.runtime.signals import SignalQueue


def test_a_signal_that_comes_as_soon_as_it_has_a_handler_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = signal.signal

    def handle_and_be_sent(signum: int, handler: Any) -> Any:
        before = handle(signum, handler)
        if handler not in (signal.SIG_DFL, signal.SIG_IGN):
            os.kill(os.getpid(), signum)
        return before

    monkeypatch.setattr(signal, "signal", handle_and_be_sent)
    queue = SignalQueue([signal.SIGUSR1, signal.SIGUSR2])
    monkeypatch.undo()
    try:
        assert queue.take() == [signal.SIGUSR1, signal.SIGUSR2]
    finally:
        queue.close()
