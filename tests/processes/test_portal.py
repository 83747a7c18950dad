"""The portal as a child of a real supervisor: reached, restarted, replaced by a reload, and missed by nobody."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx

from tests.support.instance import Instance, instances
from tests.support.waiting import PATIENCE, until

__all__ = ["instances"]

PORTAL = """
[portal]
enabled = true
port = {port}
"""
JOB = """
[[job]]
name = "beat"
command = "true"
every = "1s"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def with_portal(instances: list[Instance], port: int, more: str = "", jobs: str = JOB) -> Instance:
    instance = Instance("", workers=1)
    instance.settings += PORTAL.format(port=port) + more
    instance.write(jobs)
    instances.append(instance)
    return instance


def login_page(port: int) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/login", timeout=2)
    except httpx.TransportError:
        return None


def answers(port: int) -> bool:
    answer = login_page(port)
    return answer is not None and answer.status_code == 200


def child(instance: Instance) -> dict[str, Any]:
    return instance.children("portal")[0]


def test_a_newcomer_gets_from_the_first_line_of_start_into_the_browser(instances: list[Instance]) -> None:
    port = free_port()
    instance = with_portal(instances, port).start()
    until(lambda: answers(port), PATIENCE, "the portal to answer", lambda: instance.log)
    line = next(line for line in instance.log.splitlines() if line.startswith("jobsup: portal"))
    address = line.split()[-1]
    assert address.startswith(f"http://127.0.0.1:{port}/setup?token=")
    with httpx.Client(headers={"Origin": f"http://127.0.0.1:{port}"}) as browser:
        assert browser.get(address).status_code == 200
        password = "seven horses in a row"
        fields = {"token": address.partition("=")[2], "name": "ann", "password": password, "again": password}
        browser.post(f"http://127.0.0.1:{port}/setup", data=fields)
        assert "ann" in browser.get(f"http://127.0.0.1:{port}/about").text
    assert [user["name"] for user in instance.json("user", "list")["users"]] == ["ann"]
    assert instance.stop() == 0
    assert not answers(port)


def test_a_portal_that_dies_comes_back_and_nothing_else_is_touched(instances: list[Instance]) -> None:
    port = free_port()
    instance = with_portal(instances, port).start()
    until(lambda: answers(port), PATIENCE, "the portal to answer", lambda: instance.log)
    others = instance.pids("scheduler") + instance.pids("worker")
    dead = child(instance)["pid"]
    os.kill(dead, signal.SIGKILL)
    until(
        lambda: child(instance)["pid"] not in (None, dead) and answers(port), 15, "a new portal", lambda: instance.log
    )
    assert instance.pids("scheduler") + instance.pids("worker") == others


def test_a_reload_replaces_the_portal_while_its_port_goes_on_answering(instances: list[Instance]) -> None:
    port = free_port()
    instance = with_portal(instances, port).start()
    until(lambda: answers(port), PATIENCE, "the portal to answer", lambda: instance.log)
    before = child(instance)["pid"]
    instance.settings += 'session_lifetime = "1h"\n'
    instance.write(JOB)
    done = instance.cli("reload")
    assert done.returncode == 0, done.stderr
    until(lambda: child(instance)["pid"] != before, PATIENCE, "the new portal", lambda: instance.log)
    assert answers(port)


def test_a_port_that_is_taken_costs_the_portal_and_nothing_else(instances: list[Instance]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        instance = with_portal(instances, port)
        instance.process = instance.spawn("start")
        until(
            lambda: instance.log.count("Started: "),
            PATIENCE,
            "the instance to come up",
            lambda: instance.log,
        )
        until(
            lambda: f"cannot listen on 127.0.0.1:{port}" in instance.log, PATIENCE, "the reason", lambda: instance.log
        )
        instance.wait_run("beat", "COMPLETED")


def test_the_web_is_loaded_into_the_portal_alone(instances: list[Instance]) -> None:
    port = free_port()
    instance = with_portal(instances, port)
    instance.is_warm = False
    instance.start()
    until(lambda: answers(port), PATIENCE, "the portal to answer", lambda: instance.log)
    assert instance.process is not None

    def has_web(pid: int) -> bool:
        """A library that only the web stack brings in is mapped, or was not."""
        return "markupsafe" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")

    assert has_web(child(instance)["pid"])
    for pid in (instance.process.pid, *instance.pids("scheduler"), *instance.pids("worker")):
        assert not has_web(pid)


def test_an_address_open_to_the_network_is_refused_at_start_with_the_fix(instances: list[Instance]) -> None:
    clear = with_portal(instances, free_port(), 'host = "0.0.0.0"\n').cli("start")
    assert clear.returncode == 7
    assert "behind_proxy" in clear.stderr
    nobody = with_portal(instances, free_port(), 'host = "0.0.0.0"\nbehind_proxy = true\n').cli("start")
    assert nobody.returncode == 7
    assert "jobsup user add" in nobody.stderr


def test_a_portal_alone_serves_the_same_database(instances: list[Instance]) -> None:
    port = free_port()
    instance = with_portal(instances, port)
    instance.is_warm = False
    alone = instance.spawn("portal", JOBSUP_PORTAL_PORT=str(port))
    until(lambda: answers(port), PATIENCE, "the portal to answer", lambda: instance.log)
    alone.terminate()
    assert alone.wait(timeout=PATIENCE) == 0
