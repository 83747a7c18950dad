"""The loop of every long-lived process, written once: wait, wake, stop, signals, signs of life.

A service says what is to be done; `serve` decides when. One thread turns one selector, so whatever a
service watches is heard at once, and a stop never waits for a sleep.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from jobsup.errors import ExitCode, JobsupError
from jobsup.events import emit
from jobsup.runtime import logs
from jobsup.runtime.link import Link
from jobsup.runtime.signals import SignalQueue

PARENT_GONE_SECONDS = 1.0
"""How long a service whose parent is gone may take to end what it runs."""
TURN_SECONDS_MIN = 0.0


class Service(Protocol):
    """A scheduler, a worker, a portal: what it does, not when."""

    @property
    def finished(self) -> bool:
        """True once it has nothing left to do; the loop then closes it and leaves."""
        ...

    @property
    def statements(self) -> int:
        """How many statements it has sent to the database: what it costs, above all when idle."""
        ...

    def start(self, loop: Loop) -> dict[str, Any]:
        """Get ready to work (connect, register, one query) and return facts for the supervisor; JobsupError if not."""
        ...

    def poll(self) -> float:
        """Do what is due now; return the seconds until it wants to be called again (it may be called earlier)."""
        ...

    def handle(self, message: dict[str, Any]) -> None:
        """Take a message from the supervisor, e.g. `{"do": "child_gone", "kind": "worker", "facts": {...}, ...}`."""
        ...

    def drain(self) -> None:
        """Take no new work; `finished` turns true when the last of it is done."""
        ...

    def cancel(self) -> None:
        """End what runs now; `finished` turns true when it is gone."""
        ...

    def close(self) -> None:
        """Let go of everything; always called, also when `start` failed."""
        ...


class Loop:
    """One epoll in one thread; `watch` what should interrupt the wait."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch(self._wake_fd, self._drain_wake)

    def watch(self, fd: int, callback: Callable[[], None], *, writable: bool = False) -> None:
        """Call `callback` on each turn that finds `fd` readable (or writable); a second call replaces the first."""
        events = select.EPOLLOUT if writable else select.EPOLLIN
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Stop watching; call it before closing the descriptor. Not watched is fine."""
        if self._callbacks.pop(fd, None) is not None:
            with suppress(OSError, ValueError):  # it was closed, which has ended the watch as well
                self._epoll.unregister(fd)

    def close_watched(self, fd: int) -> None:
        """Close a descriptor of which there is no other copy, whether it is watched or not: that ends the watch."""
        self._callbacks.pop(fd, None)
        os.close(fd)

    def wake(self) -> None:
        """End the wait now; safe from any thread and from a signal handler."""
        with suppress(BlockingIOError):  # the counter is full: it is awake
            os.eventfd_write(self._wake_fd, 1)

    def monotonic(self) -> float:
        """Return the clock of ages and time-outs, in seconds."""
        return time.monotonic()

    def turn(self, seconds: float) -> None:
        """Wait at most so long for what is watched, and call back for all of it."""
        ready = [(fd, self._callbacks.get(fd)) for fd, _ in self._epoll.poll(max(TURN_SECONDS_MIN, seconds))]
        for fd, callback in ready:
            # A callback may have stopped watching one that became ready in the same turn, or watch another there.
            if callback is not None and self._callbacks.get(fd) is callback:
                callback()

    def close(self) -> None:
        """Let go of the descriptors; in a forked child that leaves the parent's loop as it is."""
        self._epoll.close()
        os.close(self._wake_fd)

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)


def serve(service: Service, link: Link) -> int:
    """Run a service until it is finished; returns the exit code of its process.

    Signals: TERM drains, a second one cancels; QUIT cancels at once; INT is TERM when alone and ignored under a
    supervisor, which coordinates; HUP is ignored; USR1 reopens the log; USR2 writes every thread's stack to it.
    Until the service is ready these have their default effect: there is nothing to save yet.
    """
    faulthandler.enable(file=logs.stream(), all_threads=True)  # SIGABRT, SIGSEGV: leave the stacks in the log
    return _Serving(service, link).run()


class _Serving:
    """One run of one service."""

    def __init__(self, service: Service, link: Link) -> None:
        self._service = service
        self._link = link
        self._loop = Loop()
        self._close_signals: Callable[[], None] = lambda: None
        self._stops = 0
        self._leave_at: float | None = None

    def run(self) -> int:
        try:
            facts = self._service.start(self._loop)
            self._attach()
            self._link.ready(facts)
            self._turn_until_finished()
        except JobsupError as error:
            emit("service.failed", f"{self._link.name}: {error}", level=logging.ERROR, error=str(error))
            return int(error.exit_code)
        except Exception as error:  # noqa: BLE001  # the edge of the process: said once, then the supervisor restarts us
            _emit_crash(self._link.name, error)
            return int(ExitCode.FAILED)
        finally:
            self._close()
        return int(ExitCode.OK)

    def _attach(self) -> None:
        caught = [signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]
        ignored = [signal.SIGHUP]
        (ignored if self._link.is_supervised else caught).append(signal.SIGINT)
        signals = SignalQueue(caught, ignored)
        self._close_signals = signals.close
        self._loop.watch(signals.fileno(), lambda: self._take_signals(signals))
        if self._link.fileno() >= 0:
            self._loop.watch(self._link.fileno(), self._take_messages)
        if self._link.parent_fd() >= 0:
            self._loop.watch(self._link.parent_fd(), self._parent_gone)

    def _turn_until_finished(self) -> None:
        while not self._service.finished:
            seconds = self._service.poll()
            self._link.beat(self._service.statements)
            if self._service.finished:
                return
            if self._leave_at is not None:
                seconds = min(seconds, self._leave_at - self._loop.monotonic())
                if seconds <= 0:
                    return
            self._loop.turn(min(seconds, self._link.beat_seconds))

    def _take_signals(self, signals: SignalQueue) -> None:
        for signum in signals.take():
            _ACTIONS[signum](self)

    def _take_messages(self) -> None:
        for message in self._link.receive():
            self._service.handle(message)
        if self._link.closed:
            self._parent_gone()

    def _parent_gone(self) -> None:
        """The kernel kills us for this as well; whatever comes first."""
        for fd in (self._link.fileno(), self._link.parent_fd()):
            self._loop.unwatch(fd)
        emit("service.orphaned", f"{self._link.name}: the supervisor is gone, ending", level=logging.WARNING)
        self._leave_at = self._loop.monotonic() + PARENT_GONE_SECONDS
        self._service.cancel()

    def _stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            emit("service.draining", f"{self._link.name}: draining", level=logging.DEBUG)
            self._service.drain()
        else:
            self._cancel()

    def _cancel(self) -> None:
        self._stops = max(self._stops, 2)
        emit("service.cancelling", f"{self._link.name}: cancelling what runs", level=logging.DEBUG)
        self._service.cancel()

    def _reopen(self) -> None:
        logs.reopen()
        faulthandler.enable(file=logs.stream(), all_threads=True)

    def _dump(self) -> None:
        faulthandler.dump_traceback(file=logs.stream(), all_threads=True)

    def _close(self) -> None:
        try:
            self._service.close()
        except Exception as error:  # noqa: BLE001  # closing goes on whatever one part of it says
            _emit_crash(self._link.name, error)
        self._close_signals()
        self._loop.close()


_ACTIONS: dict[int, Callable[[_Serving], None]] = {
    signal.SIGTERM: _Serving._stop,
    signal.SIGINT: _Serving._stop,
    signal.SIGQUIT: _Serving._cancel,
    signal.SIGUSR1: _Serving._reopen,
    signal.SIGUSR2: _Serving._dump,
}


def _emit_crash(name: str, error: Exception) -> None:
    text = "".join(traceback.format_exception(error)).rstrip()
    emit("service.crashed", f"{name}: {text}", level=logging.CRITICAL, error=repr(error))
    sys.stderr.flush()
