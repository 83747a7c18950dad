"""The whole on a PostgreSQL server: two hosts share it, wake each other, outlive each other and the server's faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.hosts import SCHEMA, TIMEOUT_SECONDS, Host
from tests.support.postgres import PostgresServer, own_server
from tests.support.waiting import PATIENCE, until

__all__ = ["own_server"]

JOBS = """
[[job]]
name = "ticking"
every = "1s"
command = "true"
[[job]]
name = "by-hand"
command = ["echo", "hello"]
[[job]]
name = "long"
command = "sleep 4; echo done"
"""


@pytest.fixture
def hosts(own_server: PostgresServer) -> Iterator[list[Host]]:
    """Two hosts of one house, both up."""
    opened = [Host(own_server, "one", JOBS), Host(own_server, "two", JOBS)]
    try:
        for host in opened:
            host.start()
        yield opened
    finally:
        own_server.thaw()
        for host in opened:
            host.close()
        own_server.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def ticks_of(host: Host) -> list[Any]:
    return [
        row["scheduled_for"] for row in host.rows("SELECT scheduled_for FROM job_dispatch WHERE source = 'schedule'")
    ]


def leader(host: Host) -> str:
    return str(host.rows("SELECT node FROM scheduler_lock WHERE holder <> ''")[0]["node"])


def assert_no_tick_missing_or_double(host: Host) -> None:
    ticks = sorted(ticks_of(host))
    spans = host.rows("SELECT scheduled_for AS a, skipped_until AS b FROM job_dispatch WHERE skipped_count > 1")
    covered = {tick.timestamp() for tick in ticks}
    for span in spans:
        covered |= {float(second) for second in range(int(span["a"].timestamp()), int(span["b"].timestamp()) + 1)}
    wanted = {float(second) for second in range(int(ticks[0].timestamp()), int(ticks[-1].timestamp()) + 1)}
    assert len(ticks) == len(set(ticks))
    assert wanted <= covered


def test_two_hosts_wake_each_other_and_one_leads_on_when_the_other_stops(hosts: list[Host]) -> None:
    one, two = hosts
    workers = {row["node"] for row in one.rows("SELECT node FROM worker_registration WHERE status <> 'OFFLINE'")}
    assert workers == {"one", "two"}
    for host in hosts:
        done = host.cli("run", "by-hand", "--wait", "--follow")
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    first = leader(one)
    leading, standing_by = (one, two) if first == "one" else (two, one)
    assert leading.stop() == 0
    until(
        lambda: leader(standing_by) == standing_by.settings.split('node = "')[1].split('"')[0], 3, "the other to lead"
    )
    before = len(ticks_of(standing_by))
    until(lambda: len(ticks_of(standing_by)) > before + 1, PATIENCE, "ticks to go on", lambda: standing_by.log[-3000:])
    assert_no_tick_missing_or_double(standing_by)


def test_a_server_that_crashes_and_one_that_freezes_stop_no_job_and_no_process(
    hosts: list[Host], own_server: PostgresServer
) -> None:
    one, _ = hosts
    pids = [host.pids() for host in hosts]
    assert one.cli("run", "long").returncode == 0
    one.wait_run("long", "IN_PROGRESS")
    own_server.restart()
    row = one.wait_run("long", "COMPLETED", PATIENCE)
    assert row["retry_count"] == 0
    assert len(one.runs("long")) == 1
    assert one.cli("run", "long").returncode == 0
    one.wait_run("long", "IN_PROGRESS")
    own_server.freeze()
    time.sleep(TIMEOUT_SECONDS * 2.5)  # the freeze itself: longer than everybody's patience
    own_server.thaw()
    thawed = time.monotonic()
    one.wait_run("long", "COMPLETED", PATIENCE)
    assert time.monotonic() - thawed < 10
    assert len(one.runs("long")) == 2
    assert [host.pids() for host in hosts] == pids, "no process was lost to it"
    assert one.cli("run", "by-hand", "--wait").returncode == 0
    assert_no_tick_missing_or_double(one)
