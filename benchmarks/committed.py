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
    connect: Callable[..., sqlite3.Connection] = sqlite3.dbapi2.connect

    class Noting(sqlite3.Connection):
        """A connection that knows whether its transaction makes a dispatch."""

        has_dispatch = False

        def see(self, statement: str) -> None:
            self.has_dispatch = self.has_dispatch or statement.startswith(_INSERT)

        def commit(self) -> None:
            super().commit()
            if self.has_dispatch:
                file.write_text(repr(time.time()))
            self.has_dispatch = False

    def noting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, factory=Noting, **options)
        assert isinstance(connection, Noting)
        connection.set_trace_callback(connection.see)
        return connection

    sqlite3.dbapi2.connect = noting  # type: ignore[assignment]  # any way to connect is passed on as it is
    from jobsup.__main__ import main as jobsup

    jobsup()


if __name__ == "__main__":
    main()
