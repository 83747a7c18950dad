"""Those who look on while things happen: when each job's process died, and what the tables said in between."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.checker.history import Fault, FaultKind, Sample

LOOK_SECONDS = 0.01


class Witness:
    """Follows a ledger, takes a descriptor of each process that begins, and notes when it is gone; `close` it."""

    def __init__(self, ledger: Path) -> None:
        self.deaths: dict[str, float] = {}
        self._ledger = ledger
        self._read_to = 0
        self._rest = b""
        self._watched: dict[int, str] = {}
        self._poll = select.poll()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="witness", daemon=True)
        self._thread.start()

    def close(self) -> dict[str, float]:
        """Look no longer; returns "pid/start" -> when it was dead, on the monotonic clock."""
        self._is_closing.set()
        self._thread.join()
        for fd in self._watched:
            os.close(fd)
        return self.deaths

    def _look(self) -> None:
        while not self._is_closing.is_set():
            self._follow()
            for fd, _ in self._poll.poll(LOOK_SECONDS * 1000):
                self._gone(fd)
            if not self._watched:
                self._is_closing.wait(LOOK_SECONDS)
        self._follow()
        for fd, _ in self._poll.poll(0):
            self._gone(fd)

    def _follow(self) -> None:
        with suppress(FileNotFoundError), self._ledger.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
            self._read_to += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._see(json.loads(line))

    def _see(self, mark: dict[str, object]) -> None:
        if mark["kind"] != "start":
            return
        pid, name = int(str(mark["pid"])), f"{mark['pid']}/{mark['started']}"
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.deaths[name] = time.monotonic()
            return
        if _started(pid) != mark["started"]:  # its number is another's by now
            os.close(fd)
            self.deaths[name] = time.monotonic()
            return
        self._watched[fd] = name
        self._poll.register(fd, select.POLLIN)

    def _gone(self, fd: int) -> None:
        self.deaths[self._watched.pop(fd)] = time.monotonic()
        self._poll.unregister(fd)
        os.close(fd)


def _started(pid: int) -> int | None:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19])
    return None


class Stillness:
    """Notes when this machine let nobody run: a thread that wants to turn all the time and could not. `close` it."""

    TURN_SECONDS = 0.05
    WORTH_SECONDS = 0.5

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stillness", daemon=True)
        self._thread.start()

    def close(self) -> list[Fault]:
        self._is_closing.set()
        self._thread.join()
        return self.faults

    def _look(self) -> None:
        before = time.time()
        while not self._is_closing.wait(self.TURN_SECONDS):
            now = time.time()
            if now - before > self.WORTH_SECONDS:
                self.faults.append(Fault(FaultKind.LOAD, before, now))
            before = now


class Sampler:
    """Reads what each run is again and again, as long as the database answers; `close` it."""

    def __init__(self, statuses: Callable[[], dict[int, str]], every: float = 0.3) -> None:
        self.samples: list[Sample] = []
        self._statuses = statuses
        self._every = every
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sampler", daemon=True)
        self._thread.start()

    def close(self) -> tuple[Sample, ...]:
        self._is_closing.set()
        self._thread.join()
        return tuple(self.samples)

    def _look(self) -> None:
        while not self._is_closing.wait(self._every):
            at = time.time()
            with suppress(Exception):  # the database may be the very thing that is broken
                self.samples.append(Sample(at, self._statuses()))
