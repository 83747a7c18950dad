"""A disk that fills up under the database: said in one line, nothing half-done, and over as soon as there is space."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.instance import Instance, instances
from tests.support.waiting import PATIENCE, until

__all__ = ["instances"]

UNREACHABLE = 3
JOBS = """
[[job]]
name = "tick"
command = "echo $JOBSUP_SCHEDULED_FOR >> {folder}/ledger"
every = "1s"
catch_up = "all"
overlap = "queue"
[[job]]
name = "manual"
command = "true"
"""


@pytest.fixture
def small(instances: list[Instance]) -> Iterator[Instance]:
    """Yield an instance whose database is on a disk of 16 MiB; not yet started."""
    instance = Instance("")
    instances.append(instance)
    disk = instance.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    settings = instance.settings.replace(
        'url = "sqlite:///jobsup.db"', 'url = "sqlite:///disk/jobsup.db"\nfree_space_min = "1MiB"'
    )
    instance.write(JOBS.format(folder=instance.folder), settings)
    try:
        yield instance
        instance.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def ledger(instance: Instance) -> list[str]:
    path = instance.folder / "ledger"
    return path.read_text().split() if path.exists() else []


@pytest.mark.root
def test_a_full_disk_stops_new_work_says_so_and_loses_no_tick(small: Instance) -> None:
    small.start()
    until(lambda: ledger(small), PATIENCE, "the first ticks", lambda: small.log)
    filler = small.folder / "disk" / "filler"
    _fill(filler)
    until(lambda: "no space left on its disk" in small.log, PATIENCE, "the scheduler's word", lambda: small.log)

    refused = small.cli("run", "manual")
    assert refused.returncode == UNREACHABLE
    assert refused.stderr.splitlines() == [
        f"jobsup: database {small.folder}/disk/jobsup.db: no space left on its disk: free some"
    ]
    told = small.cli("status")
    assert told.returncode == 1
    assert "bytes are free beside the database, under the floor of 1048576" in told.stderr

    filler.unlink()
    before = len(ledger(small))
    until(lambda: len(ledger(small)) >= before + 3, PATIENCE, "ticks to go on", lambda: small.log)
    assert small.cli("run", "manual", "--wait").returncode == 0
    assert small.cli("status").returncode == 0
    assert small.cli("db", "check").returncode == 0
    ticks = ledger(small)
    assert len(set(ticks)) == len(ticks), "no tick ran twice"
    runs = small.json("runs", "tick", "--last", "1000")["runs"]
    rows = [run for run in runs if run["source"] == "schedule"]
    instants = sorted(datetime.fromisoformat(row["scheduled_for"]) for row in rows)
    told = sum(row["skipped_count"] or 1 for row in rows)
    assert told == (instants[-1] - instants[0]) // timedelta(seconds=1) + 1, "each tick has a row, or is part of one"
    assert "Traceback" not in small.log


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        try:
            while True:
                file.write(bytes(64 << 10))
                file.flush()
        except OSError:
            return
