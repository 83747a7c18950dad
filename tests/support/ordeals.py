"""What may befall several hosts and their database: each ordeal breaks something, mends it, and waits until it is over.

An ordeal notes its faults in the fleet; whether all went as promised is for the checker to say.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psycopg

from tests.support.checker import FaultKind
from tests.support.fleet import Fleet, Host
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

Ordeal = Callable[..., None]
LOST_SECONDS = 28.0
"""A host that is away for so long has lost its work to others, and they have begun it."""


def settle(fleet: Fleet) -> None:
    """Wait until every host works, and let the work go on undisturbed for a while."""
    fleet.wait_working(*fleet.hosts)
    pause(fleet.pace.calm)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def cut_off(fleet: Fleet, host: Host) -> None:
    """Cut a host off in the middle of a run, until another has begun it anew."""
    run = fleet.wait_busy(host)
    with fleet.fault(FaultKind.PARTITION, host):
        host.cut()
        fleet.wait_begun_anew(run)
        host.heal()
    settle(fleet)


def leader_cut_off(fleet: Fleet) -> None:
    cut_off(fleet, fleet.leader())


def worker_host_cut_off(fleet: Fleet) -> None:
    cut_off(fleet, fleet.follower())


def leader_frozen(fleet: Fleet) -> None:
    """Freeze all of the leader's host in the middle of a run, and let it go on after another has begun that anew."""
    host = fleet.leader()
    run = fleet.wait_busy(host)
    with fleet.fault(FaultKind.FREEZE, host):
        host.cage.freeze()
        fleet.wait_begun_anew(run)
        host.cage.thaw()
    settle(fleet)


def leader_host_killed(fleet: Fleet) -> None:
    """SIGKILL everything on the leader's host, and start it again when another has begun its work anew."""
    host = fleet.leader()
    run = fleet.wait_busy(host)
    with fleet.fault(FaultKind.KILL, host):
        host.cage.kill()
        assert host.process is not None
        host.process.wait(timeout=10)
        fleet.wait_begun_anew(run)
    with fleet.fault(FaultKind.STOP, host):
        host.start()
    settle(fleet)


def leader_stopped(fleet: Fleet) -> None:
    """Stop the leader's host in order, and start it again."""
    host = fleet.leader()
    with fleet.fault(FaultKind.STOP, host):
        assert host.stop() == 0
        host.start()
    settle(fleet)


def scheduler_crashed(fleet: Fleet) -> None:
    """SIGKILL the scheduler that leads; its own host replaces it."""
    host = fleet.leader()
    (pid,) = host.pids("scheduler")
    with fleet.fault(FaultKind.KILL, host):
        os.kill(pid, signal.SIGKILL)
        until(lambda: host.pids("scheduler") not in ([], [pid], [None]), 10, "a new scheduler", fleet.told)
    settle(fleet)


def database_cut_off(fleet: Fleet, seconds: float = 30.0) -> None:
    """Cut the database off from everybody, for longer than a lease: each worker ends its own runs in time."""
    fleet.wait_busy()
    with fleet.fault(FaultKind.DATABASE):
        fleet.network.cut("db")
        tell_degraded(fleet, "no answer|timeout|standby")
        pause(seconds)
        fleet.network.heal("db")
    settle(fleet)


def database_cut_off_shortly(fleet: Fleet, seconds: float = 9.0) -> None:
    """Cut the database off for less than a lease: every run goes on and is written."""
    with fleet.fault(FaultKind.DATABASE):
        fleet.network.cut("db")
        pause(seconds)
        fleet.network.heal("db")
    settle(fleet)


def database_frozen(fleet: Fleet, seconds: float = 60.0) -> None:
    """SIGSTOP every process of the server."""
    fleet.wait_busy()
    with fleet.fault(FaultKind.DATABASE):
        fleet.server.freeze()
        began = time.monotonic()
        tell_degraded(fleet, "no answer|timeout|standby")
        pause(max(0.0, seconds - (time.monotonic() - began)))
        fleet.server.thaw()
    settle(fleet)


def database_restarted(fleet: Fleet, seconds: float = 120.0, every: float = 10.0) -> None:
    """Restart the server as after a crash, again and again."""
    _again(fleet, fleet.server.restart, seconds, every)


def backends_terminated(fleet: Fleet, seconds: float = 60.0, every: float = 0.2) -> None:
    """Terminate one connection of jobsup's, whosoever, five times a second."""
    with fleet.fault(FaultKind.DATABASE), psycopg.connect(fleet.server.near_url(), autocommit=True) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'jobsup/%' ORDER BY random() LIMIT 1"
            )
            pause(every)
    settle(fleet)


def connections_exhausted(fleet: Fleet, seconds: float = 20.0) -> None:
    """Take every connection the server has, those of jobsup as well, and keep them."""
    with ExitStack() as held, fleet.fault(FaultKind.DATABASE):
        held.callback(fleet.server.execute, "SELECT 1")
        administrator = held.enter_context(psycopg.connect(fleet.server.near_url(), autocommit=True))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'jobsup/%'"
            )
            with suppress(psycopg.OperationalError):
                for _ in itertools.count():
                    held.enter_context(psycopg.connect(fleet.server.near_url(), autocommit=True))
            pause(0.5)
        tell_degraded(fleet, "too many clients|connection")
    settle(fleet)


def database_read_only(fleet: Fleet, seconds: float = 15.0) -> None:
    """Have the server refuse all that writes, as a replica does."""
    with fleet.fault(FaultKind.DATABASE):
        _set(fleet.server, "default_transaction_read_only = on")
        tell_degraded(fleet, "read only")
        pause(seconds)
        with psycopg.connect(fleet.server.near_url(), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")
    settle(fleet)


def failed_over(fleet: Fleet, replica: PostgresServer, seconds: float = 3.0) -> None:
    """Crash the primary server, and promote its replica a little later."""
    with fleet.fault(FaultKind.DATABASE):
        fleet.server.stop()
        pause(seconds)
        replica.promote()
        fleet.server = replica
    settle(fleet)


def all_cut_off_in_turn(fleet: Fleet, overlap_seconds: float = 6.0) -> None:
    """Cut the hosts off one after the other, and let them back in another order, each away for longer than a lease."""
    with ExitStack() as faults:
        for host in fleet.hosts[1:]:
            faults.enter_context(fleet.fault(FaultKind.PARTITION, host))
            host.cut()
            pause(overlap_seconds)
        pause(LOST_SECONDS - 2 * overlap_seconds)
        for host in [*fleet.hosts[2:], fleet.hosts[1]]:
            host.heal()
            pause(overlap_seconds)
    settle(fleet)


def tell_degraded(fleet: Fleet, why: str) -> None:
    """Hold `status` on a host to saying that something is wrong, and what."""
    found = until(lambda: _problems(fleet.hosts[0], why), 30, f"status to tell of: {why}", fleet.told)
    assert found


def _problems(host: Host, why: str) -> list[str]:
    done = host.json("status")
    words = why.split("|")
    problems = [problem for problem in done["problems"] if any(word in problem for word in words)]
    return problems if done["state"] == "degraded" and not done["healthy"] else []


def _again(fleet: Fleet, break_it: Callable[[], Any], seconds: float, every: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with fleet.fault(FaultKind.DATABASE):
            break_it()
        pause(every)
    settle(fleet)


def _set(server: PostgresServer, setting: str) -> None:
    with psycopg.connect(server.near_url(), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
