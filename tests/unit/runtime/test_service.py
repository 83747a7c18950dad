"""The loop: it wakes for what it watches, stops when told, and proves that it lives."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from typing import Any

import pytest

from jobsup.errors import ConfigError, ExitCode, Problem
from jobsup.runtime.link import AloneLink, SupervisedLink, new_cell
from jobsup.runtime.service import Loop, serve


class Script:
    """A service that does one listed thing at each poll."""

    statements = 0

    def __init__(self, *steps: Any) -> None:
        self.finished = False
        self.told: list[str] = []
        self._steps = list(steps)

    def start(self, loop: Loop) -> dict[str, Any]:
        self.loop = loop
        return {"worker_id": "worker-abcde"}

    def poll(self) -> float:
        if self._steps:
            self._steps.pop(0)()
        return 10.0

    def handle(self, message: dict[str, Any]) -> None:
        self.told.append(f"message {message['n']}")

    def drain(self) -> None:
        self.told.append("drain")

    def cancel(self) -> None:
        self.told.append("cancel")
        self.finished = True

    def close(self) -> None:
        self.told.append("close")


def send(signum: int) -> Any:
    return lambda: os.kill(os.getpid(), signum)


def test_first_stop_drains_and_the_second_cancels() -> None:
    service = Script(send(signal.SIGTERM), send(signal.SIGTERM))

    assert serve(service, AloneLink("worker")) == 0

    assert service.told == ["drain", "cancel", "close"]


@pytest.mark.parametrize(("signum", "told"), [(signal.SIGQUIT, "cancel"), (signal.SIGINT, "drain")])
def test_quit_cancels_at_once_and_an_interrupt_drains_when_alone(signum: int, told: str) -> None:
    service = Script(send(signum), send(signal.SIGQUIT))

    serve(service, AloneLink("worker"))

    assert service.told[0] == told


def test_hang_up_is_ignored_and_handlers_are_put_back() -> None:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    service = Script(send(signal.SIGHUP), send(signal.SIGQUIT))

    serve(service, AloneLink("worker"))

    assert service.told == ["cancel", "close"]
    assert {signum: signal.getsignal(signum) for signum in before} == before


def test_wake_from_another_thread_ends_the_wait() -> None:
    loop = Loop()
    timer = threading.Timer(0.05, loop.wake)
    timer.start()
    begun_at = time.monotonic()

    loop.turn(10)

    assert time.monotonic() - begun_at < 5
    timer.join()
    loop.close()


def test_callback_that_unwatches_another_is_obeyed_in_the_same_turn() -> None:
    loop = Loop()
    called: list[int] = []
    fds = [os.eventfd(1), os.eventfd(1)]
    for fd, other in (fds, fds[::-1]):
        loop.watch(fd, lambda fd=fd, other=other: (called.append(fd), loop.unwatch(other)))  # type: ignore[misc]

    loop.turn(0)

    assert len(called) == 1
    for fd in fds:
        loop.unwatch(fd)
        os.close(fd)
    loop.close()


def test_start_that_fails_ends_with_its_exit_code_and_closes() -> None:
    service = Script()

    def fail(_loop: Loop) -> dict[str, Any]:
        raise ConfigError((Problem("wrong"),))

    service.start = fail  # type: ignore[method-assign]

    assert serve(service, AloneLink("worker")) == ExitCode.CONFIG
    assert service.told == ["close"]


def test_crash_ends_with_1_and_closes() -> None:
    service = Script(lambda: 1 / 0)

    assert serve(service, AloneLink("worker")) == ExitCode.FAILED
    assert service.told == ["close"]


def supervised(service: Script) -> tuple[int, list[bytes], float]:
    """Serve as a child whose parent is this process's own parent; returns exit code, what was said, and the beat."""
    ours, theirs = socket.socketpair()
    cell = new_cell()
    with ours:
        ours.sendall(b'{"n": 1}\n{"n": 2}\n')
        code = serve(service, SupervisedLink("worker-1", theirs, cell, os.getppid(), 1.0))
        said = ours.recv(4096).splitlines()
    (beat,) = struct.unpack_from("d", cell)
    theirs.close()
    return code, said, beat


def test_supervised_service_says_it_is_ready_hears_messages_beats_and_ignores_the_terminal() -> None:
    begun_at = time.monotonic()
    service = Script(send(signal.SIGINT), send(signal.SIGQUIT))

    code, said, beat = supervised(service)

    assert code == 0
    assert said == [b'{"ready":true,"facts":{"worker_id":"worker-abcde"}}']
    assert service.told == ["message 1", "message 2", "cancel", "close"]
    assert begun_at <= beat <= time.monotonic()


def test_supervisor_that_hangs_up_has_the_service_cancel_and_leave() -> None:
    ours, theirs = socket.socketpair()
    service = Script(ours.close)

    assert serve(service, SupervisedLink("worker-1", theirs, new_cell(), os.getppid(), 1.0)) == 0

    assert service.told == ["cancel", "close"]
    theirs.close()
