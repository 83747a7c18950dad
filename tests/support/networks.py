"""Hosts on one machine: a network namespace each, on a bridge that leads nowhere else. Needs root.

Everything here begins with `jobsup-t`, then the process id of the tests that made it: what tests that were killed
have left behind is found and cleared away by the next ones.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.waiting import until

PREFIX = "jobsup-t"
SUBNET = "10.231.77"
"""Lives inside the namespaces only."""
CLONE_NEWNET = 0x40000000
GONE_SECONDS = 10.0
RULES = """
table inet jobsup {
    chain in { type filter hook input priority 0; policy accept; iifname != "lo" drop; }
    chain out { type filter hook output priority 0; policy accept; oifname != "lo" drop; }
}
"""
"""Nothing comes in and nothing goes out, without a word to either side: the line is half-open."""


@functools.cache
def why_not() -> str:
    """Say why this machine cannot have such hosts; empty when it can."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and packet filters"
    missing = [program for program in ("ip", "nft") if shutil.which(program) is None]
    if missing:
        return f"needs the programs {', '.join(missing)} (Debian: iproute2, nftables)"
    try:
        with networked(("probe",)) as network:
            network.cut("probe")
            network.heal("probe")
    except AssertionError as error:
        return f"this kernel or container allows no network namespaces with packet filters: {error}"
    return ""


class Network:
    """A bridge with one namespace for each name; `cut` drops all its packets, `heal` lets them pass again."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._mark = f"{PREFIX}{os.getpid()}"
        self.names = names
        self._hub = f"{self._mark}-hub"
        _do("ip", "netns", "add", self._hub)
        _do("ip", "-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _do("ip", "-n", self._hub, "link", "set", "bridge", "up")
        for number, name in enumerate(names, start=1):
            self._add(name, number)

    def address(self, name: str) -> str:
        return f"{SUBNET}.{self.names.index(name) + 1}"

    def namespace(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def number(self, name: str) -> int:
        """Return what a process inside sees as its network namespace."""
        return Path(f"/run/netns/{self.namespace(name)}").stat().st_ino

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Let this thread, and what it starts, live in a namespace."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.namespace(name)}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(there)

    def cut(self, name: str) -> None:
        _do("ip", "netns", "exec", self.namespace(name), "nft", "-f", "-", given=RULES)

    def heal(self, name: str) -> None:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace(name), "nft", "delete", "table", "inet", "jobsup"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0 or b"No such file" in done.stderr, done.stderr.decode()

    def processes(self, name: str) -> list[int]:
        """List the processes that live in a namespace."""
        return _processes_in(self.number(name))

    def remove(self) -> None:
        for name in (*self.names, "hub"):
            _remove(self.namespace(name))

    def _add(self, name: str, number: int) -> None:
        namespace = self.namespace(name)
        _do("ip", "netns", "add", namespace)
        _do("ip", "-n", namespace, "link", "set", "lo", "up")
        _do(
            "ip", "-n", namespace, "link", "add", "eth0", "type", "veth",
            "peer", "name", f"port{number}", "netns", self._hub,
        )  # fmt: skip
        _do("ip", "-n", self._hub, "link", "set", f"port{number}", "master", "bridge", "up")
        _do("ip", "-n", namespace, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        _do("ip", "-n", namespace, "link", "set", "eth0", "up")


@contextmanager
def networked(names: tuple[str, ...]) -> Iterator[Network]:
    """Make a network with a namespace for each name; whatever lives there in the end is killed."""
    sweep()
    network: Network | None = None
    try:
        network = Network(names)
        yield network
    finally:
        for namespace in _namespaces():
            if namespace.startswith(f"{PREFIX}{os.getpid()}-"):
                _remove(namespace)


def sweep() -> None:
    """Clear away the namespaces of tests that are gone, with all that still lives in them."""
    for namespace in _namespaces():
        found = re.match(rf"{PREFIX}(\d+)-", namespace)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove(namespace)


def _namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(PREFIX)) if folder.exists() else []


def _remove(namespace: str) -> None:
    path = Path(f"/run/netns/{namespace}")
    if not path.exists():
        return
    number = path.stat().st_ino

    def is_empty() -> bool:
        found = _processes_in(number)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    until(is_empty, GONE_SECONDS, f"the processes of {namespace} to be gone")
    _do("ip", "netns", "delete", namespace)


def _processes_in(number: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state = (path / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
            if (path / "ns/net").stat().st_ino == number and state != "Z":
                found.append(int(path.name))
    return found


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _do(*command: str, given: str | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
