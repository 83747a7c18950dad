"""`jobsup`, noting when a new dispatch is committed: `python -m benchmarks.committed FILE run NAME ...`.

FILE gets the instant, in seconds since the epoch, at which the COMMIT that holds the dispatch has returned.
"""

from __future__ import annotations

import sqlite3.dbapi2
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_INSERT = "INSERT INTO job_dispatch "


def main() -> None:
    """Take note, and be `jobsup` with the remaining arguments."""
    file = Path(sys.argv.pop(1))
    connect: Callable[..., Any] = sqlite3.dbapi2.connect

    def noting(*arguments: Any, factory: type[sqlite3.Connection] = sqlite3.Connection, **options: Any) -> Any:
        connection = connect(*arguments, factory=_noting(factory, file), **options)
        connection.set_trace_callback(connection.see)
        return connection

    sqlite3.dbapi2.connect = noting
    from jobsup.__main__ import main as jobsup

    jobsup()


def _noting(kind: type[sqlite3.Connection], file: Path) -> type[sqlite3.Connection]:
    """Return that kind of connection, which knows besides whether its transaction makes a dispatch."""

    class Noting(kind):  # type: ignore[valid-type,misc]  # known when it runs
        has_dispatch = False

        def see(self, statement: str) -> None:
            self.has_dispatch = self.has_dispatch or statement.startswith(_INSERT)

        def commit(self) -> None:
            super().commit()
            if self.has_dispatch:
                file.write_text(repr(time.time()))
            self.has_dispatch = False

    return Noting


if __name__ == "__main__":
    main()
