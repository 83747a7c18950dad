"""Hosts that share a server, each with workers of its own: where jobs run, and what becomes of a host that is lost."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import stepped_clock
from tests.support.hosts import SCHEMA, Host
from tests.support.postgres import PostgresServer, own_server
from tests.support.waiting import PATIENCE, until

__all__ = ["own_server"]

HEARTBEAT_SECONDS = 0.5
AHEAD_SECONDS = 300
IS_AHEAD = stepped_clock.why_not() is None
LEASE_SECONDS = 4 * HEARTBEAT_SECONDS
JOBS = """
[[job]]
name = "everywhere"
command = "! rm fails 2>/dev/null"
cwd = "."
on = "each"
retry_backoff = "10ms"
[[job]]
name = "brief"
command = "true"
requires = ["big"]
[[job]]
name = "lasting"
command = "test $JOBSUP_ATTEMPT = 2 || sleep 60; echo done"
requires = ["big"]
overlap = "allow"
[[job]]
name = "four-seconds"
command = "sleep 4; echo done"
requires = ["host:two"]
[[job]]
name = "nowhere"
command = "true"
requires = ["gpu"]
"""


@pytest.fixture(scope="module")
def hosts(own_server: PostgresServer) -> Iterator[list[Host]]:
    """Two hosts of one house, for the stories below in their order: the last one stops the second.

    The second one's clock is five minutes ahead, which matters to none of them.
    """
    opened = [Host(own_server, node, JOBS) for node in ("one", "two")]
    for host in opened:
        tags = 'tags = ["big"]\n' if host.node == "two" else ""
        beat = f'[worker]\nheartbeat_interval = "{HEARTBEAT_SECONDS}s"\n{tags}'
        host.settings = host.settings.replace("[worker]\n", beat)
        host.write(JOBS)
    try:
        opened[0].start()
        opened[1].start(**(stepped_clock.ahead(AHEAD_SECONDS) if IS_AHEAD else {}))
        yield opened
    finally:
        for host in opened:
            signal_all(host, signal.SIGCONT)
            host.close()
        own_server.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def signal_all(host: Host, number: int) -> None:
    """Send a signal to every process of a host, its jobs' too: with SIGSTOP, as a machine that stands still."""
    for pid in host.survivors():
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def ran_on(host: Host, job: str) -> list[tuple[str, str]]:
    rows = host.rows(
        "SELECT l.host, d.status FROM job_dispatch d JOIN job_execution_log l ON l.dispatch_id = d.id "
        "JOIN job j ON j.id = d.job_id WHERE j.name = ? ORDER BY d.id",
        job,
    )
    return [(row["host"], row["status"]) for row in rows]


def test_a_job_on_each_host_runs_and_is_retried_on_each_and_one_for_a_tag_where_that_is(hosts: list[Host]) -> None:
    one = hosts[0]
    for host in hosts:  # whoever has put its file into force says where jobs run: one of them will find it there
        (host.folder / "fails").touch()
    done = one.cli("run", "everywhere", "--wait")
    assert done.returncode == 0, done.stderr
    ran = ran_on(one, "everywhere")
    failed = {host for host, status in ran if status == "FAILED"}
    assert len(failed) == 1, ran
    assert sorted(host for host, status in ran if status == "COMPLETED") == ["one", "two"], "each, after its own retry"
    assert one.cli("run", "everywhere", "--on", "two", "--wait").returncode == 0
    assert ran_on(one, "everywhere")[-1] == ("two", "COMPLETED")
    assert one.cli("run", "brief", "--wait").returncode == 0
    assert ran_on(one, "brief") == [("two", "COMPLETED")]
    waits = one.cli("run", "nowhere")
    assert 'no worker of the queue "default" has the tag gpu' in waits.stderr
    assert one.json("status")["unserved"][0]["requires"] == ["gpu"]


def test_each_worker_and_each_scheduler_holds_one_connection(hosts: list[Host], own_server: PostgresServer) -> None:
    assert all(host.pids() for host in hosts)
    query = (
        "SELECT application_name, count(*) FROM pg_stat_activity WHERE application_name IN "
        "('jobsup/worker', 'jobsup/scheduler', 'jobsup/prepare', 'jobsup/supervisor') GROUP BY 1 ORDER BY 1"
    )
    assert own_server.execute(query) == [("jobsup/scheduler", 2), ("jobsup/worker", 2)]


@pytest.mark.skipif(not IS_AHEAD, reason=stepped_clock.why_not() or "")
def test_a_clock_that_is_ahead_is_told_and_rules_nothing(hosts: list[Host]) -> None:
    two = hosts[1]
    done = two.installed("status", "--json", **stepped_clock.ahead(AHEAD_SECONDS))
    told = json.loads(done.stdout)
    warnings = told["warnings"]
    assert any("the database server's clock is 300 s behind this host's" in line for line in warnings), warnings
    elsewhere = hosts[0].json("status")
    pattern = r"the clock of two is (299|300)\.\d s ahead of the database server's"
    assert any(re.match(pattern, line) for line in elsewhere["warnings"]), elsewhere["warnings"]
    assert [host["node"] for host in elsewhere["hosts"]] == ["one", "two"]
    assert sorted((host["leads"], host["stands_by"]) for host in elsewhere["hosts"]) == [(False, True), (True, False)]
    right, wrong = (host["clock_offset_seconds"] for host in elsewhere["hosts"])
    assert abs(right) < 1 < AHEAD_SECONDS - 1 < wrong
    assert two.cli("run", "brief", "--wait").returncode == 0
    [row] = two.rows(
        "SELECT now() - max(started_at) < interval '1 minute' AND max(started_at) <= now() AS is_now "
        "FROM job_dispatch WHERE worker_id IN (SELECT worker_id FROM worker_registration WHERE node = 'two')"
    )
    assert row["is_now"], "what it writes down has the server's time"


def test_what_a_frozen_host_ran_is_run_elsewhere_and_its_late_end_changes_nothing(hosts: list[Host]) -> None:
    one, two = hosts
    assert one.cli("run", "lasting").returncode == 0
    first = one.wait_run("lasting", "IN_PROGRESS")
    until(lambda: one.runs("lasting")[0]["started_at"], PATIENCE, "its start to be known")
    signal_all(two, signal.SIGSTOP)
    one.settings = one.settings.replace("[worker]\n", '[worker]\ntags = ["big"]\n')
    one.write(JOBS)
    assert one.cli("reload").returncode == 0
    last = one.wait_run("lasting", "COMPLETED")
    lost = one.runs("lasting")[0]
    assert (lost["status"], lost["reason"], last["retry_of"]) == ("TIMEOUT", "worker_lost", first["id"])
    assert ran_on(one, "lasting") == [("two", "TIMEOUT"), ("one", "COMPLETED")]
    signal_all(two, signal.SIGCONT)
    until(
        lambda: [child for child in two.children("worker") if child["restarts"] and child["state"] == "ready"],
        PATIENCE,
        "the thawed worker to leave and be replaced",
        lambda: two.log[-3000:],
    )
    after = one.runs("lasting")
    assert [row["status"] for row in after] == ["TIMEOUT", "COMPLETED"]
    assert {key: after[0][key] for key in ("completed_at", "reason", "worker_id")} == {
        key: lost[key] for key in ("completed_at", "reason", "worker_id")
    }
    told = one.cli("why", str(first["id"])).stdout
    assert "overlap" in told or "beside" in told, told
    assert not [pid for pid in two.survivors() if b"sleep" in _command(pid)], "the frozen job was ended"


def test_a_host_that_drains_for_longer_than_a_lease_is_heard_of_until_its_last_run_has_ended(
    hosts: list[Host],
) -> None:
    one, two = hosts
    assert one.cli("run", "four-seconds").returncode == 0
    one.wait_run("four-seconds", "IN_PROGRESS")
    assert two.stop() == 0
    [run] = one.runs("four-seconds")
    assert (run["status"], run["retry_count"]) == ("COMPLETED", 0)
    assert (run["completed_at"] - run["started_at"]).total_seconds() > LEASE_SECONDS


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
