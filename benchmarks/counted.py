"""`jobsup`, with SQLite's statements counted for each process: `python -m benchmarks.counted FOLDER start -c ...`.

The count is taken by SQLite's own trace, below every library, and kept in one small mapped file per process in FOLDER,
where `total` reads it while they run. BEGIN, COMMIT, ROLLBACK and PRAGMA are not queries.
"""

from __future__ import annotations

import mmap
import os
import sqlite3.dbapi2
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNTER_BYTES = 8
_NO_QUERIES = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA", "--")


def total(folder: Path) -> int:
    """Return the number of statements of all processes so far."""
    return sum(int.from_bytes(file.read_bytes(), "little") for file in folder.iterdir())


class _Counter:
    """One process's count; a forked child begins its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._count = 0
        self._cell: mmap.mmap | None = None

    def see(self, statement: str) -> None:
        if statement.startswith(_NO_QUERIES):
            return
        if self._cell is None or self._pid != os.getpid():
            self._cell = self._open()
        self._count += 1
        self._cell[:] = self._count.to_bytes(COUNTER_BYTES, "little")

    def _open(self) -> mmap.mmap:
        self._pid, self._count = os.getpid(), 0
        with (self._folder / str(self._pid)).open("w+b") as file:
            file.truncate(COUNTER_BYTES)
            return mmap.mmap(file.fileno(), COUNTER_BYTES)


def main() -> None:
    """Count, and be `jobsup` with the remaining arguments."""
    counter = _Counter(Path(sys.argv.pop(1)))
    connect: Callable[..., sqlite3.Connection] = sqlite3.dbapi2.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(counter.see)
        return connection

    sqlite3.dbapi2.connect = traced  # type: ignore[assignment]  # any way to connect is passed on as it is
    from jobsup.__main__ import main as jobsup

    jobsup()


if __name__ == "__main__":
    main()
