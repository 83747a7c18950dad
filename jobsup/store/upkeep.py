"""The health of a SQLite file: the space left beside it, and its write-ahead log. A server minds its own."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from jobsup.errors import DatabaseUnavailableError
from jobsup.store.engine import Database

# A checkpoint that cuts the log back needs a moment without readers; it gives up before a writer would notice.
CHECKPOINT_WAIT_SECONDS = 0.25


def free_space(database: Database) -> int | None:
    """Return the bytes that can still be written beside the SQLite file; None for a server, or if it cannot be told."""
    if database.path is None:
        return None
    try:
        disk = os.statvfs(database.path.parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


def file_bytes(database: Database) -> int | None:
    """Return the size of the SQLite file in bytes; None for a server, or if it cannot be told."""
    try:
        return None if database.path is None else database.path.stat().st_size
    except OSError:
        return None


def wal_bytes(database: Database) -> int:
    """Return the size of the write-ahead log in bytes; 0 when there is none."""
    wal = _wal(database)
    try:
        return 0 if wal is None else wal.stat().st_size
    except FileNotFoundError:
        return 0


def checkpoint(database: Database) -> int:
    """Move the write-ahead log into the SQLite file, cut it back if nobody reads it, and return its bytes after that.

    Waits at most CHECKPOINT_WAIT_SECONDS; a reader in the way only makes the log stay as long as it is.
    """
    if database.path is None:
        return 0
    # A connection of its own: a checkpoint runs outside of any transaction, and with a shorter patience.
    uri = f"{database.path.absolute().as_uri()}?mode=rw"
    try:
        with closing(
            sqlite3.connect(uri, uri=True, timeout=CHECKPOINT_WAIT_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    except sqlite3.OperationalError as error:
        raise DatabaseUnavailableError(f"database {database.path}: no checkpoint: {error}") from error
    return wal_bytes(database)


def _wal(database: Database) -> Path | None:
    return None if database.path is None else Path(f"{database.path}-wal")
