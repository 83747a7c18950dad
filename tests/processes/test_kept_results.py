"""What ended while the server was away is written once it is back, though who ran it is gone by then."""

from __future__ import annotations

import os
import signal

from tests.support.hosts import SCHEMA, Host
from tests.support.postgres import PostgresServer, own_server
from tests.support.waiting import PATIENCE, until

__all__ = ["own_server"]

JOBS = """
[[job]]
name = "waits"
command = "until [ -e go ]; do sleep 0.05; done; echo done"
cwd = "."
max_retries = 3
"""


def ended_in_the_dark(host: Host, server: PostgresServer) -> None:
    """Have a run end while the server does not answer, and wait until its result is on the disk."""
    (host.folder / "go").unlink(missing_ok=True)
    assert host.cli("run", "waits").returncode == 0
    until(lambda: host.runs("waits")[-1]["started_at"], PATIENCE, "its start to be known")
    server.freeze()
    (host.folder / "go").touch()
    until(lambda: kept(host), PATIENCE, "its result to be kept", lambda: host.log[-3000:])


def kept(host: Host) -> list[str]:
    return [path.name for path in (host.folder / "run" / "results").glob("*")]


def assert_written_once(host: Host, runs: int) -> None:
    until(lambda: not kept(host), PATIENCE, "its result to be written", lambda: host.log[-3000:])
    rows = host.runs("waits")
    assert [(row["status"], row["retry_count"]) for row in rows] == [("COMPLETED", 0)] * runs
    assert host.cli("logs", str(rows[-1]["id"])).stdout == "done\n"


def test_a_worker_killed_or_a_host_stopped_while_the_server_is_away_loses_no_result(own_server: PostgresServer) -> None:
    host = Host(own_server, "one", JOBS)
    host.settings = host.settings.replace('drain_timeout = "5s"', 'drain_timeout = "1s"')
    host.write(JOBS)
    try:
        host.start()
        ended_in_the_dark(host, own_server)
        (pid,) = host.pids("worker")
        os.kill(pid, signal.SIGKILL)
        own_server.restart()  # stopped without ceremony, as it stands
        assert_written_once(host, 1)

        until(lambda: host.children("worker")[0]["state"] == "ready", PATIENCE, "another worker")
        ended_in_the_dark(host, own_server)
        host.stop()
        assert len(kept(host)) == 1
        own_server.thaw()
        assert host.runs("waits")[-1]["status"] == "IN_PROGRESS"
        host.start()
        assert_written_once(host, 2)
    finally:
        own_server.thaw()
        host.close()
        own_server.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
