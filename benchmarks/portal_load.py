"""What huge output and many readers cost: pages of 5 GiB in time and memory, and the schedule beside a busy portal.

    .venv/bin/python -m benchmarks.portal_load                # all of it, about five minutes
    .venv/bin/python -m benchmarks.portal_load --gib 0.5 --seconds 10

One instance with its portal. First a job prints so much of which 64 MiB are kept (`output_limit`), and its output is
read at both ends, in the middle and by search, with the memory of the portal's process looked at before and after.
Then jobs that start each second are timed alone, and beside 100 followed logs and 1,000 requests a second from many
addresses. The portal may refuse what is too much; the schedule must not be later for it.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from benchmarks.figures import Figure, percentile, table
from benchmarks.instance import Instance, instant

KEPT_MIB = 64
GIB = 5.0
SECONDS = 30.0
STREAMS, RATE = 100, 1000
ADDRESSES = 40
PAGE_MILLISECONDS_MAX = 300.0
GROWTH_MIB_MAX = 32.0
LATER_MILLISECONDS_MAX = 50.0
"""How much later the 99th of a hundred may start: the noise of one measurement against the next."""
ROUNDS = 7
BEATS = 10
NICENESS = 10
"""Whoever asks gives way: what the asking itself costs is not the portal's doing."""
PRINT_SECONDS_MAX = 1800.0

SETTINGS = """
[worker]
count = 2
concurrency = 8
[portal]
enabled = true
port = {port}
"""
JOBS = """
[[job]]
name = "prints"
command = "yes 'a line of output with some words in it, forty-eight' | head -c {bytes}"

timeout = "none"
output_limit = "{kept} MiB"
max_retries = 0

[[job]]
name = "listens"
command = "echo begin; sleep 3600"
timeout = "none"
max_retries = 0
"""
BEAT = '\n[[job]]\nname = "beat-{}"\ncommand = "true"\nevery = "1s"\ntimezone = "UTC"\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=GIB)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    jobs = JOBS.format(bytes=int(given.gib * (1 << 30)), kept=KEPT_MIB)
    beats = "".join(BEAT.format(number) for number in range(BEATS))
    with Instance(SETTINGS.format(port=port), jobs + beats) as instance:
        portal = Portal(instance, port)
        os.nice(NICENESS)
        figures = [*of_output(portal), *of_schedule(portal, given.seconds)]
    sys.stdout.write(table(figures) + "\n")
    return int(any(figure.verdict == "MISSED" for figure in figures))


class Portal:
    """The portal of an instance, as a program reaches it."""

    def __init__(self, instance: Instance, port: int) -> None:
        self.instance = instance
        self.port = port
        self._tokens = itertools.count(1)
        self.headers = {"Authorization": f"Bearer {self.token()}"}
        self.pid = next(child["pid"] for child in instance.status()["children"] if child["kind"] == "portal")

    def token(self) -> str:
        """Make one more token: each may ask so often."""
        name = f"bench-{next(self._tokens)}"
        return self.instance.run("token", "create", name, "--scope", "admin").stdout.strip()

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(address, 0))

    def get(self, path: str) -> bytes:
        """Return a document that must be there."""
        with closing(self.connect()) as connection:
            connection.request("GET", f"/api/v1{path}", headers=self.headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
            return body

    @property
    def memory_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        return 0.0


def of_output(portal: Portal) -> list[Figure]:
    """Measure pages of a run that printed very much."""
    began = time.monotonic()
    run = portal.instance.run("run", "prints").stdout.strip()
    while portal.instance.rows("SELECT status FROM job_dispatch WHERE id = ?", int(run))[0][0] != "COMPLETED":
        if time.monotonic() - began > PRINT_SECONDS_MAX:
            raise SystemExit(f"the job has not printed all in {PRINT_SECONDS_MAX:.0f} s")
        time.sleep(0.5)
    total = portal.instance.rows("SELECT output_bytes FROM job_execution_log WHERE dispatch_id = ?", int(run))[0][0]
    sys.stderr.write(f"{total} bytes printed in {time.monotonic() - began:.0f} s\n")
    portal.get(f"/runs/{run}/log?from=0")
    before = portal.memory_mib
    places = {"its head": 0, "its middle": total // 2, "its tail": total - 65536, "the kept head's end": 30 << 20}
    figures = []
    for name, place in places.items():
        took = timed(lambda place=place: portal.get(f"/runs/{run}/log?from={place}&len=65536"))  # type: ignore[misc]
        figures.append(Figure(f"a page of 64 KiB at {name}, p50", took, "ms", PAGE_MILLISECONDS_MAX))
    figures.append(Figure("a search in it, p50", timed(lambda: portal.get(f"/runs/{run}/search?q=nowhere")), "ms"))
    with closing(portal.connect()) as connection:
        connection.request("GET", f"/api/v1/runs/{run}/output", headers=portal.headers)
        answer = connection.getresponse()
        while answer.read(1 << 20):
            pass
    growth = portal.memory_mib - before
    return [*figures, Figure("the portal's memory grows by", growth, "MiB", GROWTH_MIB_MAX)]


def timed(work: Callable[[], object]) -> float:
    """Return the median of some rounds, in milliseconds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return percentile(took, 0.5)


def of_schedule(portal: Portal, seconds: float) -> list[Figure]:
    """Measure how late ticks are dispatched, alone and beside a portal that is asked too much."""
    alone = lateness(portal, seconds)
    stop = threading.Event()
    run = portal.instance.run("run", "listens").stdout.strip()
    counts = {"asked": 0, "answered": 0}
    threads = [threading.Thread(target=follow, args=(portal, run, stop), daemon=True) for _ in range(STREAMS)]
    pace = RATE / ADDRESSES
    askers = [(f"127.0.1.{number + 1}", {"Authorization": f"Bearer {portal.token()}"}) for number in range(ADDRESSES)]
    threads += [
        threading.Thread(target=ask, args=(portal, address, headers, pace, stop, counts), daemon=True)
        for address, headers in askers
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    beside = lateness(portal, seconds)
    spent = time.monotonic() - began
    stop.set()
    portal.instance.run("cancel", run)
    return [
        Figure("lateness of ticks alone, p99", alone, "ms"),
        Figure(f"beside {STREAMS} streams and {RATE}/s, p99", beside, "ms", alone + LATER_MILLISECONDS_MAX),
        Figure("requests asked", counts["asked"] / spent, "per second"),
        Figure("requests answered with 200", counts["answered"] / spent, "per second"),
    ]


def lateness(portal: Portal, seconds: float) -> float:
    """Return the 99th of a hundred ticks' lateness, from its instant to its dispatch, in milliseconds."""
    newest = portal.instance.rows("SELECT coalesce(max(id), 0) FROM job_dispatch")[0][0]
    time.sleep(seconds)
    query = "SELECT scheduled_for, created_at FROM job_dispatch WHERE id > ? AND source = 'schedule'"
    rows = portal.instance.rows(query, newest)
    return percentile([(instant(made) - instant(due)).total_seconds() * 1000 for due, made in rows], 0.99)


def follow(portal: Portal, run: str, stop: threading.Event) -> None:
    """Keep one log's stream open."""
    with suppress(OSError, http.client.HTTPException), closing(portal.connect()) as connection:
        connection.request("GET", f"/api/v1/runs/{run}/stream", headers=portal.headers)
        answer = connection.getresponse()
        while not stop.is_set() and answer.readline():
            pass


def ask(
    portal: Portal, address: str, headers: dict[str, str], pace: float, stop: threading.Event, counts: dict[str, int]
) -> None:
    """Ask from an address and with a token of its own, so many times a second as far as one can."""
    began = time.monotonic()
    for number in itertools.count():
        if stop.wait(max(0.0, began + number / pace - time.monotonic())):
            return
        with suppress(OSError, http.client.HTTPException), closing(portal.connect(address)) as connection:
            counts["asked"] += 1
            connection.request("GET", "/healthz" if number % 10 else "/api/v1/jobs", headers=headers)
            is_answered = connection.getresponse().status == 200  # read before the count is: others count meanwhile
            counts["answered"] += is_answered


if __name__ == "__main__":
    sys.exit(main())
