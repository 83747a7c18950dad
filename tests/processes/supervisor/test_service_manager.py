"""What a service manager hears from start to stop."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Manager:
    """Listens where NOTIFY_SOCKET points."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)

    def hear(self, wanted: str, seconds: float = 8.0) -> str:
        """Wait for a message that begins so, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except TimeoutError:
                continue
            if self.heard[-1].startswith(wanted):
                return self.heard[-1]
        raise AssertionError(f"never heard {wanted}, only {self.heard}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    listener = Manager(tmp_path / "notify")
    yield listener
    listener.close()


def test_manager_hears_ready_status_reload_watchdog_and_stop(make_toy: Any, manager: Manager) -> None:
    toy = make_toy(scheduler={}, worker={"count": 2, "does": "slow"})
    toy.launch(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1500000")

    manager.hear("STATUS=gen 1: scheduler ready, 2/2 workers")
    manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    assert not [text for text in manager.heard[:-1] if text.startswith("STOPPING")]

    toy.write("broken")
    toy.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in manager.hear("RELOADING=1")
    manager.hear("READY=1")  # also when it was refused: the manager would wait for ever

    toy.signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    manager.hear("EXTEND_TIMEOUT_USEC=")
    assert toy.wait() == 0


def test_restart_is_a_reload_to_the_manager_and_the_next_image_reports_too(make_toy: Any, manager: Manager) -> None:
    toy = make_toy(worker={})
    toy.launch(NOTIFY_SOCKET=str(manager.path))
    manager.hear("READY=1")

    toy.call({"do": "restart"})

    manager.hear("RELOADING=1")
    manager.hear("READY=1")
    assert "STOPPING=1" not in manager.heard


def test_manager_hears_nothing_of_ready_when_a_child_never_was(make_toy: Any, manager: Manager) -> None:
    toy = make_toy(worker={"does": "config_fault"})
    toy.launch(NOTIFY_SOCKET=str(manager.path))

    manager.hear("STATUS=gen 1: worker not ready, degraded")

    assert "READY=1" not in manager.heard
