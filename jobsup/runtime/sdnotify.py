"""Telling the service manager how we are, over the datagram socket it names in NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

STATUS_CHARACTERS_MAX = 200
PINGS_PER_WATCHDOG = 3
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Speaks when there is somebody to listen; otherwise every call does nothing.

    Takes its variables out of the environment, so that no child and no job ever sees them.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._taken = {name: environ.pop(name) for name in VARIABLES if name in environ}
        self._address = self._taken.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = self._watchdog_seconds()
        """The manager kills us when it hears nothing for this long; None when it does not watch."""
        self._pinged_at = float("-inf")
        self._status = ""
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Set the line people see; an unchanged one is not sent again."""
        text = text.replace("\n", " ")[:STATUS_CHARACTERS_MAX]
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """Say that a reload began; the manager waits for `ready`, and needs the instant to match the two."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def ping(self, now: float) -> float:
        """Show that our loop turns, when that is due; returns the seconds until it is again. `now` is monotonic."""
        if self.watchdog_seconds is None:
            return float("inf")
        interval = self.watchdog_seconds / PINGS_PER_WATCHDOG
        if now - self._pinged_at >= interval:
            self._pinged_at = now
            self.watchdog()
        return self._pinged_at + interval - now

    def extend_timeout(self, seconds: float) -> None:
        """Ask for this much more time from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def restore(self, environ: MutableMapping[str, str] | None = None) -> None:
        """Put the variables back for our own next image."""
        (os.environ if environ is None else environ).update(self._taken)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _watchdog_seconds(self) -> float | None:
        pid = self._taken.get("WATCHDOG_PID", "")
        if pid and pid != str(os.getpid()):
            return None
        with suppress(ValueError):
            seconds = int(self._taken.get("WATCHDOG_USEC", "")) / 1_000_000
            return seconds if seconds > 0 else None
        return None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        # A name that begins with @ is in the abstract namespace, where it begins with a zero byte.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError):  # a manager that does not listen is no reason to stop
            self._socket.sendto("\n".join(lines).encode(), address)
