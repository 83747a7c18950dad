"""The write-ahead log and the space beside the file."""

from __future__ import annotations

import os
import time

import pytest

from jobsup.store import upkeep
from jobsup.store.engine import Database
from tests.support.store import add_dispatch, add_job, connect

pytestmark = pytest.mark.only("sqlite", "a server minds its own log and its own disk")


def test_free_space_is_that_of_the_files_disk(db: Database) -> None:
    assert db.path is not None
    disk = os.statvfs(db.path.parent)
    free = upkeep.free_space(db)
    assert free is not None
    assert 0 < free <= disk.f_blocks * disk.f_frsize


def test_a_checkpoint_cuts_the_log_back(db: Database) -> None:
    add_dispatch(db, add_job(db))
    assert upkeep.wal_bytes(db) > 0
    assert upkeep.checkpoint(db) == 0
    assert upkeep.wal_bytes(db) == 0


def test_a_reader_in_the_way_leaves_the_log_and_costs_no_time(db: Database) -> None:
    job = add_job(db)
    other = connect(db)
    with other.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM job").scalar_one()
        add_dispatch(db, job)
        began = time.monotonic()
        assert upkeep.checkpoint(db) > 0
        assert time.monotonic() - began < 10 * upkeep.CHECKPOINT_WAIT_SECONDS
    assert upkeep.checkpoint(db) == 0
    other.close()


def test_a_checkpoint_waits_for_no_writer(db: Database) -> None:
    add_job(db)
    other = connect(db)
    with other.write():
        began = time.monotonic()
        assert upkeep.checkpoint(db) > 0
        assert time.monotonic() - began < 10 * upkeep.CHECKPOINT_WAIT_SECONDS
    other.close()
